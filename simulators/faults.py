"""Fault plans: which requests fail, and how. Pure.

A plan is a list of rules, such as ``{"kind": "reset", "rate": 0.1}``. Each attempt has a number in (0, 1),
drawn from the seed, the call's key and the number of the attempt. The rates of the rules that apply are
stacked, and the number selects one of them or none. An attempt thus meets the same fault in every run.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from simulators.capacity import Seconds


class FaultKind(enum.StrEnum):
    """What can fail."""

    STATUS = "status"  # an HTTP status instead of work
    RESET = "reset"  # the connection is reset before any work
    HANG = "hang"  # the request holds a slot and is never answered
    SLOW = "slow"  # the work takes longer
    PROSE = "prose"  # prose instead of JSON
    WRONG_SCHEMA = "wrong_schema"  # JSON that violates the schema
    OUT_OF_RANGE = "out_of_range"  # a value of the right type that is out of its bounds
    NO_USAGE = "no_usage"  # no token counts
    LENGTH = "length"  # content cut in the middle, finish_reason "length"
    OTHER_ANSWER = "other_answer"  # the answer to another question
    RESET_AFTER = "reset_after"  # the connection is reset after the work
    LATE = "late"  # the answer is sent long after the work
    NOT_JSON = "not_json"  # a body of plain text
    HTML = "html"  # a body that is a web page
    EMPTY = "empty"  # no body
    TRUNCATED = "truncated"  # half of the body
    HUGE = "huge"  # a body of 50 MB


class Moment(enum.Enum):
    """When a fault strikes. It decides whether the request is billed and what a repeated key receives."""

    BEFORE = "before"  # no work, nothing billed
    DURING = "during"  # worked on and billed
    ANSWER = "answer"  # billed; part of the answer, so a repeated key receives it too
    DELIVERY = "delivery"  # billed; the stored answer is sound, and a repeated key receives that


_KINDS: Final = {
    Moment.BEFORE: "status reset hang",
    Moment.DURING: "slow",
    Moment.ANSWER: "prose wrong_schema out_of_range no_usage length other_answer",
    Moment.DELIVERY: "reset_after late not_json html empty truncated huge",
}
MOMENTS: Final = {FaultKind(name): moment for moment, names in _KINDS.items() for name in names.split()}

_OPTIONS: Final[Mapping[str, frozenset[FaultKind]]] = {
    "status": frozenset({FaultKind.STATUS}),
    "retry_after": frozenset({FaultKind.STATUS}),
    "seconds": frozenset({FaultKind.SLOW, FaultKind.LATE}),
    "bytes": frozenset({FaultKind.HUGE}),
}


class FaultRuleError(ValueError):
    """A plan cannot be used. The message names the rule and the reason."""


class FaultRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault and the attempts that may meet it.

    The rule applies with probability `rate` to the `attempts` listed (None: all) from `from_s` to `to_s`
    seconds after the start. `retry_after` is the text of the header; ``http-date:N`` becomes the date N
    seconds later. `seconds` is for the slow and late kinds, `size` in bytes for the huge one.
    """

    kind: FaultKind
    rate: Annotated[float, Meta(ge=0, le=1)] = 1.0
    attempts: frozenset[Annotated[int, Meta(ge=1)]] | None = None
    from_s: Seconds = 0.0
    to_s: Seconds | None = None
    status: Annotated[int, Meta(ge=200, le=599)] = 500
    retry_after: str | float | None = None
    seconds: Seconds = 5.0
    size: Annotated[int, Meta(ge=0, le=1 << 30)] = msgspec.field(default=50_000_000, name="bytes")

    @property
    def moment(self) -> Moment:
        """When the fault strikes."""
        return MOMENTS[self.kind]

    def applies(self, attempt: int, elapsed_s: float) -> bool:
        """Return whether the rule applies to this attempt, `elapsed_s` after the start."""
        if self.attempts is not None and attempt not in self.attempts:
            return False
        return self.from_s <= elapsed_s and (self.to_s is None or elapsed_s < self.to_s)


def choose(rules: Sequence[FaultRule], u: float, attempt: int, elapsed_s: float) -> FaultRule | None:
    """Return the rule that `u` in (0, 1) selects, or None."""
    reached = 0.0
    for rule in rules:
        if rule.applies(attempt, elapsed_s):
            reached += rule.rate
            if u < reached:
                return rule
    return None


def load_rules(path: Path) -> tuple[FaultRule, ...]:
    """Return the rules in a JSON or YAML file, by its suffix. Raises `FaultRuleError` and `OSError`."""
    data = path.read_bytes()
    try:
        if path.suffix in (".yaml", ".yml"):
            document = YAML(typ="safe", pure=True).load(data)
        else:
            document = msgspec.json.decode(data)
    except (msgspec.DecodeError, YAMLError) as error:
        raise FaultRuleError(f"{path.name} cannot be read: {error}") from error
    return parse_rules(document)


def parse_rules(document: Any) -> tuple[FaultRule, ...]:
    """Return the rules that a JSON document describes. Raises `FaultRuleError`."""
    try:
        rules = msgspec.convert(document, tuple[FaultRule, ...])
    except msgspec.ValidationError as error:
        known = ", ".join(FaultKind)
        raise FaultRuleError(f"the fault plan is not a list of rules: {error}. Kinds: {known}") from error
    for position, (rule, given) in enumerate(zip(rules, document, strict=True)):
        for name, kinds in _OPTIONS.items():
            if name in given and rule.kind not in kinds:
                raise FaultRuleError(f"fault rule {position}: {rule.kind} has no option {name}")
        if rule.retry_after is not None:
            render_retry_after(rule.retry_after, 0.0)
    return rules


def render_retry_after(text: str | float, wall_now: float) -> str:
    """Return the Retry-After header for a rule's text, at `wall_now` seconds since the epoch.

    Raises `FaultRuleError` if ``http-date:`` is not followed by a number of seconds.
    """
    text = f"{text:g}" if isinstance(text, float) else str(text)
    if not text.startswith("http-date:"):
        return text
    try:
        seconds = float(text.removeprefix("http-date:"))
        moment = dt.datetime.fromtimestamp(wall_now + seconds, tz=dt.UTC)
    except (ValueError, OverflowError, OSError):
        raise FaultRuleError(f"retry_after {text!r} must be http-date:SECONDS") from None
    return email.utils.format_datetime(moment, usegmt=True)


def promised_wait_s(header: str, wall_now: float) -> float | None:
    """Return the wait that a Retry-After header asks for in seconds, or None if it names none."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - wall_now
        except ValueError:
            return None
    # No client need obey a wait of more than a day; "nan" and "-1" ask for nothing.
    return seconds if 0.0 <= seconds <= 86_400.0 else None

"""Which requests go wrong, and how: a plan of rules, and one number per attempt that picks one. Pure.

A plan is a list of rules ``{"kind": K, "rate": 0.1, ...}``. For each attempt one number in (0, 1) is drawn
from the seed, the call's key and the attempt's number; the rates of the rules that apply are stacked on each
other, and the number falls into one of them or above all. The same attempt thus meets the same fault in
every run.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from ruamel.yaml import YAML


class FaultKind(enum.StrEnum):
    """What can go wrong."""

    STATUS = "status"  # an HTTP status instead of work
    RESET = "reset"  # the connection is reset before any work
    HANG = "hang"  # a slot is held, and nothing ever comes
    SLOW = "slow"  # the work takes longer
    PROSE = "prose"  # a sound answer whose content is prose where JSON was asked for
    WRONG_SCHEMA = "wrong_schema"  # content that is JSON but violates the schema
    OUT_OF_RANGE = "out_of_range"  # content of the right types, with a value out of its bounds
    NO_USAGE = "no_usage"  # no token counts
    LENGTH = "length"  # content cut in the middle, finish_reason "length"
    OTHER_ANSWER = "other_answer"  # the answer to another question
    RESET_AFTER = "reset_after"  # the connection is reset after the work
    LATE = "late"  # the answer comes long after the work is done
    NOT_JSON = "not_json"  # a body that is plain text
    HTML = "html"  # a body that is a web page
    EMPTY = "empty"  # no body
    TRUNCATED = "truncated"  # half of the body
    HUGE = "huge"  # a body of 50 MB


class Moment(enum.Enum):
    """When a fault strikes, which decides whether the request is billed and what a repeated key sees."""

    BEFORE = "before"  # no work is done, nothing billed
    DURING = "during"  # work is done and billed
    ANSWER = "answer"  # billed; part of the answer, so an answer that is repeated has it too
    DELIVERY = "delivery"  # billed; the answer itself is sound, so a repeated key gets it


MOMENTS: Final[Mapping[FaultKind, Moment]] = {
    FaultKind.STATUS: Moment.BEFORE,
    FaultKind.RESET: Moment.BEFORE,
    FaultKind.HANG: Moment.BEFORE,
    FaultKind.SLOW: Moment.DURING,
    FaultKind.PROSE: Moment.ANSWER,
    FaultKind.WRONG_SCHEMA: Moment.ANSWER,
    FaultKind.OUT_OF_RANGE: Moment.ANSWER,
    FaultKind.NO_USAGE: Moment.ANSWER,
    FaultKind.LENGTH: Moment.ANSWER,
    FaultKind.OTHER_ANSWER: Moment.ANSWER,
    FaultKind.RESET_AFTER: Moment.DELIVERY,
    FaultKind.LATE: Moment.DELIVERY,
    FaultKind.NOT_JSON: Moment.DELIVERY,
    FaultKind.HTML: Moment.DELIVERY,
    FaultKind.EMPTY: Moment.DELIVERY,
    FaultKind.TRUNCATED: Moment.DELIVERY,
    FaultKind.HUGE: Moment.DELIVERY,
}

_COMMON: Final = frozenset({"kind", "rate", "attempts", "from_s", "to_s"})
_OWN: Final[Mapping[FaultKind, frozenset[str]]] = {
    FaultKind.STATUS: frozenset({"status", "retry_after"}),
    FaultKind.SLOW: frozenset({"seconds"}),
    FaultKind.LATE: frozenset({"seconds"}),
    FaultKind.HUGE: frozenset({"bytes"}),
}


class FaultRuleError(ValueError):
    """A plan cannot be used; the message names the rule by its position, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to go wrong, and where.

    `rate` is a probability; the rule is about the `attempts` named (None: all) in the window from `from_s` to
    `to_s`, in seconds since the start.

    `retry_after` is the header's text as it is sent, except that ``http-date:N`` becomes the date N seconds
    from then. `seconds` belongs to the slow and late kinds, `size` (bytes) to the huge one.
    """

    kind: FaultKind
    rate: float
    attempts: frozenset[int] | None = None
    from_s: float = 0.0
    to_s: float | None = None
    status: int = 500
    retry_after: str | None = None
    seconds: float = 5.0
    size: int = 50_000_000

    @property
    def moment(self) -> Moment:
        """When the fault strikes."""
        return MOMENTS[self.kind]

    def applies(self, attempt: int, elapsed_s: float) -> bool:
        """Return whether this attempt, `elapsed_s` after the start, is one that the rule is about."""
        if self.attempts is not None and attempt not in self.attempts:
            return False
        return self.from_s <= elapsed_s and (self.to_s is None or elapsed_s < self.to_s)


def choose(rules: Sequence[Rule], u: float, attempt: int, elapsed_s: float) -> Rule | None:
    """Return the rule that `u` in (0, 1) falls into, None where it falls above all that apply."""
    reached = 0.0
    for rule in rules:
        if rule.applies(attempt, elapsed_s):
            reached += rule.rate
            if u < reached:
                return rule
    return None


def load_rules(path: Path) -> tuple[Rule, ...]:
    """Return the rules in a JSON file, or in a YAML one where the suffix says so.

    Raises `FaultRuleError` where the file cannot be read as rules, `OSError` where it cannot be read.
    """
    data = path.read_bytes()
    if path.suffix in (".yaml", ".yml"):
        return parse_rules(YAML(typ="safe", pure=True).load(data))
    try:
        return parse_rules(orjson.loads(data))
    except orjson.JSONDecodeError as error:
        raise FaultRuleError(f"{path.name} is not JSON: {error}") from error


def parse_rules(document: Any) -> tuple[Rule, ...]:
    """Return the rules that a JSON document describes. Raises `FaultRuleError`."""
    if not isinstance(document, list):
        raise FaultRuleError("the fault plan must be a list of rules")
    return tuple(_parse(position, rule) for position, rule in enumerate(document))


def _parse(position: int, rule: Any) -> Rule:
    where = f"fault rule {position}"
    if not isinstance(rule, dict):
        raise FaultRuleError(f"{where} must be an object")
    try:
        kind = FaultKind(str(rule.get("kind")))
    except ValueError:
        known = ", ".join(FaultKind)
        raise FaultRuleError(f"{where}: kind {rule.get('kind')!r} is not one of {known}") from None
    unknown = sorted(rule.keys() - _COMMON - _OWN.get(kind, frozenset()))
    if unknown:
        raise FaultRuleError(f"{where}: {kind} has no option {', '.join(map(str, unknown))}")
    rate = _number(where, rule, "rate", 1.0)
    if rate > 1.0:
        raise FaultRuleError(f"{where}: rate must be a number from 0 to 1, not {rate:g}")
    attempts = rule.get("attempts")
    if attempts is not None and not (isinstance(attempts, list) and all(type(n) is int for n in attempts)):
        raise FaultRuleError(f"{where}: attempts must be a list of numbers, counted from 1")
    retry_after = rule.get("retry_after")
    return Rule(
        kind=kind,
        rate=rate,
        attempts=None if attempts is None else frozenset(attempts),
        from_s=_number(where, rule, "from_s", 0.0),
        to_s=None if rule.get("to_s") is None else _number(where, rule, "to_s", 0.0),
        status=int(_number(where, rule, "status", 500)),
        retry_after=None if retry_after is None else str(retry_after),
        seconds=_number(where, rule, "seconds", 5.0),
        size=int(_number(where, rule, "bytes", 50_000_000)),
    )


def _number(where: str, rule: Mapping[str, Any], name: str, default: float) -> float:
    value = rule.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise FaultRuleError(f"{where}: {name} must be a number from 0 up, not {value!r}")
    return float(value)


def render_retry_after(text: str, wall_now: float) -> str:
    """Return the Retry-After header that a rule's text asks for, at `wall_now` seconds since the epoch.

    Raises `FaultRuleError` where the part after ``http-date:`` is no number.
    """
    if not text.startswith("http-date:"):
        return text
    try:
        seconds = float(text.removeprefix("http-date:"))
    except ValueError:
        raise FaultRuleError(f"retry_after {text!r} must be http-date:SECONDS") from None
    moment = dt.datetime.fromtimestamp(wall_now + seconds, tz=dt.UTC)
    return email.utils.format_datetime(moment, usegmt=True)


def promised_wait_s(header: str, wall_now: float) -> float | None:
    """Return the seconds that a Retry-After header asks to wait, None where it is neither number nor date."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - wall_now
        except ValueError:
            return None
    # Beyond a day no client is expected to obey, and "nan" or "-1" ask for nothing.
    return seconds if 0.0 <= seconds <= 86_400.0 else None

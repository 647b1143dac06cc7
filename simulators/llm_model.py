"""What a simulated model is like, and what it replies. Pure."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import orjson

from simulators.answers import compose, nonce_of, prose, violate_range, violate_type
from simulators.capacity import Limits
from simulators.chance import lognormal, uniforms
from simulators.faults import FaultKind, FaultRuleError, Rule, parse_rules
from simulators.wire import Question, Reply

_OUTPUT_SIGMA: Final = 0.5
_LIMITS: Final = frozenset(item.name for item in fields(Limits))


class SettingsError(ValueError):
    """Settings cannot be used; the message names the one and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an endpoint is like. Latency and output tokens are medians of lognormal distributions.

    `remember` bounds the answers kept for repeated keys, in number. `tells_rates`: headers say what is left
    of the rates, and refusals what they are about and when there is room again.
    """

    seed: int = 0
    latency_s: float = 0.3
    sigma: float = 0.4
    output_tokens: int = 60
    model: str = "sim"
    idempotency: bool = True
    remember: int = 200_000
    tells_rates: bool = True
    limits: Limits = field(default_factory=Limits)
    faults: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        for name in ("latency_s", "sigma", "output_tokens", "remember"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number from 0 up, not {value}")


def change(settings: Settings, body: bytes) -> Settings:
    """Return `settings` with what a JSON document changes.

    It may name latency_s, sigma, output_tokens, faults (a list of rules) and any field of `Limits`.
    Raises `SettingsError`; then nothing of the document is to be taken.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SettingsError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise SettingsError("the body must be an object")
    own: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    try:
        for name, value in document.items():
            if name == "faults":
                own[name] = parse_rules(value)
            elif name in _LIMITS:
                limits[name] = _like(name, value, getattr(settings.limits, name))
            elif name in ("latency_s", "sigma", "output_tokens"):
                own[name] = _like(name, value, getattr(settings, name))
            else:
                raise SettingsError(f"{name} cannot be changed")
        return replace(settings, limits=replace(settings.limits, **limits), **own)
    except FaultRuleError as error:
        raise SettingsError(str(error)) from error
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _like(name: str, value: Any, old: float) -> float:
    """Return `value` where it is a number of the kind of `old`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{name} must be a number, not {value!r}")
    if isinstance(old, int) and not isinstance(value, int):
        raise SettingsError(f"{name} must be a whole number, not {value!r}")
    return value


def reply_to(question: Question, settings: Settings, key: str, created: int, fault: Rule | None) -> Reply:
    """Return the model's reply: content by seed and messages, length by seed and key, bent by `fault`.

    Raises `SchemaError` where the question's schema cannot be answered.
    """
    kind = None if fault is None else fault.kind
    nonce = nonce_of(question.messages)
    if kind is FaultKind.OTHER_ANSWER:
        nonce = hashlib.sha256(f"not {nonce}".encode()).hexdigest()[:16]
    content = _content(question, settings.seed, nonce, kind)
    most = question.max_tokens if question.max_tokens is not None else 100 * max(1, settings.output_tokens)
    drawn = lognormal(settings.output_tokens, _OUTPUT_SIGMA, uniforms(settings.seed, key)[0])
    output = max(1, min(most, round(drawn)))
    if kind is FaultKind.LENGTH:
        content = content[: len(content) // 2]
        output = most
    usage = {
        "prompt_tokens": question.input_tokens,
        "completion_tokens": output,
        "total_tokens": question.input_tokens + output,
    }
    return Reply(
        id=f"chatcmpl-{nonce}",
        model=question.model or settings.model,
        created=created,
        content=content,
        finish_reason="length" if kind is FaultKind.LENGTH else "stop",
        output_tokens=output,
        usage=None if kind is FaultKind.NO_USAGE else usage,
    )


def _content(question: Question, seed: int, nonce: str, kind: FaultKind | None) -> str:
    schema = question.schema
    if kind is FaultKind.PROSE:
        return prose(seed=seed, nonce=nonce)
    value = compose(schema, seed=seed, nonce=nonce, text=question.text)
    if schema is None:
        return str(value)
    if kind is FaultKind.WRONG_SCHEMA:
        value = violate_type(value)
    elif kind is FaultKind.OUT_OF_RANGE:
        value = violate_range(value, schema)
    return orjson.dumps(value).decode()

"""The settings of a simulated model, and its replies. Pure."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final

import msgspec
import orjson
from msgspec import Meta

from simulators.answers import compose, nonce_of, prose, violate_range, violate_type
from simulators.capacity import CapacityLimits, Count, Seconds
from simulators.chance import lognormal, uniforms
from simulators.dialects.dialect import ModelReply, Question
from simulators.faults import FaultKind, FaultRule, FaultRuleError, parse_rules

_OUTPUT_SIGMA: Final = 0.5
_FIXED: Final = frozenset({"seed", "model", "idempotency", "remember", "rate_headers"})


class LlmServerSettingsError(ValueError):
    """Settings cannot be used. The message names the setting and the reason."""


class LlmServerSettings(CapacityLimits, frozen=True, forbid_unknown_fields=True):
    """The behaviour of an endpoint. The descriptions are the help texts of the command line."""

    seed: Annotated[int, Meta(description="seed of all random numbers")] = 0
    latency_s: Annotated[Seconds, Meta(description="median latency of an idle endpoint")] = 0.3
    sigma: Annotated[
        float, Meta(ge=0, le=100, description="shape of the lognormal latency; 0: constant latency")
    ] = 0.4
    output_tokens: Annotated[Count, Meta(description="median length of an answer")] = 60
    cached_share: Annotated[
        float, Meta(ge=0, le=1, description="share of the input tokens that a cache serves")
    ] = 0.0
    reasoning_tokens: Annotated[
        Count, Meta(description="tokens of reasoning that each answer takes beside its text")
    ] = 0
    model: Annotated[str, Meta(description="model that /v1/models lists")] = "sim"
    idempotency: Annotated[bool, Meta(description="answer a repeated Idempotency-Key without billing")] = True
    remember: Annotated[Count, Meta(description="answers kept for repeated Idempotency-Keys")] = 200_000
    rate_headers: Annotated[
        bool, Meta(description="send x-ratelimit headers, and the reason and the wait with a refusal")
    ] = True
    faults: tuple[FaultRule, ...] = ()


def change(settings: LlmServerSettings, body: bytes) -> LlmServerSettings:
    """Return `settings` with the values of a JSON document, all of them or, with an error, none.

    Raises `LlmServerSettingsError`.
    """
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
        fixed = sorted(document.keys() & _FIXED)
        if fixed:
            raise LlmServerSettingsError(f"{fixed[0]} cannot be changed")
        return updated(settings, document)
    except msgspec.DecodeError as error:
        raise LlmServerSettingsError(f"the body is not a JSON object: {error}") from error


def updated(settings: LlmServerSettings, values: dict[str, Any]) -> LlmServerSettings:
    """Return `settings` with `values`. Raises `LlmServerSettingsError`."""
    try:
        rules = parse_rules(values["faults"]) if "faults" in values else settings.faults
        plain = {**msgspec.structs.asdict(settings), **values, "faults": ()}
        return msgspec.structs.replace(msgspec.convert(plain, LlmServerSettings), faults=rules)
    except (msgspec.ValidationError, FaultRuleError) as error:
        raise LlmServerSettingsError(str(error)) from error


def reply_to(
    question: Question, settings: LlmServerSettings, key: str, created: int, fault: FaultRule | None
) -> ModelReply:
    """Return the model's reply: content by seed and messages, length by seed and key, modified by `fault`.

    Raises `SchemaError` if no answer fits the question's schema.
    """
    kind = None if fault is None else fault.kind
    nonce = nonce_of(question.messages)
    if kind is FaultKind.OTHER_ANSWER:
        nonce = hashlib.sha256(f"not {nonce}".encode()).hexdigest()[:16]
    content = _content(question, settings.seed, nonce, kind)
    most = question.max_tokens if question.max_tokens is not None else 100 * max(1, settings.output_tokens)
    drawn = lognormal(settings.output_tokens, _OUTPUT_SIGMA, uniforms(settings.seed, key)[0])
    output = max(1, min(most, round(drawn) + settings.reasoning_tokens))
    if question.vectors is not None or question.ranking is not None:
        output = 0
    if kind is FaultKind.LENGTH:
        content = content[: len(content) // 2]
        output = most
    return ModelReply(
        id=nonce,
        model=question.model or settings.model,
        created=created,
        content=content,
        is_cut=kind is FaultKind.LENGTH,
        input_tokens=question.input_tokens,
        output_tokens=output,
        cached_tokens=int(question.input_tokens * settings.cached_share),
        reasoning_tokens=min(settings.reasoning_tokens, output),
        has_usage=kind is not FaultKind.NO_USAGE,
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

"""The processor time of a call in each dialect: of its translation alone, and of the whole call over HTTP.

The translation is the bytes of a request, and the reading of an answer, whole and streamed; requests are
prepared once, and the simulator writes the answers beforehand. The whole call is an attempt at a simulator in
another process; only this process counts. The rounds of all dialects alternate, and the fastest one of each
counts, so that other load on the machine affects all alike.

    python -m benchmarks.cost.dialects --calls 10000
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop
from pydantic import SecretStr, TypeAdapter

from actors.core.messages.attempts import Attempt
from actors.llm.dialects.dialect import Dialect, PreparedForm
from actors.llm.dialects.registry import dialect_names, dialect_of
from actors.llm.endpoint import CHAT, NO_KEY, EndpointSettings
from actors.llm.fields import FieldSpec
from actors.llm.forms import AnswerForm, AnswerProblem
from actors.llm.http_endpoint import HttpEndpoint
from actors.llm.requests.head import request_headers
from benchmarks.results import BenchmarkResult, Table, check_at_most
from simulators.dialects.registry import dialect_at
from simulators.llm_model import LlmServerSettings, reply_to
from simulators.process import SimulatorProcess

_GOAL = 1.15  # of the time of `chat`
_ROUNDS = 10
_IN_FLIGHT = 32
_WITHIN_S = 60.0
_PROMPT = "Rate this review of a book, and say why: " + "It held me until the last page. " * 30
_FIELDS = {"score": {"type": "number", "min": 0, "max": 1}, "note": {"type": "string"}}
_FORM = AnswerForm("rating", TypeAdapter(dict[str, FieldSpec]).validate_python(_FIELDS), 300)
_BEDROCK, _SIGNED = "bedrock", "bedrock, signed"  # with a key of its API, with the credentials of AWS
_PATHS = {"anthropic": "", "azure": "", _BEDROCK: "", "cohere": "", "gemini": "/v1beta"}  # others: /v1
_AWS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token" * 100,
    "AWS_REGION": "eu-west-1",
}
_PIECE = 1400  # bytes of a stream that arrive at once


class DialectSample(NamedTuple):
    """One dialect with a prepared form, and an answer to it."""

    dialect: Dialect
    form: PreparedForm
    answer: bytes
    stream: list[bytes]


class DialectCost(NamedTuple):
    """Microseconds of processor time a call."""

    request: float
    answer: float
    stream: float
    call: float
    streamed_call: float


def sample(name: str, base_url: str) -> DialectSample:
    """Return the dialect `name` and what the simulator at `base_url` answers to a question of it."""
    key = SecretStr(NO_KEY if name == _SIGNED else "key")
    name = name.partition(",")[0]
    url = base_url.removesuffix("/v1") + _PATHS.get(name, "/v1")
    dialect = dialect_of(EndpointSettings(name="main", base_url=url, model="m", dialect=name, api_key=key))
    form = dialect.prepare(_FORM)
    stream = _answered(dialect, form, stream=True)
    pieces = [stream[start : start + _PIECE] for start in range(0, len(stream), _PIECE)]
    return DialectSample(dialect, form, _answered(dialect, form, stream=False), pieces)


def _answered(dialect: Dialect, form: PreparedForm, *, stream: bool) -> bytes:
    path = urlsplit(dialect.url(stream=stream)).path
    simulated = dialect_at("POST", path)
    if simulated is None:
        raise TypeError(f"the simulator does not answer POST {path}")
    question = simulated.parse(path, request_headers(dialect), form.body(_PROMPT, None, stream=stream))
    reply = reply_to(question, LlmServerSettings(), "key", 0, None)
    if not stream:
        return simulated.completion(question, reply)
    return b"".join(simulated.events(question, reply)) + simulated.end


# ---- measurements ----------------------------------------------------------------------------------------


async def measured(one: DialectSample, calls: int) -> DialectCost:
    """Return the cost of `calls` calls."""

    def ask() -> None:
        one.form.body(_PROMPT, None)

    def read() -> None:
        _check(one.dialect.read(_FORM, one.answer).found)

    def read_stream() -> None:
        reader = one.dialect.reader()
        for piece in one.stream:
            reader.feed(piece)
        reader.close()
        _check(reader.answer(_FORM).found)

    translated = [_time_us(act, calls) for act in (ask, read, read_stream)]
    whole = [await _call_us(one.dialect, max(_IN_FLIGHT, calls // 10), stream=each) for each in (False, True)]
    return DialectCost(*translated, *whole)


def _check(found: object) -> None:
    if isinstance(found, AnswerProblem):
        raise TypeError(found.text)


def _time_us(act: Callable[[], None], calls: int) -> float:
    started = time.process_time()
    for _ in range(calls):
        act()
    return (time.process_time() - started) / calls * 1e6


async def _call_us(dialect: Dialect, calls: int, *, stream: bool) -> float:
    """Return the microseconds that this process needs for each of `calls` attempts."""
    endpoint = HttpEndpoint(dialect, {_FORM.name: _FORM})
    numbers = iter(range(calls))

    async def ask() -> None:
        for number in numbers:
            key = f"{time.monotonic_ns()}-{number}"
            attempt = Attempt(number, key, "main", _FORM.name, _PROMPT, 1, key, _WITHIN_S, stream=stream)
            ended = await endpoint.attempt(attempt, _WITHIN_S)
            if ended.error is not None:
                raise RuntimeError(str(ended.error))

    try:
        started = time.process_time()
        async with asyncio.TaskGroup() as asking:
            for _ in range(_IN_FLIGHT):
                asking.create_task(ask())
        return (time.process_time() - started) / calls * 1e6
    finally:
        await endpoint.close()


async def _all(base_url: str, calls: int) -> dict[str, DialectCost]:
    """Return the cost of each dialect: the least of all rounds."""
    samples = {name: sample(name, base_url) for name in (*dialect_names(), _SIGNED)}
    costs: dict[str, list[DialectCost]] = {name: [] for name in samples}
    for _ in range(_ROUNDS):
        for name, one in samples.items():
            costs[name].append(await measured(one, max(1, calls // _ROUNDS)))
    return {name: DialectCost(*map(min, zip(*rounds, strict=True))) for name, rounds in costs.items()}


def main() -> None:
    """Measure every dialect, and publish the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--form", default="by hand")
    options = parser.parse_args()
    os.environ.update(_AWS)
    with SimulatorProcess("llm", ["--latency-s", "0", "--sigma", "0"]) as model:
        costs = uvloop.run(_all(model.url, options.calls))
    usual = costs[CHAT]
    rows = tuple(
        (name, *(f"{mine:.1f} ({mine / other:.2f})" for mine, other in zip(cost, usual, strict=True)))
        for name, cost in costs.items()
    )
    columns = ("", "request", "answer", "streamed answer", "whole call", "whole streamed call")
    BenchmarkResult(
        name="dialects",
        form=options.form,
        tables=[Table("µs of processor time (as a multiple of chat)", columns, rows)],
        checks=[
            check_at_most(f"{name}, {what}, as a multiple of chat", mine / other, _GOAL)
            for name, cost in costs.items()
            if name != CHAT
            for what, mine, other in (
                ("a call", cost.call, usual.call),
                ("a streamed call", cost.streamed_call, usual.streamed_call),
            )
        ],
    ).publish()


if __name__ == "__main__":
    main()

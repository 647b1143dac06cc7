"""Traces of runs, as an OTLP receiver gets them, and the log as JSON."""

from __future__ import annotations

import itertools
import json

import pytest
from aiohttp import web

from tests.e2e.support.otlp_receiver import otlp_receiver
from tests.e2e.support.scripted_server import completion

CANARY = "sk-canary-of-the-receiver-55c1"
PROMPT = "Rate the word telescope"
ANSWER = '{"score": 0.25}'
FAILED = 2  # OpenTelemetry's status code of an error
CLIENT = 3  # OpenTelemetry's kind of a span about a request
SOURCE = """
import logging

class Talking:
    async def fetch(self, task):
        logging.getLogger("talking").warning("a source knows %s", "sk-canary-of-a-source-8812")
        return [{"id": "one", "text": "a word"}]
"""
CLOSE_S = 1.0  # the journal's times include its commits


@pytest.fixture
async def receiver():
    async with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture
def config(driver, server, receiver):
    """Two endpoints, whose first two answers are errors."""
    answers = itertools.count(1)

    async def behave(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"object": "list", "data": []})
        if next(answers) <= 2:
            return web.json_response({"error": {"message": "out of order"}}, status=500)
        return web.Response(body=completion(ANSWER, (40, 7)), content_type="application/json")

    server.behaviour = behave
    (driver.directory / "talking.py").write_text(SOURCE)

    def written(**traces):
        origin = server.url.removesuffix("/v1")
        price = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
        return driver.config(
            tasks={"kind": "inline", "tasks": ["telescope"]},
            sources=[{"name": "talking", "kind": "python", "target": "talking:Talking"}],
            dimensions=[],
            evaluate={"prompt": "Rate the word {key}", "output": {"score": "0..1"}},
            llm={
                "clients": 1,
                "endpoints": [
                    {"name": name, "base_url": f"{origin}/{name}", "model": f"{name}-1", "price": price}
                    for name in ("left", "right")
                ],
            },
            telemetry={
                "traces": {
                    "endpoint": receiver.url,
                    "sample": 1.0,
                    "headers": {"X-Key": "${RECEIVER_KEY}"},
                    **traces,
                }
            },
        )

    return written


@pytest.mark.timeout(200)
@pytest.mark.parametrize("engine", ["local", "ray"])
async def test_the_trace_of_a_call_with_two_retries_and_a_failover_is_what_why_shows_and_the_log_is_json(
    driver, receiver, config, engine
):
    env = {"RECEIVER_KEY": CANARY, "HEADRACE_LOG_FORMAT": "json", "PYTHONPATH": str(driver.directory)}
    ended = await driver("run", str(config()), "--run-id=traced", "--json", f"--engine={engine}", env=env)
    assert ended.code == 0, ended.stderr
    why = (await driver("why", "traced", "telescope", "--json")).summary()
    (run,), (task,), (step,) = receiver.named("run "), receiver.named("task"), receiver.named("step ")
    (call,), attempts = receiver.named("chat "), receiver.named("attempt ")

    shown = why["attempts"]
    assert [one["number"] for one in shown] == [1, 2, 3]
    assert {one["endpoint"] for one in shown[:2]} == {"left", "right"}  # it failed over
    assert [_as_in_why(span) for span in attempts] == [
        (
            one["number"],
            one["call"],
            one["endpoint"],
            one["outcome"],
            one["tokens"]["input"],
            one["tokens"]["output"],
        )
        for one in shown
    ]
    for span, one in zip(attempts, shown, strict=True):
        assert span.began == pytest.approx(one["began_at"], abs=CLOSE_S)
        assert span.ended - span.began == pytest.approx(one["took_s"], abs=CLOSE_S)
        assert (span.parent, span.kind, span.trace) == (call.id, CLIENT, task.trace)
        assert span.status == (0 if one["outcome"] == "answered" else FAILED)
        assert span.attributes["gen_ai.request.model"] == f"{one['endpoint']}-1"
        assert span.attributes["server.address"] == "127.0.0.1"
        assert call.began <= span.began <= span.ended <= call.ended
    assert attempts[0].attributes["error.type"] == shown[0]["outcome"]

    about = call.attributes
    assert (call.parent, step.parent, task.parent, run.parent) == (step.id, task.id, b"", b"")
    assert task.links == ((run.trace, run.id),)
    assert run.trace != task.trace == call.trace == step.trace
    assert about["headrace.attempts"] == 3
    assert (about["gen_ai.operation.name"], about["gen_ai.provider.name"]) == ("chat", "openai")
    assert about["gen_ai.request.model"] == f"{shown[2]['endpoint']}-1"
    assert (about["gen_ai.usage.input_tokens"], about["gen_ai.usage.output_tokens"]) == (40, 7)
    assert task.attributes["headrace.cost_usd"] == pytest.approx(why["report"]["cost_usd"])
    assert {span.resource["service.name"] for span in receiver.spans} == {"headrace"}

    assert {headers["x-key"] for headers in receiver.headers} == {CANARY}
    sent = b"".join(receiver.bodies)
    assert PROMPT.encode() not in sent
    assert b"out of order" not in sent
    assert b"0.25" not in sent
    _check_log(ended.stderr)


def _check_log(stderr):
    """Check that each line on stderr is JSON, also what an actor logs in a process of Ray."""
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, lines))
    begun = next(line for line in lines if line["message"].startswith("run traced: 1 task"))
    assert (begun["level"], begun["run"]) == ("INFO", "traced")
    (said,) = [line for line in lines if line["logger"] == "talking"]
    assert (said["level"], said["run"], said["task"]) == ("WARNING", "traced", "telescope")
    assert "canary" not in stderr


def _as_in_why(span):
    about = span.attributes
    tokens = (about.get(f"headrace.tokens.{kind}", 0) for kind in ("input", "output"))
    outcome = about["headrace.outcome"]
    return (
        about["headrace.attempt.number"],
        about["headrace.call"],
        about["headrace.endpoint"],
        outcome,
        *tokens,
    )


async def test_spans_have_prompts_and_answers_only_if_wanted_and_a_receiver_that_fails_ends_nothing(
    driver, receiver, config
):
    env = {"RECEIVER_KEY": CANARY, "PYTHONPATH": str(driver.directory)}
    standard = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_SERVICE_NAME": "reviews"}
    path = config(content=True, endpoint=None)  # then the standard variables count
    receiver.status = 400
    ended = await driver("run", str(path), "--run-id=told", "--json", env={**env, **standard})
    assert ended.code == 0, ended.stderr
    assert ended.stderr.count("Failed to export") == 1
    assert "spans were not exported" in ended.stderr
    assert CANARY not in ended.stderr
    (call,) = receiver.named("chat ")
    assert call.resource["service.name"] == "reviews"
    assert PROMPT in call.attributes["gen_ai.input.messages"]
    assert "0.25" in call.attributes["gen_ai.output.messages"]


async def test_an_error_of_the_command_line_is_a_line_of_json(driver):
    run = await driver("run", "absent.yaml", "--log-format=json")
    (line,) = [json.loads(line) for line in run.stderr.splitlines()]
    assert (run.code, line["level"]) == (2, "ERROR")
    assert "absent.yaml" in line["message"]

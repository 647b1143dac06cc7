"""What a client may not ask of Serve, and the form of what Serve answers by itself."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from cluster.http.guard.bounds import middlewares
from cluster.http.guard.serve_answers import ServeAnswers

MARK = (b"x-content-type-options", b"nosniff")
PROBLEM = (b"content-type", b"application/problem+json")


class Serve:
    """Answers every request the same, in two pieces."""

    def __init__(self, status=200, headers=(MARK,)):
        self.seen = {}
        self._start = {"type": "http.response.start", "status": status, "headers": list(headers)}

    async def __call__(self, scope, receive, send):
        self.seen = dict(scope["headers"])
        await send(self._start)
        await send({"type": "http.response.body", "body": b"its ", "more_body": True})
        await send({"type": "http.response.body", "body": b"own words"})


async def ask(serve, headers=(), path="/v1/tasks", app=ServeAnswers):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": path, "headers": list(headers)}
    await app(serve)(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent)


@pytest.mark.parametrize(
    "name",
    [
        b"x-request-timeout-seconds",
        b"X_Request_Timeout_Seconds",
        b"x-request-disconnect-disabled",
        b"x-session-id",
        b"serve_multiplexed_model_id",
    ],
)
async def test_a_header_by_which_a_client_would_control_serve_is_dropped(name):
    serve = Serve()
    await ask(serve, [(name, b"0"), (b"accept", b"a")])
    assert serve.seen == {b"accept": b"a"}


@pytest.mark.parametrize(("value", "kept"), [(b"mine-1", True), (b"\xff", False), (b"x" * 129, False)])
async def test_a_request_id_that_serve_could_not_use_is_dropped(value, kept):
    serve = Serve()
    await ask(serve, [(b"x-request-id", value)])
    assert (b"x-request-id" in serve.seen) == kept


@pytest.mark.parametrize("status", [400, 404, 503])
async def test_an_answer_of_serve_itself_becomes_a_problem_that_says_to_come_back(status):
    answered, headers, body = await ask(Serve(status, [(b"content-type", b"text/plain")]))
    assert answered == 503
    assert PROBLEM in headers.items()
    assert headers[b"retry-after"] == b"1"
    assert orjson.loads(body)["type"] == "urn:headrace:problem:unavailable"


@pytest.mark.parametrize("serve", [Serve(404), Serve(500), Serve(200, [])])
async def test_an_answer_of_the_application_and_a_success_stay_as_they_are(serve):
    answered, _, body = await ask(serve)
    assert (answered, body) == (serve._start["status"], b"its own words")


class Lost:
    """Sends the first `sent` messages of an answer, and then raises or returns."""

    def __init__(self, sent, error=None):
        self._sent = sent
        self._error = error

    async def __call__(self, scope, receive, send):
        start = {"type": "http.response.start", "status": 200, "headers": [MARK]}
        for message in [start, {"type": "http.response.body", "body": b"{", "more_body": True}][: self._sent]:
            await send(message)
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [None, RuntimeError("the replica died"), ExceptionGroup("g", [OSError()])])
async def test_a_request_that_serve_loses_is_answered_with_a_problem(error):
    answered, headers, body = await ask(Lost(0, error))
    assert answered == 503
    assert PROBLEM in headers.items()
    assert orjson.loads(body)["type"] == "urn:headrace:problem:unavailable"


async def test_an_answer_that_breaks_off_ends_the_connection():
    """The server closes a connection whose application raises. A second start would corrupt the answer."""
    with pytest.raises(RuntimeError, match="the replica died"):
        await ask(Lost(2, RuntimeError("the replica died")))


async def test_a_cancelled_request_is_not_answered():
    with pytest.raises(asyncio.CancelledError):
        await ask(Lost(0, asyncio.CancelledError()))


async def test_an_address_without_a_path_is_a_problem_of_the_caller():
    """Serve finds no application for `GET *`, which would look like an absent replica."""
    answered, headers, body = await ask(Serve(404, []), path="*")
    assert answered == 400
    assert PROBLEM in headers.items()
    assert orjson.loads(body)["type"] == "urn:headrace:problem:no-path"


async def test_a_health_check_of_serve_stays_as_it_is():
    answered, _, body = await ask(Serve(503, []), path="/-/healthz")
    assert (answered, body) == (503, b"its own words")


async def test_the_bounds_are_checked_before_serve_s_headers():
    """The bounds answer by themselves, which is no failure of Serve."""
    assert [each.cls.__name__ for each in middlewares()] == ["ServeAnswers", "RequestBounds"]

"""The endpoint against a real server in this process that behaves, and misbehaves, as a test tells it to."""

import asyncio
import contextlib
import gzip
import logging
import socket

import orjson
import pytest
from aiohttp import ClientRequest, web
from pydantic import TypeAdapter

from actors.core.errors import Blame, FailureKind
from actors.core.messages import Attempt, Correction, RateHeaders, Refusal, Usage
from actors.endpoints.base import EndpointSettings
from actors.endpoints.forms import AnswerForm, FieldSpec
from actors.endpoints.openai_compatible import OpenAICompatible

KEY = "sk-canary-0123456789"
NOON = 1_795_694_400.0  # Thursday, 26 November 2026, 12:00:00 GMT
SCORE = TypeAdapter(dict[str, FieldSpec]).validate_python({"x": {"type": "number", "min": 0, "max": 1}})
FORMS = {
    "evaluate": AnswerForm("evaluate", SCORE, 50),
    "finding": AnswerForm("finding", {}, 70, instructions="Be brief."),
}


def completion(content='{"x": 0.5}', usage=(1000, 500)):
    document = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    if usage:
        document["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return orjson.dumps(document)


class Server:
    """Answers each request by `behaviour`, an async function from the request to a response."""

    def __init__(self):
        self.behaviour = None
        self.requests = []
        self.connections = set()
        self.held_up = asyncio.Event()  # for behaviours that do not answer: nobody sets it
        self.gave_up = asyncio.Event()  # set when the other side hangs up on a request
        self.url = ""

    async def handle(self, request):
        self.requests.append((request.path, dict(request.headers), await request.read()))
        self.connections.add(request.transport)
        try:
            return await self.behaviour(request)
        except asyncio.CancelledError:
            self.gave_up.set()
            raise

    def answer(self, body=b"", status=200, **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}

        async def respond(request):
            return web.Response(body=body, status=status, headers=names)

        self.behaviour = respond

    def answer_and_break(self, body, status=200, length=10_000):
        async def respond(request):
            response = web.StreamResponse(status=status, headers={"Content-Length": str(length)})
            await response.prepare(request)
            await response.write(body)
            request.transport.abort()
            return response

        self.behaviour = respond

    def answer_and_stall(self, body, status=200):
        async def respond(request):
            response = web.StreamResponse(status=status, headers={"Content-Length": "10000"})
            await response.prepare(request)
            await response.write(body)
            await self.held_up.wait()
            return response

        self.behaviour = respond

    def flood(self, status=200):
        async def respond(request):
            response = web.StreamResponse(status=status)
            await response.prepare(request)
            while True:
                await response.write(b" " * 65536)

        self.behaviour = respond


@pytest.fixture
async def server():
    server = Server()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield server
    await runner.cleanup()


@contextlib.asynccontextmanager
async def open_endpoint(url, **settings):
    described = {"name": "main", "base_url": url, "model": "sim", "api_key": KEY, **settings}
    endpoint = OpenAICompatible(EndpointSettings.model_validate(described), FORMS, wall_clock=lambda: NOON)
    yield endpoint
    await endpoint.close()


@pytest.fixture
async def endpoint(server):
    async with open_endpoint(server.url) as endpoint:
        yield endpoint


def attempt(number=1, form="evaluate", prompt="Rate it.", expires_in_s=30.0, correction=None):
    return Attempt(number, "call", "main", form, prompt, 1, f"idem-{number}", expires_in_s, correction)


async def ask(endpoint, timeout_s=10.0, **changes):
    ended = await endpoint.attempt(attempt(**changes), timeout_s)
    assert (ended.values is None) != (ended.error is None)
    assert KEY not in repr(ended)
    return ended


# ---- what is asked ---------------------------------------------------------------------------------------


async def test_a_request_carries_key_idempotency_and_the_shape_of_the_answer(server, endpoint):
    server.answer(completion())

    await ask(endpoint, number=7, prompt='Say "hi" to {key}\n\u2028 — ok?')

    [(path, headers, body)] = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Idempotency-Key"] == "idem-7"
    assert headers["Content-Type"] == "application/json"
    assert headers["Accept-Encoding"] == "identity"
    assert orjson.loads(body) == {
        "model": "sim",
        "messages": [{"role": "user", "content": 'Say "hi" to {key}\n\u2028 — ok?'}],
        "max_tokens": 50,
        "response_format": orjson.loads(FORMS["evaluate"].response_format),
    }


async def test_a_form_without_fields_asks_for_text_and_puts_its_instructions_first(server, endpoint):
    server.answer(completion("A finding."))

    ended = await ask(endpoint, form="finding")

    assert ended.values == {"text": "A finding."}
    assert orjson.loads(server.requests[0][2]) == {
        "model": "sim",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Rate it."}],
        "max_tokens": 70,
    }


async def test_asking_again_shows_the_model_its_answer_and_what_was_wrong(server, endpoint):
    server.answer(completion('{"x": 7}'))
    first = await ask(endpoint)
    server.answer(completion())

    second = await ask(endpoint, correction=first.correction)

    asked, answered, told = orjson.loads(server.requests[1][2])["messages"]
    assert asked == {"role": "user", "content": "Rate it."}
    assert answered == {"role": "assistant", "content": '{"x": 7}'}
    assert told["role"] == "user"
    assert "wanted a number from 0 to 1, got 7" in told["content"]
    assert second.values == {"x": 0.5}


async def test_half_an_emoji_in_a_prompt_does_not_fail_the_call(server, endpoint):
    server.answer(completion())

    ended = await ask(endpoint, prompt="half \ud83d of it", correction=Correction("\ud83d", "odd"))

    assert ended.values == {"x": 0.5}
    assert orjson.loads(server.requests[0][2])["messages"][0]["content"] == "half ? of it"


# ---- what comes back -------------------------------------------------------------------------------------


async def test_a_fitting_answer_gives_values_usage_cost_rates_and_the_time_it_took(server):
    server.answer(completion(), x_ratelimit_remaining_requests="99")

    async with open_endpoint(
        server.url, price={"input_usd_per_mtok": 2, "output_usd_per_mtok": 8}
    ) as endpoint:
        ended = await ask(endpoint, number=3)

    assert (ended.id, ended.values) == (3, {"x": 0.5})
    assert ended.usage == Usage(1000, 500, 0.006)
    assert ended.headers == RateHeaders(remaining_requests=99)
    assert 0 < ended.took_s < 10


@pytest.mark.parametrize(
    ("body", "said", "left"),
    [
        (completion('{"x": 7}'), "wanted a number", (Usage(1000, 500), '{"x": 7}')),
        (completion("y" * 9000), "one JSON object", (Usage(1000, 500), "y" * 8000)),
        (completion(""), "one JSON object", (Usage(1000, 500), None)),
        (b"", "nothing", (Usage(), None)),
        (b"<html>", "HTML", (Usage(), None)),
        (completion()[:20], "not JSON", (Usage(), None)),
        (b'{"usage": {"prompt_tokens": 9, "completion_tokens": 0}}', "without choices", (Usage(9, 0), None)),
    ],
)
async def test_an_unusable_answer_is_billed_and_says_what_is_wrong(server, endpoint, body, said, left):
    server.answer(body)

    ended = await ask(endpoint)

    assert ended.error.kind is FailureKind.UNUSABLE
    assert said in ended.error.message
    assert (ended.usage, ended.correction and ended.correction.answer) == left


async def test_an_answer_that_breaks_off_was_paid_for(server, endpoint):
    server.answer_and_break(completion())

    ended = await ask(endpoint)

    assert ended.error.kind is FailureKind.UNUSABLE
    assert "broke off" in ended.error.message


async def test_an_endless_answer_is_given_up_at_its_bound(server):
    server.flood()

    async with open_endpoint(server.url, max_answer_bytes=1 << 20) as endpoint:
        ended = await ask(endpoint)

    assert ended.error.kind is FailureKind.UNUSABLE
    assert "larger than 1048576 bytes" in ended.error.message


async def test_a_bomb_of_compressed_nothing_is_given_up_at_its_bound(server):
    server.answer(gzip.compress(bytes(32 << 20)), Content_Encoding="gzip")

    async with open_endpoint(server.url, max_answer_bytes=1 << 20) as endpoint:
        ended = await ask(endpoint)

    assert ended.error.kind is FailureKind.UNUSABLE
    assert "larger than" in ended.error.message


async def test_an_answer_compressed_against_our_wish_is_read_all_the_same(server, endpoint):
    server.answer(gzip.compress(completion()), Content_Encoding="gzip")

    assert (await ask(endpoint)).values == {"x": 0.5}


async def test_an_answer_without_usage_counts_as_nothing_and_is_mentioned_once(server, endpoint, caplog):
    server.answer(completion(usage=None))

    ends = [await ask(endpoint), await ask(endpoint)]

    assert [end.usage for end in ends] == [Usage(), Usage()]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_refusal_says_why_when_to_come_back_and_what_is_left(server, endpoint):
    body = orjson.dumps({"error": {"type": "tokens", "message": "slow down"}})
    server.answer(body, 429, Retry_After="Thu, 26 Nov 2026 12:00:30 GMT", x_ratelimit_remaining_tokens="0")

    ended = await ask(endpoint)

    assert (ended.error.kind, ended.refusal) == (FailureKind.REFUSED, Refusal.TOKENS)
    assert ended.error.retry_after_s == 30.0
    assert ended.headers == RateHeaders(remaining_tokens=0)
    assert ended.usage == Usage()


async def test_a_redirect_is_not_followed_for_it_would_carry_the_key_along(server, endpoint):
    server.answer(status=307, Location="/v2/chat/completions")

    ended = await ask(endpoint)

    assert (ended.error.kind, ended.error.blame) == (FailureKind.PERMANENT, Blame.CONFIG)
    assert len(server.requests) == 1


async def test_a_status_counts_though_its_explanation_breaks_off_or_never_comes(server, endpoint):
    server.answer_and_break(b"{", status=429)
    broken = await ask(endpoint)
    server.answer_and_stall(b"{", status=400)
    stalled = await ask(endpoint, timeout_s=0.1)

    assert broken.error.kind is FailureKind.REFUSED
    assert (stalled.error.kind, stalled.error.blame) == (FailureKind.PERMANENT, Blame.TASK)


async def test_an_endless_explanation_of_an_error_is_not_waited_for(server, endpoint):
    server.flood(status=400)

    ended = await ask(endpoint, timeout_s=2.0)

    assert (ended.error.kind, ended.error.blame) == (FailureKind.PERMANENT, Blame.TASK)
    assert ended.took_s < 2.0


# ---- what does not come back -----------------------------------------------------------------------------


async def hang_up(request):
    request.transport.close()
    return web.Response()


async def reset(request):
    request.transport.abort()
    return web.Response()


async def talk_rubbish(request):
    request.transport.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize("behaviour", [hang_up, reset, talk_rubbish])
async def test_a_connection_that_breaks_after_the_request_leaves_it_in_doubt(server, endpoint, behaviour):
    server.behaviour = behaviour

    ended = await ask(endpoint)

    assert len(server.requests) == 1  # never sent twice behind our back
    assert (ended.error.kind, ended.error.blame) == (FailureKind.IN_DOUBT, Blame.ENDPOINT)


@pytest.mark.parametrize("bounds", [{"timeout_s": 0.1}, {"expires_in_s": 0.1}])
async def test_no_answer_in_time_is_in_doubt_and_the_endpoint_is_hung_up_on(server, endpoint, bounds):
    server.behaviour = lambda request: server.held_up.wait()

    ended = await ask(endpoint, **bounds)

    assert ended.error.kind is FailureKind.IN_DOUBT
    assert ended.took_s < 5
    await asyncio.wait_for(server.gave_up.wait(), 5)


async def test_an_answer_that_stalls_half_way_is_in_doubt(server, endpoint):
    server.answer_and_stall(completion()[:10])

    ended = await ask(endpoint, timeout_s=0.2)

    assert ended.error.kind is FailureKind.IN_DOUBT
    await asyncio.wait_for(server.gave_up.wait(), 5)


@pytest.mark.parametrize(
    ("bounds", "kind"),
    [
        ((0.0, 10.0), FailureKind.DEADLINE),
        ((-3.0, 10.0), FailureKind.DEADLINE),
        ((30.0, 0.0), FailureKind.TRANSIENT),
    ],
)
async def test_an_attempt_without_time_left_ends_before_it_waits_for_anything(endpoint, bounds, kind):
    expires_in_s, timeout_s = bounds
    asking = endpoint.attempt(attempt(expires_in_s=expires_in_s), timeout_s)

    with pytest.raises(StopIteration) as returned:
        asking.send(None)

    assert returned.value.value.error.kind is kind


async def test_a_refused_connection_passes_and_is_not_in_doubt():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    async with open_endpoint(f"http://127.0.0.1:{port}/v1") as endpoint:
        ended = await ask(endpoint)

    assert (ended.error.kind, ended.error.blame) == (FailureKind.TRANSIENT, Blame.ENDPOINT)


async def test_a_name_that_nobody_knows_passes_and_is_not_in_doubt(monkeypatch):
    async def unknown(self, host, *args, **kwargs):
        raise OSError(None, "DNS lookup failed")

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", unknown)

    async with open_endpoint("http://endpoint.invalid/v1") as endpoint:
        ended = await ask(endpoint)

    assert ended.error.kind is FailureKind.TRANSIENT


async def test_a_server_that_speaks_no_tls_was_sent_nothing(server):
    async with open_endpoint(server.url.replace("http:", "https:")) as endpoint:
        ended = await ask(endpoint)

    assert ended.error.kind is FailureKind.TRANSIENT
    assert server.requests == []


@pytest.mark.parametrize(
    ("bounds", "kind"),
    [({"timeout_s": 0.1}, FailureKind.TRANSIENT), ({"expires_in_s": 0.1}, FailureKind.DEADLINE)],
)
async def test_time_that_runs_out_before_the_request_is_written_is_not_in_doubt(bounds, kind):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, but never says the greeting of TLS
        async with open_endpoint(f"https://127.0.0.1:{silent.getsockname()[1]}/v1") as endpoint:
            ended = await ask(endpoint, **bounds)

    assert ended.error.kind is kind


async def test_a_connection_that_closed_before_the_body_was_written_took_nothing(
    server, endpoint, monkeypatch
):
    """The endpoint closes an idle connection just as it is picked for the next request."""
    server.answer(completion())
    await ask(endpoint)
    send = ClientRequest.send

    async def send_too_late(self, connection):
        connection.transport.close()
        return await send(self, connection)

    monkeypatch.setattr(ClientRequest, "send", send_too_late)

    ended = await ask(endpoint)

    assert ended.error.kind is FailureKind.TRANSIENT
    assert len(server.requests) == 1


async def test_cancelling_an_attempt_hangs_up_and_raises(server, endpoint):
    arrived = asyncio.Event()

    async def hold(request):
        arrived.set()
        await server.held_up.wait()

    server.behaviour = hold
    asking = asyncio.create_task(endpoint.attempt(attempt(), 10.0))
    await asyncio.wait_for(arrived.wait(), 5)

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(server.gave_up.wait(), 5)


# ---- connections, secrets and defects --------------------------------------------------------------------


async def test_one_connection_serves_one_request_after_another_even_after_errors(server, endpoint):
    for status in (200, 429, 400, 500, 200):
        server.answer(completion(), status)
        await ask(endpoint)

    assert len(server.connections) == 1


async def test_as_many_requests_fly_as_the_caller_sends(server, endpoint):
    """aiohttp by itself would hold back all but 100 where nobody counts them."""
    all_there = asyncio.Barrier(300)

    async def wait_for_all(request):
        await all_there.wait()
        return web.Response(body=completion())

    server.behaviour = wait_for_all

    ends = await asyncio.gather(*(ask(endpoint, number=number) for number in range(300)))

    assert [end.values for end in ends] == [{"x": 0.5}] * 300


async def test_every_answer_goes_to_the_attempt_that_asked(server, endpoint):
    async def echo(request):
        prompt = orjson.loads(await request.read())["messages"][0]["content"]
        return web.Response(body=completion(orjson.dumps({"x": float(prompt)}).decode()))

    server.behaviour = echo

    ends = await asyncio.gather(*(ask(endpoint, number=n, prompt=str(n / 100)) for n in range(100)))

    assert [(end.id, end.values["x"]) for end in ends] == [(n, n / 100) for n in range(100)]


async def test_an_endpoint_that_repeats_the_key_does_not_get_it_into_a_failure(server, endpoint, caplog):
    async def repeat_at_the_cut(request):
        said = "x" * 280 + request.headers["Authorization"]
        return web.Response(body=orjson.dumps({"error": {"message": said}}), status=500)

    async def repeat_in_the_answer(request):
        return web.Response(body=completion(request.headers["Authorization"]))

    caplog.set_level(logging.DEBUG)
    for behaviour in (repeat_at_the_cut, repeat_in_the_answer):
        server.behaviour = behaviour
        ended = await endpoint.attempt(attempt(), 10.0)
        assert "sk-can" not in str(ended.error)
        assert "***" in ended.error.message
    assert KEY not in caplog.text
    assert KEY not in repr(endpoint)


async def test_a_defect_is_a_permanent_failure_and_is_logged_with_its_traceback(
    server, endpoint, caplog, monkeypatch
):
    def broken(form, body):
        raise ZeroDivisionError(f"with {KEY}")

    monkeypatch.setattr("actors.endpoints.openai_compatible.read_completion", broken)
    server.answer(completion())

    ended = await ask(endpoint)

    assert (ended.error.kind, ended.error.blame) == (FailureKind.PERMANENT, Blame.UNKNOWN)
    assert ended.error.message == "defect: ZeroDivisionError: with ***"
    assert "Traceback" in caplog.text
    assert KEY not in caplog.text


async def test_a_form_that_nobody_announced_is_a_defect(server, endpoint):
    ended = await ask(endpoint, form="unheard-of")

    assert (ended.error.kind, ended.error.blame) == (FailureKind.PERMANENT, Blame.UNKNOWN)
    assert "unheard-of" in ended.error.message
    assert server.requests == []

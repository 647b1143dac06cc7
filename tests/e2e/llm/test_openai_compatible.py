"""The endpoint asks a server in this process, reads what it answers, and tells what is wrong with that."""

from __future__ import annotations

import gzip
import logging

import orjson
import pytest
from aiohttp import web
from msgspec.structs import replace

from actors.core.errors import Blame, FailureKind
from actors.core.messages.attempts import RateHeaders, Refusal
from actors.core.messages.calls import Correction
from actors.core.messages.values import Usage
from actors.core.vectors import unpacked
from tests.e2e.support.scripted_server import FORMS, KEY, ask, attempt, completion, open_endpoint

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


async def test_a_vector_has_a_path_of_its_own_which_errors_name_and_is_never_streamed(server, endpoint):
    server.answer(orjson.dumps({"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 3}}))
    found = await endpoint.attempt(replace(attempt(form="vector", prompt="a"), stream=True), 60.0)
    server.answer(status=404)
    refused = await ask(endpoint, form="vector")

    assert (unpacked(found.values["vector"]), found.usage.input_tokens) == ([0.5], 3)
    paths, bodies = zip(*((path, orjson.loads(body)) for path, _, body in server.requests), strict=True)
    assert paths == ("/v1/embeddings", "/v1/embeddings")
    assert bodies[0] == {"model": "sim", "encoding_format": "base64", "input": "a"}
    assert "/v1/embeddings" in refused.error.message


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
    assert "with only JSON that fits." in told["content"]
    assert second.values == {"x": 0.5}


async def test_the_fields_in_words_precede_the_prompt_also_when_it_is_asked_again(server):
    async with open_endpoint(server.url, describe_output=True) as endpoint:
        server.answer(completion('{"x": 7}'))
        first = await ask(endpoint)
        await ask(endpoint, correction=first.correction)

    stated = 'Answer with a JSON object with these fields:\n- "x": a number from 0 to 1\n\nRate it.'
    for _, _, body in server.requests:
        assert orjson.loads(body)["messages"][0] == {"role": "user", "content": stated}


async def test_an_endpoint_that_refuses_max_tokens_is_asked_in_its_form_afterwards(server, endpoint, caplog):
    error = {"code": "unsupported_parameter", "param": "max_tokens", "message": "Unsupported parameter"}

    async def refuse(request):
        is_refused = b'"max_tokens"' in await request.read()
        return (
            web.json_response({"error": error}, status=400) if is_refused else web.Response(body=completion())
        )

    server.behaviour = refuse
    first, second = await ask(endpoint, number=1), await ask(endpoint, number=2)

    assert (first.values, first.is_second) == ({"x": 0.5}, True)
    assert (second.values, second.is_second) == ({"x": 0.5}, False)
    sent = [orjson.loads(body) for _, _, body in server.requests]
    assert [body.get("max_completion_tokens") for body in sent] == [None, 50, 50]
    (warning,) = caplog.messages
    assert warning.endswith("set llm.endpoints.main.max_tokens_as: max_completion_tokens")


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
    assert 0 < ended.took_s < 60


@pytest.mark.parametrize(
    ("body", "said", "left"),
    [
        (completion('{"x": 7}'), "wanted a number", (Usage(1000, 500), '{"x": 7}')),
        (completion("y" * 9000), "one JSON object", (Usage(1000, 500), "y" * 8000)),
        (completion(""), "one JSON object", (Usage(1000, 500), None)),
        (b'{"usage": {"prompt_tokens": 9, "completion_tokens": 0}}', "without choices", (Usage(9, 0), None)),
    ],
)
async def test_an_unusable_answer_is_billed_and_says_what_is_wrong(server, endpoint, body, said, left):
    server.answer(body)

    ended = await ask(endpoint)

    assert ended.error.kind is FailureKind.UNUSABLE
    assert said in ended.error.message
    assert (ended.usage, ended.correction and ended.correction.answer) == left


@pytest.mark.parametrize(("body", "said"), [(b"", "nothing"), (b"<html>", "HTML"), (None, "not JSON")])
async def test_a_body_that_is_no_completion_leaves_the_request_in_doubt(server, spoken, body, said):
    server.answer(spoken.answer()[:20] if body is None else body)

    ended = await ask(spoken.endpoint)

    assert ended.error.kind is FailureKind.IN_DOUBT
    assert said in ended.error.message


async def test_an_answer_that_breaks_off_was_paid_for(server, spoken):
    server.answer_and_break(spoken.answer())

    ended = await ask(spoken.endpoint)

    assert ended.error.kind is FailureKind.UNUSABLE
    assert "broke off" in ended.error.message


async def test_an_endless_answer_is_given_up_at_its_bound(server, spoken):
    server.flood()

    ended = await ask(spoken.endpoint)

    assert ended.error.kind is FailureKind.UNUSABLE
    assert "larger than 4194304 bytes" in ended.error.message


async def test_a_bomb_of_compressed_nothing_is_given_up_at_its_bound(server):
    server.answer(gzip.compress(bytes(32 << 20)), Content_Encoding="gzip")

    async with open_endpoint(server.url, max_answer_bytes=1 << 20) as endpoint:
        ended = await ask(endpoint)

    assert ended.error.kind is FailureKind.UNUSABLE
    assert "larger than" in ended.error.message


async def test_an_answer_compressed_against_our_wish_is_read_all_the_same(server, endpoint):
    server.answer(gzip.compress(completion()), Content_Encoding="gzip")

    assert (await ask(endpoint)).values == {"x": 0.5}


async def test_an_answer_without_usage_is_unmetered_and_is_mentioned_once(server, endpoint, caplog):
    server.answer(completion(usage=None))

    ends = [await ask(endpoint), await ask(endpoint)]

    assert [(end.usage, end.unmetered) for end in ends] == [(Usage(), True)] * 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("usage", [(1000, None), (None, 500)])
async def test_an_answer_with_half_of_its_usage_is_unmetered_and_is_mentioned(
    server, endpoint, caplog, usage
):
    server.answer(completion(usage=usage))
    assert (await ask(endpoint)).unmetered
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_refusal_says_why_when_to_come_back_and_what_is_left(server, endpoint):
    body = orjson.dumps({"error": {"type": "tokens", "message": "slow down"}})
    server.answer(body, 429, Retry_After="Thu, 26 Nov 2026 12:00:30 GMT", x_ratelimit_remaining_tokens="0")

    ended = await ask(endpoint)

    assert (ended.error.kind, ended.refusal) == (FailureKind.REFUSED, Refusal.TOKENS)
    assert ended.error.retry_after_s == 30.0
    assert ended.headers == RateHeaders(remaining_tokens=0)
    assert ended.usage == Usage()


async def test_a_model_that_refuses_the_bound_and_the_schema_is_asked_otherwise_from_then_on(server, caplog):
    async def respond(request):
        body = orjson.loads(await request.read())
        if "max_tokens" in body:
            said = {"message": "Use max_completion_tokens", "param": "max_tokens"}
        elif body["response_format"]["type"] == "json_schema":
            said = {"message": "This model does not support response format `json_schema`."}
        else:
            assert "JSON object with these fields" in body["messages"][0]["content"]
            return web.Response(body=completion())
        return web.json_response({"error": said}, status=400)

    server.behaviour = respond
    async with open_endpoint(server.url) as endpoint:
        ends = [await ask(endpoint, number=1), await ask(endpoint, number=2)]

    assert [end.values for end in ends] == [{"x": 0.5}] * 2
    assert len(server.requests) == 3 + 1
    assert "set llm.endpoints.main.structured: json" in caplog.text


async def test_a_redirect_is_not_followed_for_it_would_carry_the_key_along(server, endpoint):
    server.answer(status=307, Location="/v2/chat/completions")

    ended = await ask(endpoint)

    assert (ended.error.kind, ended.error.blame) == (FailureKind.MISCONFIGURED, Blame.CONFIG)
    assert len(server.requests) == 1


@pytest.mark.parametrize("spoken", ["chat", "bedrock"], indirect=True)
async def test_a_status_counts_though_its_explanation_breaks_off_or_never_comes(server, spoken):
    server.answer_and_break(b"{", status=429)
    broken = await ask(spoken.endpoint)
    server.answer_and_stall(b"{", status=400)
    stalled = await ask(spoken.endpoint, timeout_s=1.0)

    assert broken.error.kind is FailureKind.REFUSED
    assert (stalled.error.kind, stalled.error.blame) == (FailureKind.PERMANENT, Blame.TASK)


async def test_an_endless_explanation_of_an_error_is_not_waited_for(server, endpoint):
    server.flood(status=400)

    ended = await ask(endpoint, timeout_s=60.0)

    assert (ended.error.kind, ended.error.blame) == (FailureKind.PERMANENT, Blame.TASK)
    assert ended.took_s < 30.0


# ---- secrets and defects ---------------------------------------------------------------------------------


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

    monkeypatch.setattr("actors.llm.dialects.chat.read_completion", broken)
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

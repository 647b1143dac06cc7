"""A simulated endpoint over HTTP: answers, repeated keys, capacity."""

from __future__ import annotations

import asyncio
import hashlib
import time

import orjson
import pytest

from simulators.answers import nonce_of
from simulators.ledger import Phase

SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "number", "minimum": 0, "maximum": 1}, "note": {"type": "string"}},
    "required": ["score", "note"],
    "additionalProperties": False,
}


async def test_a_question_is_answered_by_its_schema_with_its_nonce_and_its_usage(start_llm_here):
    one = await start_llm_here()
    schema = {"type": "json_schema", "json_schema": {"name": "e", "schema": SCHEMA, "strict": True}}
    status, body, headers = await one.ask("rate this", key="k1", response_format=schema)
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    answer = orjson.loads(body)
    content = orjson.loads(answer["choices"][0]["message"]["content"])
    assert 0 <= content["score"] <= 1
    assert nonce_of([{"role": "user", "content": "rate this"}]) in content["note"]
    (entry,) = (await one.ledger()).entries
    assert (entry.key, entry.attempt, entry.phase, entry.billed) == ("k1", 1, Phase.SENT, 1)
    assert answer["usage"]["prompt_tokens"] == entry.input_tokens == 3
    assert answer["usage"]["completion_tokens"] == entry.output_tokens


async def test_two_runs_give_the_same_answers(start_llm):
    contents = []
    for one in [
        await start_llm("--seed", "5"),
        await start_llm("--seed", "5"),
        await start_llm("--seed", "6"),
    ]:
        _, body, _ = await one.ask()
        contents.append(orjson.loads(body)["choices"][0]["message"]["content"])
    assert contents[0] == contents[1]
    assert contents[2] != contents[0]


async def test_a_stream_comes_in_pieces_and_ends_with_its_usage(start_llm_here):
    one = await start_llm_here("--latency-s", "2")
    events: list[bytes] = []
    async with one.post(stream=True, stream_options={"include_usage": True}) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        async for line in answer.content:
            if line.startswith(b"data: "):
                events.append(line.removeprefix(b"data: ").strip())
                if len(events) == 1:
                    assert (await one.stats())["in_flight"] == 1  # a piece comes before the whole is done
    assert events[-1] == b"[DONE]"
    chunks = [orjson.loads(event) for event in events[:-1]]
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
    assert f"nonce:{nonce_of([{'role': 'user', 'content': 'hello'}])}" in text
    assert chunks[-1]["usage"]["completion_tokens"] == (await one.stats())["output_tokens"]


async def test_a_client_that_leaves_a_stream_is_billed_for_all_of_it(start_llm_here):
    one = await start_llm_here("--latency-s", "2")
    async with one.post(stream=True) as answer:
        await answer.content.readline()
        answer.close()
    stats = await one.until(lambda s: s["requests"] == 1)
    (entry,) = (await one.ledger()).entries
    assert (entry.phase, entry.billed, stats["billed"]) == (Phase.CLIENT_GONE, 1, 1)
    assert entry.t_out - entry.t_in > 1.9


async def test_models_are_listed_and_other_paths_are_not_found(start_llm_here):
    one = await start_llm_here("--model", "tiny")
    async with one.session.get(f"{one.base}/v1/models") as answer:
        assert [model["id"] for model in (await answer.json())["data"]] == ["tiny"]
    async with one.session.get(f"{one.base}/v1/none") as answer:
        assert answer.status == 404


async def test_a_body_that_is_no_question_is_refused_and_not_billed(start_llm_here):
    one = await start_llm_here()
    schema = {"type": "json_schema", "json_schema": {"schema": {"type": "string", "pattern": "x"}}}
    assert (await one.ask(response_format=schema))[0] == 400
    assert (await one.ask(max_tokens=0))[0] == 400
    stats = await one.stats()
    assert (stats["refused"], stats["billed"], stats["by_status"]) == (2, 0, {"400": 2})


# ---- repeated keys ---------------------------------------------------------------------------------------


async def test_a_repeated_key_gets_the_stored_answer_and_is_billed_once(start_llm_here):
    one = await start_llm_here()
    first, second = await one.ask(key="k"), await one.ask(key="k")
    assert second[1] == first[1]
    assert "Idempotent-Replayed" not in first[2]
    assert second[2]["Idempotent-Replayed"] == "true"
    assert [e.phase for e in (await one.ledger()).entries] == [Phase.SENT, Phase.REPLAYED]
    assert (await one.stats())["billed"] == 1


async def test_a_repeated_stream_is_replayed_as_a_stream(start_llm_here):
    one = await start_llm_here()
    first, second = await one.ask(key="k", stream=True), await one.ask(key="k", stream=True)
    assert second[1] == first[1]
    assert second[2]["Content-Type"] == "text/event-stream"


async def test_a_key_that_is_still_in_progress_is_joined(start_llm_here):
    one = await start_llm_here("--latency-s", "0.3")
    await one.hold()
    first = asyncio.create_task(one.ask(key="k"))
    await one.until(lambda s: s["in_flight"] == 1)
    others = [asyncio.create_task(one.ask(key="k")) for _ in range(4)]
    await asyncio.sleep(0)
    await one.release()
    answers = await asyncio.gather(first, *others)
    assert len({body for _, body, _ in answers}) == 1
    stats = await one.stats()
    assert (stats["billed"], stats["replayed"], stats["max_in_flight"]) == (1, 4, 1)


async def test_a_second_client_gets_the_answer_that_the_first_one_left_behind(start_llm_here):
    one = await start_llm_here()
    await one.hold()
    first = asyncio.create_task(one.ask(key="k"))
    await one.until(lambda s: s["in_flight"] == 1)
    first.cancel()
    second = asyncio.create_task(one.ask(key="k"))
    await one.release()
    status, _, headers = await second
    assert (status, headers["Idempotent-Replayed"]) == (200, "true")
    phases = {e.phase: e.billed for e in (await one.ledger()).entries}
    assert phases == {Phase.CLIENT_GONE: 1, Phase.REPLAYED: 0}


async def test_the_same_key_with_another_body_is_refused(start_llm_here):
    one = await start_llm_here()
    await one.ask("one", key="k")
    assert (await one.ask("two", key="k"))[0] == 422


async def test_without_idempotency_every_request_is_billed(start_llm_here):
    one = await start_llm_here("--no-idempotency")
    for _ in range(2):
        assert "Idempotent-Replayed" not in (await one.ask(key="k"))[2]
    assert (await one.stats())["billed"] == 2
    assert [e.attempt for e in (await one.ledger()).entries] == [1, 2]


async def test_without_a_key_a_request_is_known_by_its_body_and_always_done(start_llm_here):
    one = await start_llm_here()
    await one.ask()
    await one.ask()
    entries = (await one.ledger()).entries
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
    assert {e.key for e in entries} == {hashlib.sha256(body).hexdigest()}
    assert [(e.attempt, e.billed) for e in entries] == [(1, 1), (2, 1)]
    assert entries[0].body == entries[0].key[:16]


async def test_only_so_many_answers_are_remembered(start_llm_here):
    one = await start_llm_here("--remember", "1")
    for key in ("a", "b", "b", "a"):
        await one.ask(key=key)
    assert (await one.stats())["billed"] == 3


# ---- capacity --------------------------------------------------------------------------------------------


async def test_beyond_the_cap_requests_are_refused_with_a_wait_and_a_reason(start_llm_here):
    one = await start_llm_here("--cap", "3", "--retry-after-s", "0.25")
    await one.hold()
    asking = [asyncio.create_task(one.ask(key=str(n))) for n in range(5)]
    await one.until(lambda s: s["refused"] == 2)
    await one.release()
    answers = await asyncio.gather(*asking)
    refused = [(body, headers) for status, body, headers in answers if status == 429]
    assert len(refused) == 2
    for body, headers in refused:
        assert headers["Retry-After"] == "0.25"
        assert orjson.loads(body)["error"]["type"] == "concurrency"
    stats = await one.stats()
    assert (stats["max_in_flight"], stats["refused"], stats["billed"]) == (3, 2, 3)


async def test_a_retry_before_its_time_is_entered_as_a_violation_and_one_in_time_is_not(start_llm_here):
    one = await start_llm_here("--latency-s", "0")
    for key, wait_s in (("hasty", 60.0), ("patient", 0.01)):
        fault = {"kind": "status", "rate": 1, "status": 429, "retry_after": str(wait_s), "attempts": [1]}
        assert await one.control(faults=[fault]) == 200
        assert (await one.ask(key=key))[0] == 429
        if key == "patient":
            await asyncio.sleep(wait_s)
        assert (await one.ask(key=key))[0] == 200
    assert [e.key for e in (await one.ledger()).entries if e.not_before_violated] == ["hasty"]
    assert (await one.stats())["retry_after_violations"] == 1


async def test_beyond_the_knee_requests_wait_their_turn(start_llm_here):
    one = await start_llm_here("--knee", "2", "--latency-s", "0.15")
    began = time.monotonic()
    answers = await asyncio.gather(*(one.ask(key=str(n)) for n in range(6)))
    assert time.monotonic() - began > 0.44
    assert {status for status, _, _ in answers} == {200}


async def test_beyond_its_slots_an_endpoint_takes_longer(start_llm_here):
    one = await start_llm_here("--slots", "1", "--latency-s", "0.1")
    began = time.monotonic()
    await asyncio.gather(*(one.ask(key=str(n)) for n in range(5)))
    assert time.monotonic() - began > 0.49


@pytest.mark.parametrize("kind", ["requests", "tokens"])
async def test_a_rate_refuses_with_headers_that_tell_when_there_is_room(start_llm_here, kind):
    one = await start_llm_here(f"--{kind}-per-minute", "6", "--burst-s", "200" if kind == "tokens" else "10")
    status, _, headers = await one.ask(max_tokens=18)
    assert status == 200
    assert headers[f"x-ratelimit-limit-{kind}"] == "6"
    status, body, headers = await one.ask(max_tokens=18)
    assert status == 429
    assert orjson.loads(body)["error"]["type"] == kind
    assert 1 <= int(headers["Retry-After"]) <= 200
    assert headers[f"x-ratelimit-reset-{kind}"].endswith("s")


async def test_capacity_and_faults_change_while_it_runs(start_llm_here):
    one = await start_llm_here("--knee", "1", faults=[{"kind": "hang", "rate": 1}])
    first = asyncio.create_task(one.ask(key="first"))
    await one.until(lambda s: s["in_flight"] == 1)
    assert await one.control(faults=[]) == 200
    waiting = [asyncio.create_task(one.ask(key=str(n))) for n in range(4)]
    await one.until(lambda s: s["in_flight"] == 5)
    assert await one.control(knee=0, faults=[{"kind": "status", "rate": 1, "status": 503}]) == 200
    await asyncio.gather(*waiting)
    assert not first.done()  # which they would have waited for
    first.cancel()
    assert (await one.ask(key="new"))[0] == 503
    assert await one.control(knees=1) == 400

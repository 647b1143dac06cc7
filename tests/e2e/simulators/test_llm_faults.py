"""Each fault of a simulated endpoint as its client sees it and as its ledger records it."""

from __future__ import annotations

import asyncio
import email.utils
import time

import aiohttp
import orjson
import pytest

from simulators.answers import nonce_of
from simulators.ledger import Phase


@pytest.mark.parametrize(
    ("rule", "billed", "phase"),
    [
        ({"kind": "reset"}, 0, Phase.RECEIVED),
        ({"kind": "reset_after"}, 1, Phase.FINISHED),
    ],
)
async def test_a_connection_is_reset_before_or_after_the_work(start_llm_here, rule, billed, phase):
    one = await start_llm_here(faults=[{**rule, "rate": 1, "attempts": [1]}])
    with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
        await one.ask(key="k")
    (entry,) = (await one.ledger()).entries
    assert (entry.phase, entry.billed, entry.fault, entry.status) == (phase, billed, rule["kind"], 0)
    assert (await one.ask(key="k"))[0] == 200
    assert (await one.stats())["billed"] == 1


async def test_a_hanging_request_holds_its_slot_until_the_client_leaves(start_llm_here):
    one = await start_llm_here("--cap", "1", faults=[{"kind": "hang", "rate": 1, "attempts": [1]}])
    hanging = asyncio.create_task(one.ask(key="k"))
    await one.until(lambda s: s["in_flight"] == 1)
    assert (await one.ask(key="other"))[0] == 429
    hanging.cancel()
    await one.until(lambda s: s["in_flight"] == 0)
    entries = (await one.ledger()).by_key()["k"]
    assert [(e.phase, e.billed, e.fault) for e in entries] == [(Phase.STARTED, 0, "hang")]
    assert (await one.ask(key="k"))[0] == 200


async def test_a_late_answer_is_billed_though_nobody_waits_for_it(start_llm_here):
    one = await start_llm_here(faults=[{"kind": "late", "rate": 1, "seconds": 2, "attempts": [1]}])
    await one.hold()
    first = asyncio.create_task(one.ask(key="k"))
    await one.until(lambda s: s["in_flight"] == 1)
    await one.release()
    await one.until(lambda s: s["in_flight"] == 0)
    first.cancel()
    assert (await one.ask(key="k"))[2]["Idempotent-Replayed"] == "true"
    await one.until(lambda s: s["requests"] == 2)
    assert {e.attempt: (e.phase, e.billed) for e in (await one.ledger()).entries} == {
        1: (Phase.CLIENT_GONE, 1),
        2: (Phase.REPLAYED, 0),
    }


async def test_slow_work_takes_longer(start_llm_here):
    one = await start_llm_here(faults=[{"kind": "slow", "rate": 1, "seconds": 0.2}])
    began = time.monotonic()
    await one.ask()
    assert time.monotonic() - began > 0.21


@pytest.mark.parametrize(
    ("retry_after", "check"),
    [
        ("1", lambda text: text == "1"),
        ("soon", lambda text: text == "soon"),
        (None, lambda text: text is None),
        (
            "http-date:5",
            lambda text: 3 < email.utils.parsedate_to_datetime(text).timestamp() - time.time() < 7,
        ),
    ],
)
async def test_a_planned_refusal_says_what_it_was_told_to_say(start_llm_here, retry_after, check):
    rule = {"kind": "status", "rate": 1, "status": 429}
    one = await start_llm_here(faults=[rule if retry_after is None else {**rule, "retry_after": retry_after}])
    status, _, headers = await one.ask()
    assert status == 429
    assert check(headers.get("Retry-After"))
    (entry,) = (await one.ledger()).entries
    assert (entry.phase, entry.billed, entry.retry_after) == (Phase.REFUSED, 0, headers.get("Retry-After"))


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("not_json", lambda body: b"{" not in body),
        ("html", lambda body: body.startswith(b"<!doctype html>")),
        ("empty", lambda body: body == b""),
        ("truncated", lambda body: body.startswith(b'{"id"') and not body.endswith(b"}")),
        ("huge", lambda body: 3_000_000 < len(body) < 3_001_000 and b"choices" in body),
    ],
)
async def test_a_broken_delivery_is_billed_and_the_repeated_key_gets_the_sound_answer(
    start_llm_here, kind, check
):
    rule = {"kind": kind, "rate": 1, "attempts": [1]} | ({"bytes": 3_000_000} if kind == "huge" else {})
    one = await start_llm_here(faults=[rule])
    status, body, _ = await one.ask(key="k")
    assert status == 200
    assert check(body)
    _, body, _ = await one.ask(key="k")
    assert "choices" in orjson.loads(body)
    assert [(e.fault, e.billed) for e in (await one.ledger()).entries] == [(kind, 1), (None, 0)]


async def test_a_stream_with_a_broken_delivery_is_broken_from_the_start(start_llm_here):
    one = await start_llm_here(faults=[{"kind": "html", "rate": 1}])
    status, body, headers = await one.ask(stream=True)
    assert (status, headers["Content-Type"]) == (200, "text/html")
    assert b"data:" not in body


async def test_a_fault_that_did_not_get_to_strike_is_not_entered(start_llm_here):
    one = await start_llm_here("--cap", "1", faults=[{"kind": "no_usage", "rate": 1}])
    await one.hold()
    asking = [asyncio.create_task(one.ask(key=key)) for key in ("a", "b")]
    await one.until(lambda s: s["refused"] == 1)
    await one.release()
    await asyncio.gather(*asking)
    await one.ask(key="a")
    await one.ask(key="b")
    entries = [(e.phase, e.fault) for e in (await one.ledger()).entries]
    assert (Phase.REFUSED, None) in entries
    assert (Phase.REPLAYED, None) in entries
    assert entries.count((Phase.SENT, "no_usage")) == 2


async def test_a_bad_answer_is_billed_and_the_repeated_key_gets_it_again(start_llm_here):
    one = await start_llm_here(faults=[{"kind": "other_answer", "rate": 1, "attempts": [1]}])
    first, second = await one.ask(key="k"), await one.ask(key="k")
    assert nonce_of([{"role": "user", "content": "hello"}]).encode() not in first[1]
    assert second[1] == first[1]
    assert (await one.stats())["billed"] == 1


async def test_the_same_requests_meet_the_same_faults_in_every_run(start_llm):
    rules = [{"kind": "status", "rate": 0.3, "status": 500}, {"kind": "reset", "rate": 0.2}]
    runs = []
    for _ in range(2):
        one = await start_llm("--latency-s", "0", faults=rules)
        await asyncio.gather(*(one.ask(key=f"k{n}") for n in range(60)), return_exceptions=True)
        runs.append({e.key: e.fault for e in (await one.ledger()).entries})
    assert runs[0] == runs[1]
    assert len(set(runs[0].values())) == 3

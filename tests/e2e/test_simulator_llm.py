"""A simulated endpoint as a process of its own, spoken to over HTTP."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import subprocess
import sys
import time
from typing import Any

import aiohttp
import orjson
import psutil
import pytest

from simulators.answers import nonce_of
from simulators.ledger import Phase, read_ledger
from simulators.process import SimulatorError, SimulatorProcess

SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "number", "minimum": 0, "maximum": 1}, "note": {"type": "string"}},
    "required": ["score", "note"],
    "additionalProperties": False,
}


class Endpoint:
    """One running simulator and a client of it."""

    def __init__(self, process: SimulatorProcess, session: aiohttp.ClientSession, ledger: Any) -> None:
        self.process = process
        self.session = session
        self.base = process.url.removesuffix("/v1")
        self.ledger_path = ledger

    def post(self, prompt: str = "hello", key: str | None = None, **more: Any):
        document = {"model": "m", "messages": [{"role": "user", "content": prompt}], **more}
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        return self.session.post(
            f"{self.base}/v1/chat/completions", data=orjson.dumps(document), headers=headers
        )

    async def ask(self, prompt: str = "hello", key: str | None = None, **more: Any):
        async with self.post(prompt, key, **more) as answer:
            return answer.status, await answer.read(), answer.headers

    async def stats(self) -> dict[str, Any]:
        async with self.session.get(f"{self.base}/stats") as answer:
            return await answer.json()

    async def until(self, condition) -> dict[str, Any]:
        """Return the statistics as soon as they meet `condition`; the test's time-out is the deadline."""
        async with asyncio.timeout(10):
            while not condition(stats := await self.stats()):
                await asyncio.sleep(0.01)
        return stats

    async def control(self, **changes: Any) -> int:
        async with self.session.post(f"{self.base}/control", json=changes) as answer:
            return answer.status

    async def ledger(self):
        async with self.session.post(f"{self.base}/flush") as answer:
            assert answer.status == 200
        return read_ledger(self.ledger_path)


@pytest.fixture
async def endpoint(tmp_path):
    """Start endpoints; each ends with the test, and its statistics must equal the sums of its ledger."""
    running: list[Endpoint] = []

    async def start(*arguments: str, faults: list[dict[str, Any]] | None = None) -> Endpoint:
        ledger = tmp_path / f"ledger{len(running)}.jsonl"
        options = ["--latency-s", "0.02", "--sigma", "0", "--ledger", str(ledger), *arguments]
        if faults is not None:
            plan = tmp_path / "faults.json"
            plan.write_bytes(orjson.dumps(faults))
            options += ["--faults", str(plan)]
        process = SimulatorProcess("simulators.llm", options)
        process.start()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=200), timeout=aiohttp.ClientTimeout(total=10)
        )
        running.append(Endpoint(process, session, ledger))
        return running[-1]

    yield start
    for one in running:
        try:
            if one.process.alive:
                stats = await one.until(lambda s: s["in_flight"] == 0)
                sums = (await one.ledger()).sums().as_dict()
                assert sums == {name: stats[name] for name in sums}
        finally:
            await one.session.close()
            one.process.stop()


async def test_a_question_is_answered_by_its_schema_with_its_nonce_and_its_usage(endpoint):
    one = await endpoint()
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


async def test_two_runs_give_the_same_answers(endpoint):
    contents = []
    for one in [await endpoint("--seed", "5"), await endpoint("--seed", "5"), await endpoint("--seed", "6")]:
        _, body, _ = await one.ask()
        contents.append(orjson.loads(body)["choices"][0]["message"]["content"])
    assert contents[0] == contents[1]
    assert contents[2] != contents[0]


async def test_a_stream_comes_in_pieces_and_ends_with_its_usage(endpoint):
    one = await endpoint("--latency-s", "0.4")
    arrivals, events = [], []
    async with one.post(stream=True, stream_options={"include_usage": True}) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        async for line in answer.content:
            if line.startswith(b"data: "):
                arrivals.append(time.monotonic())
                events.append(line.removeprefix(b"data: ").strip())
    assert events[-1] == b"[DONE]"
    chunks = [orjson.loads(event) for event in events[:-1]]
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
    assert f"nonce:{nonce_of([{'role': 'user', 'content': 'hello'}])}" in text
    assert chunks[-1]["usage"]["completion_tokens"] == (await one.stats())["output_tokens"]
    assert arrivals[-1] - arrivals[0] > 0.2


async def test_a_client_that_leaves_a_stream_is_billed_for_all_of_it(endpoint):
    one = await endpoint("--latency-s", "0.3")
    async with one.post(stream=True) as answer:
        await answer.content.readline()
        answer.close()
    stats = await one.until(lambda s: s["requests"] == 1)
    (entry,) = (await one.ledger()).entries
    assert (entry.phase, entry.billed, stats["billed"]) == (Phase.CLIENT_GONE, 1, 1)
    assert entry.t_out - entry.t_in > 0.29


async def test_models_are_listed_and_other_paths_are_not_found(endpoint):
    one = await endpoint("--model", "tiny")
    async with one.session.get(f"{one.base}/v1/models") as answer:
        assert [model["id"] for model in (await answer.json())["data"]] == ["tiny"]
    async with one.session.get(f"{one.base}/v1/none") as answer:
        assert answer.status == 404


async def test_a_body_that_is_no_question_is_refused_and_not_billed(endpoint):
    one = await endpoint()
    schema = {"type": "json_schema", "json_schema": {"schema": {"type": "string", "pattern": "x"}}}
    assert (await one.ask(response_format=schema))[0] == 400
    assert (await one.ask(max_tokens=0))[0] == 400
    stats = await one.stats()
    assert (stats["refused"], stats["billed"], stats["by_status"]) == (2, 0, {"400": 2})


# ---- repeated keys ---------------------------------------------------------------------------------------


async def test_a_repeated_key_gets_the_stored_answer_and_is_billed_once(endpoint):
    one = await endpoint()
    first, second = await one.ask(key="k"), await one.ask(key="k")
    assert second[1] == first[1]
    assert "Idempotent-Replayed" not in first[2]
    assert second[2]["Idempotent-Replayed"] == "true"
    assert [e.phase for e in (await one.ledger()).entries] == [Phase.SENT, Phase.REPLAYED]
    assert (await one.stats())["billed"] == 1


async def test_a_repeated_stream_is_replayed_as_a_stream(endpoint):
    one = await endpoint()
    first, second = await one.ask(key="k", stream=True), await one.ask(key="k", stream=True)
    assert second[1] == first[1]
    assert second[2]["Content-Type"] == "text/event-stream"


async def test_a_key_that_is_still_in_progress_is_joined(endpoint):
    one = await endpoint("--latency-s", "0.3")
    answers = await asyncio.gather(*(one.ask(key="k") for _ in range(5)))
    assert len({body for _, body, _ in answers}) == 1
    stats = await one.stats()
    assert (stats["billed"], stats["replayed"], stats["max_in_flight"]) == (1, 4, 1)


async def test_a_second_client_gets_the_answer_that_the_first_one_left_behind(endpoint):
    one = await endpoint("--latency-s", "0.5")
    first = asyncio.create_task(one.ask(key="k"))
    await one.until(lambda s: s["in_flight"] == 1)
    first.cancel()
    status, _, headers = await one.ask(key="k")
    assert (status, headers["Idempotent-Replayed"]) == (200, "true")
    phases = {e.phase: e.billed for e in (await one.ledger()).entries}
    assert phases == {Phase.CLIENT_GONE: 1, Phase.REPLAYED: 0}


async def test_the_same_key_with_another_body_is_refused(endpoint):
    one = await endpoint()
    await one.ask("one", key="k")
    assert (await one.ask("two", key="k"))[0] == 422


async def test_without_idempotency_every_request_is_billed(endpoint):
    one = await endpoint("--no-idempotency")
    for _ in range(2):
        assert "Idempotent-Replayed" not in (await one.ask(key="k"))[2]
    assert (await one.stats())["billed"] == 2
    assert [e.attempt for e in (await one.ledger()).entries] == [1, 2]


async def test_without_a_key_a_request_is_known_by_its_body_and_always_done(endpoint):
    one = await endpoint()
    await one.ask()
    await one.ask()
    entries = (await one.ledger()).entries
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
    assert {e.key for e in entries} == {hashlib.sha256(body).hexdigest()}
    assert [(e.attempt, e.billed) for e in entries] == [(1, 1), (2, 1)]
    assert entries[0].body == entries[0].key[:16]


async def test_only_so_many_answers_are_remembered(endpoint):
    one = await endpoint("--remember", "1")
    for key in ("a", "b", "b", "a"):
        await one.ask(key=key)
    assert (await one.stats())["billed"] == 3


# ---- capacity --------------------------------------------------------------------------------------------


async def test_beyond_the_cap_requests_are_refused_with_a_wait_and_a_reason(endpoint):
    one = await endpoint("--cap", "3", "--latency-s", "0.5", "--retry-after-s", "0.25")
    answers = await asyncio.gather(*(one.ask(key=str(n)) for n in range(5)))
    refused = [(body, headers) for status, body, headers in answers if status == 429]
    assert len(refused) == 2
    for body, headers in refused:
        assert headers["Retry-After"] == "0.25"
        assert orjson.loads(body)["error"]["type"] == "concurrency"
    stats = await one.stats()
    assert (stats["max_in_flight"], stats["refused"], stats["billed"]) == (3, 2, 3)


async def test_a_retry_before_its_time_is_entered_as_a_violation_and_one_in_time_is_not(endpoint):
    one = await endpoint(
        "--latency-s",
        "0",
        faults=[{"kind": "status", "rate": 1, "status": 429, "retry_after": "0.5", "attempts": [1]}],
    )
    for key, wait_s in (("hasty", 0.0), ("patient", 0.51)):
        assert (await one.ask(key=key))[0] == 429
        await asyncio.sleep(wait_s)
        assert (await one.ask(key=key))[0] == 200
    assert [e.key for e in (await one.ledger()).entries if e.not_before_violated] == ["hasty"]
    assert (await one.stats())["retry_after_violations"] == 1


async def test_beyond_the_knee_requests_wait_their_turn(endpoint):
    one = await endpoint("--knee", "2", "--latency-s", "0.15")
    began = time.monotonic()
    answers = await asyncio.gather(*(one.ask(key=str(n)) for n in range(6)))
    assert time.monotonic() - began > 0.44
    assert {status for status, _, _ in answers} == {200}


async def test_beyond_its_slots_an_endpoint_takes_longer(endpoint):
    one = await endpoint("--slots", "1", "--latency-s", "0.1")
    began = time.monotonic()
    await asyncio.gather(*(one.ask(key=str(n)) for n in range(5)))
    assert time.monotonic() - began > 0.49


@pytest.mark.parametrize("kind", ["requests", "tokens"])
async def test_a_rate_refuses_with_headers_that_tell_when_there_is_room(endpoint, kind):
    one = await endpoint(f"--{kind}-per-minute", "6", "--burst-s", "200" if kind == "tokens" else "10")
    status, _, headers = await one.ask(max_tokens=18)
    assert status == 200
    assert headers[f"x-ratelimit-limit-{kind}"] == "6"
    status, body, headers = await one.ask(max_tokens=18)
    assert status == 429
    assert orjson.loads(body)["error"]["type"] == kind
    assert 1 <= int(headers["Retry-After"]) <= 200
    assert headers[f"x-ratelimit-reset-{kind}"].endswith("s")


async def test_capacity_and_faults_change_while_it_runs(endpoint):
    one = await endpoint("--knee", "1", "--latency-s", "0.6")
    waiting = [asyncio.create_task(one.ask(key=str(n))) for n in range(4)]
    await one.until(lambda s: s["in_flight"] == 4)
    began = time.monotonic()
    assert await one.control(knee=0, faults=[{"kind": "status", "rate": 1, "status": 503}]) == 200
    await asyncio.gather(*waiting)
    assert time.monotonic() - began < 1.7  # one after the other they would take 2.4 s
    assert (await one.ask(key="new"))[0] == 503
    assert await one.control(knees=1) == 400


# ---- faults ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "billed", "phase"),
    [
        ({"kind": "reset"}, 0, Phase.RECEIVED),
        ({"kind": "reset_after"}, 1, Phase.FINISHED),
    ],
)
async def test_a_connection_is_reset_before_or_after_the_work(endpoint, rule, billed, phase):
    one = await endpoint(faults=[{**rule, "rate": 1, "attempts": [1]}])
    with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
        await one.ask(key="k")
    (entry,) = (await one.ledger()).entries
    assert (entry.phase, entry.billed, entry.fault, entry.status) == (phase, billed, rule["kind"], 0)
    assert (await one.ask(key="k"))[0] == 200
    assert (await one.stats())["billed"] == 1


async def test_a_hanging_request_holds_its_slot_until_the_client_leaves(endpoint):
    one = await endpoint("--cap", "1", faults=[{"kind": "hang", "rate": 1, "attempts": [1]}])
    hanging = asyncio.create_task(one.ask(key="k"))
    await one.until(lambda s: s["in_flight"] == 1)
    assert (await one.ask(key="other"))[0] == 429
    hanging.cancel()
    await one.until(lambda s: s["in_flight"] == 0)
    entries = (await one.ledger()).by_key()["k"]
    assert [(e.phase, e.billed, e.fault) for e in entries] == [(Phase.STARTED, 0, "hang")]
    assert (await one.ask(key="k"))[0] == 200


async def test_a_late_answer_is_billed_though_nobody_waits_for_it(endpoint):
    one = await endpoint(faults=[{"kind": "late", "rate": 1, "seconds": 0.3, "attempts": [1]}])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15):
            await one.ask(key="k")
    assert (await one.ask(key="k"))[2]["Idempotent-Replayed"] == "true"
    await one.until(lambda s: s["requests"] == 2)
    assert {e.attempt: (e.phase, e.billed) for e in (await one.ledger()).entries} == {
        1: (Phase.CLIENT_GONE, 1),
        2: (Phase.REPLAYED, 0),
    }


async def test_slow_work_takes_longer(endpoint):
    one = await endpoint(faults=[{"kind": "slow", "rate": 1, "seconds": 0.2}])
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
async def test_a_planned_refusal_says_what_it_was_told_to_say(endpoint, retry_after, check):
    rule = {"kind": "status", "rate": 1, "status": 429}
    one = await endpoint(faults=[rule if retry_after is None else {**rule, "retry_after": retry_after}])
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
async def test_a_broken_delivery_is_billed_and_the_repeated_key_gets_the_sound_answer(endpoint, kind, check):
    rule = {"kind": kind, "rate": 1, "attempts": [1]} | ({"bytes": 3_000_000} if kind == "huge" else {})
    one = await endpoint(faults=[rule])
    status, body, _ = await one.ask(key="k")
    assert status == 200
    assert check(body)
    _, body, _ = await one.ask(key="k")
    assert "choices" in orjson.loads(body)
    assert [(e.fault, e.billed) for e in (await one.ledger()).entries] == [(kind, 1), (None, 0)]


async def test_a_stream_with_a_broken_delivery_is_broken_from_the_start(endpoint):
    one = await endpoint(faults=[{"kind": "html", "rate": 1}])
    status, body, headers = await one.ask(stream=True)
    assert (status, headers["Content-Type"]) == (200, "text/html")
    assert b"data:" not in body


async def test_a_fault_that_did_not_get_to_strike_is_not_entered(endpoint):
    one = await endpoint("--cap", "1", "--latency-s", "0.4", faults=[{"kind": "no_usage", "rate": 1}])
    await asyncio.gather(*(one.ask(key=key) for key in ("a", "b")))
    await one.ask(key="a")
    await one.ask(key="b")
    entries = [(e.phase, e.fault) for e in (await one.ledger()).entries]
    assert (Phase.REFUSED, None) in entries
    assert (Phase.REPLAYED, None) in entries
    assert entries.count((Phase.SENT, "no_usage")) == 2


async def test_a_bad_answer_is_billed_and_the_repeated_key_gets_it_again(endpoint):
    one = await endpoint(faults=[{"kind": "other_answer", "rate": 1, "attempts": [1]}])
    first, second = await one.ask(key="k"), await one.ask(key="k")
    assert nonce_of([{"role": "user", "content": "hello"}]).encode() not in first[1]
    assert second[1] == first[1]
    assert (await one.stats())["billed"] == 1


async def test_the_same_requests_meet_the_same_faults_in_every_run(endpoint):
    rules = [{"kind": "status", "rate": 0.3, "status": 500}, {"kind": "reset", "rate": 0.2}]
    runs = []
    for _ in range(2):
        one = await endpoint("--latency-s", "0", faults=rules)
        await asyncio.gather(*(one.ask(key=f"k{n}") for n in range(60)), return_exceptions=True)
        runs.append({e.key: e.fault for e in (await one.ledger()).entries})
    assert runs[0] == runs[1]
    assert len(set(runs[0].values())) == 3


# ---- the process -----------------------------------------------------------------------------------------


async def test_an_orderly_end_enters_what_it_interrupts(endpoint):
    one = await endpoint("--latency-s", "30")
    pending = asyncio.create_task(one.ask(key="k"))
    await one.until(lambda s: s["in_flight"] == 1)
    one.process.stop()
    with pytest.raises(aiohttp.ClientError):
        await pending
    (entry,) = read_ledger(one.ledger_path).entries
    assert (entry.key, entry.phase, entry.billed) == ("k", Phase.STARTED, 0)


def test_a_simulator_that_does_not_come_up_says_why(tmp_path):
    process = SimulatorProcess("simulators.llm", ["--faults", str(tmp_path / "none.json")])
    with pytest.raises(SimulatorError, match=r"exit code 2[\s\S]*none\.json"):
        process.start()
    assert not process.alive


def test_a_simulator_that_takes_too_long_to_come_up_is_ended():
    process = SimulatorProcess("simulators.llm", start_s=0.001)
    with pytest.raises(SimulatorError, match=r"did not come up within 0\.001 s"):
        process.start()
    assert process.pid is None


def test_a_simulator_is_a_context_and_stops_with_it():
    with SimulatorProcess("simulators.llm") as process:
        assert process.url.startswith("http://127.0.0.1:")
        running = psutil.Process(process.pid)
        with pytest.raises(SimulatorError, match="running already"):
            process.start()
    assert not running.is_running()
    process.stop()


def test_a_simulator_whose_parent_is_gone_does_not_start():
    orphan = SimulatorProcess("simulators.llm", ["--parent-pid", "1"])
    with pytest.raises(SimulatorError, match="the parent process 1 is gone"), orphan:
        pass


def test_a_simulator_ends_when_its_parent_is_killed():
    script = (
        "import sys\n"
        "from simulators.process import SimulatorProcess\n"
        "simulator = SimulatorProcess('simulators.llm')\n"
        "simulator.start()\n"
        "print(simulator.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(  # noqa: S603 - this very interpreter, and the script above
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
    finally:
        parent.kill()
        parent.communicate()
    assert not psutil.wait_procs([child], timeout=5)[1]

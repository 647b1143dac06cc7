"""A client of a real endpoint: it keeps its share, and lets go at once when told."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec.structs import replace

from actors.core.errors import FailureKind
from actors.core.messages.attempts import Abort, Attempt, SetShare, WatchStreams
from actors.transport.courier_settings import OnRestart
from cluster.assembly.ray_actors import LLMClientActor
from tests.ray.conftest import WITHIN_S


def attempt(number: int) -> Attempt:
    return Attempt(
        id=number,
        call_key=f"call-{number}",
        endpoint="sim",
        form="evaluate",
        prompt=f"Rate item {number}.",
        number=1,
        idempotency_key=f"call-{number}",
        expires_in_s=WITHIN_S,
    )


def client(fleet: Any, simulator: Any, form: Any) -> tuple[Any, Any]:
    actor = fleet.actor(LLMClientActor, "llm-client:0", "llm-client:0", (simulator.settings,), (form,), 60.0)
    return actor, fleet.courier("llm-client:0", OnRestart.FAIL)


async def test_a_client_has_as_many_requests_in_flight_as_its_share_and_never_more(fleet, llm, form):
    simulator = llm("--latency-s=0.02")
    actor, courier = client(fleet, simulator, form)
    async with asyncio.timeout(WITHIN_S):
        pending = [await courier.send(attempt(number)) for number in range(80)]
        known = await fleet.statistics(actor)
        assert known.queues["sim"].started == 0  # without a share nothing starts
        await courier.call(SetShare("sim", 5))
        ends = await asyncio.gather(*pending[:60])
        await courier.call(SetShare("sim", 2))
        ends += await asyncio.gather(*pending[60:])
    assert [end.id for end in ends] == list(range(80))
    assert all(0 <= end.values["quality"] <= 1 for end in ends)
    assert all(end.took_s > 0 for end in ends)
    stats = await simulator.stats()
    assert stats["max_in_flight"] == 5
    assert stats["billed"] == stats["requests"] == 80
    assert stats["input_tokens"] == sum(end.usage.input_tokens for end in ends)
    assert stats["output_tokens"] == sum(end.usage.output_tokens for end in ends)
    known = await fleet.statistics(actor)
    assert (known.ended, known.queues["sim"].slots) == (80, 2)


async def test_progress_of_a_stream_arrives_before_its_end_and_the_end_is_the_same(fleet, llm, form):
    simulator = llm("--latency-s=4", "--sigma=0")
    _, courier = client(fleet, simulator, form)
    async with asyncio.timeout(WITHIN_S):
        await courier.call(SetShare("sim", 2))
        watch = await courier.send(WatchStreams())
        streamed = await courier.send(replace(attempt(1), stream=True))
        progress = await watch
        assert not streamed.done()
        assert {mark.attempt for mark in progress.marks} == {1}
        again = await courier.call(WatchStreams())
        assert again.marks[-1].streamed > progress.marks[0].streamed > 0
        await simulator.control(latency_s=0.02)
        # The same question under another key: an answer depends on the question, its length on the key.
        whole = await courier.call(replace(attempt(1), id=2, idempotency_key="other"))
    assert (await streamed).values == whole.values
    assert (await streamed).streamed > again.marks[-1].streamed
    stats = await simulator.stats()
    assert stats["output_tokens"] == (await streamed).usage.output_tokens + whole.usage.output_tokens


async def test_aborted_attempts_end_at_once_whether_they_were_started_or_not(fleet, llm, form):
    simulator = llm("--latency-s=600")
    _, courier = client(fleet, simulator, form)
    async with asyncio.timeout(WITHIN_S):
        await courier.call(SetShare("sim", 1))
        for number in range(0, 10, 2):
            pending = [await courier.send(attempt(number)), await courier.send(attempt(number + 1))]
            await simulator.until(requests=number // 2 + 1)
            await courier.call(Abort((number, number + 1)))
            started, waiting = await asyncio.gather(*pending)
            assert started.error.kind is waiting.error.kind is FailureKind.CANCELLED
            assert started.took_s > 0  # it may have been sent, and may be billed
            assert waiting.took_s == 0

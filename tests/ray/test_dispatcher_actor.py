"""The dispatcher with real clients and an endpoint: its books are the endpoint's, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.errors import FailureKind
from actors.core.limiter.limiter import LimiterSettings
from actors.core.limits.retry import RetrySettings
from actors.core.messages.calls import Call, Completion
from actors.core.messages.tasks import Cancel
from actors.core.messages.values import CallCounts, Usage
from cluster.assembly.ray_actors import DispatcherActor, LLMClientActor
from tests.ray.conftest import WITHIN_S

CALLS = 500
IN_FLIGHT = 40
CLIENTS = ("llm-client:0", "llm-client:1")


class Dispatch:
    """A dispatcher, two clients and a courier to the dispatcher."""

    def __init__(self, fleet: Any, simulator: Any, form: Any) -> None:
        self.clients = [
            fleet.actor(LLMClientActor, name, name, (simulator.settings,), (form,), 60.0) for name in CLIENTS
        ]
        settings = DispatchSettings(
            endpoints=(EndpointRules("sim", LimiterSettings(max_in_flight=IN_FLIGHT)),),
            retry=RetrySettings(base_s=0.05, budget=10.0),
        )
        addresses = tuple(fleet.address(name) for name in CLIENTS)
        self.dispatcher = fleet.actor(DispatcherActor, "dispatcher", settings, addresses)
        self.courier = fleet.courier("dispatcher")

    async def offer(self, calls: int = CALLS, *, tasks: int = 20) -> list[asyncio.Future[Completion]]:
        return [
            await self.courier.send(
                Call(f"call-{n}", "evaluate", f"Rate item {n}.", tokens=60, task=f"task-{n % tasks}")
            )
            for n in range(calls)
        ]


async def first(futures: list[asyncio.Future[Completion]], count: int) -> None:
    """Return when `count` of the calls have ended."""
    async with asyncio.timeout(WITHIN_S):
        for ended in asyncio.as_completed(futures):
            await ended
            count -= 1
            if count == 0:
                return


async def ends_of(futures: list[asyncio.Future[Completion]]) -> tuple[list[Completion], CallCounts, Usage]:
    async with asyncio.timeout(WITHIN_S):
        ends = await asyncio.gather(*futures)
    return ends, sum((end.counts for end in ends), CallCounts()), sum((end.usage for end in ends), Usage())


async def test_five_hundred_calls_come_to_exactly_what_the_endpoint_has_in_its_books(fleet, llm, form):
    simulator = llm("--latency-s=0.02")
    dispatch = Dispatch(fleet, simulator, form)
    ends, counts, usage = await ends_of(await dispatch.offer())
    stats = await simulator.stats()
    assert all(end.values is not None for end in ends)
    assert counts == CallCounts(planned=CALLS, billed=CALLS)
    assert (stats["requests"], stats["billed"], stats["distinct_keys"]) == (CALLS, CALLS, CALLS)
    assert (usage.input_tokens, usage.output_tokens) == (stats["input_tokens"], stats["output_tokens"])
    assert 1 < stats["max_in_flight"] <= IN_FLIGHT
    known = await fleet.statistics(dispatch.dispatcher)
    assert (known.completed, known.failed, known.sent, known.queued) == (CALLS, 0, 0, 0)
    assert known.calls == counts
    assert known.usage == usage


async def test_a_client_that_is_killed_loses_no_call_and_what_is_in_doubt_is_said(fleet, llm, form):
    simulator = llm("--latency-s=0.02")
    dispatch = Dispatch(fleet, simulator, form)
    futures = await dispatch.offer()
    await first(futures, CALLS // 5)
    await simulator.control(hold=1)
    await fleet.until(dispatch.clients[0], lambda known: known.queues["sim"].started > 0)
    await fleet.kill_process(dispatch.clients[0])
    await simulator.control(hold=0)
    ends, counts, usage = await ends_of(futures)
    stats = await simulator.stats()
    assert all(end.values is not None for end in ends)
    # The endpoint honours the key that every attempt carries, so what was in doubt is not paid for twice.
    assert counts.planned == counts.billed == stats["billed"] == CALLS
    assert (usage.input_tokens, usage.output_tokens) == (stats["input_tokens"], stats["output_tokens"])
    assert 1 <= counts.in_doubt <= 2 * IN_FLIGHT
    assert CALLS <= stats["requests"] <= CALLS + counts.in_doubt
    known = await fleet.until(  # it has its share again
        dispatch.dispatcher,
        lambda known: all(client.slots > 0 for client in known.endpoints[0].clients.values()),
    )
    assert set(known.endpoints[0].clients) == set(CLIENTS)


async def test_a_dispatcher_that_is_killed_loses_no_call_and_mixes_none_up(fleet, llm, form):
    simulator = llm("--latency-s=0.5")
    dispatch = Dispatch(fleet, simulator, form)
    futures = await dispatch.offer(100)
    await first(futures, 3)
    # Its next life begins to send while the clients still have attempts of this one in flight.
    await fleet.kill_process(dispatch.dispatcher)
    ends, counts, _ = await ends_of(futures)
    assert all(end.values is not None for end in ends)
    assert counts.planned == counts.billed == (await simulator.stats())["billed"] == 100
    again, _, _ = await ends_of(await dispatch.offer(100))  # equal questions have equal answers
    assert [end.values for end in ends] == [end.values for end in again]


async def test_a_cancelled_task_has_its_calls_ended_whether_in_flight_or_not(fleet, llm, form):
    simulator = llm("--latency-s=600")
    dispatch = Dispatch(fleet, simulator, form)
    futures = await dispatch.offer(100, tasks=1)
    await simulator.until(requests=1)
    async with asyncio.timeout(WITHIN_S):
        await dispatch.courier.call(Cancel("task-0"))
    ends, counts, _ = await ends_of(futures)
    assert {end.error.kind for end in ends if end.error} == {FailureKind.CANCELLED}
    assert all(end.values is None for end in ends)
    assert 1 <= counts.in_doubt <= IN_FLIGHT
    known = await fleet.statistics(dispatch.dispatcher)
    assert (known.queued, known.waiting, known.sent) == (0, 0, 0)

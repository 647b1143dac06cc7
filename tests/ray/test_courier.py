"""A courier to a real actor: the happy way, and each way in which an actor can go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import ray

from actors.core.errors import PeerLostError, UnprocessableError
from actors.transport.courier_settings import OnRestart
from actors.transport.discovery import Reachable
from actors.transport.inbox import Inbox
from tests.ray.conftest import WITHIN_S, until


class Doubler(Reachable):
    """Doubles numbers; odd ones only in its second life, so that they are under way when the first ends."""

    def __init__(self) -> None:
        self._reborn = ray.get_runtime_context().was_current_actor_reconstructed
        self.inbox = Inbox(self._on_item)
        super().__init__(self.inbox)

    async def statistics(self) -> Any:
        return self.inbox.statistics()

    def _on_item(self, item: int, reply: Any) -> None:
        if item % 2 == 0 or self._reborn:
            reply(item * 2)


class Defective(Reachable):
    """One item runs into an exception that nobody foresaw."""

    def __init__(self) -> None:
        super().__init__(Inbox(self._on_item))

    def _on_item(self, item: int, reply: Any) -> None:
        reply(item // item and item)


DoublerActor = ray.remote(Doubler)
DefectiveActor = ray.remote(Defective)
NUMBERS = range(600)


async def sent_and_half_answered(courier: Any) -> list[asyncio.Future[int]]:
    """Return the futures of all numbers, once the even ones are answered: the odd ones are at the actor."""
    futures = [await courier.send(number) for number in NUMBERS]
    async with asyncio.timeout(WITHIN_S):
        await asyncio.gather(*futures[::2])
    return futures


async def test_thousands_of_calls_take_a_few_messages(fleet):
    doubler = fleet.actor(DoublerActor, "doubler")
    courier = fleet.courier("doubler")
    async with asyncio.timeout(WITHIN_S):
        answers = await asyncio.gather(*(courier.call(2 * number) for number in range(3_000)))
    assert answers == [4 * number for number in range(3_000)]
    assert courier.statistics().messages < 300
    known = await fleet.statistics(doubler)
    assert (known.received, known.replied, known.working) == (3_000, 3_000, 0)


async def test_calls_that_were_under_way_when_an_actor_died_are_answered_by_its_next_life(fleet):
    doubler = fleet.actor(DoublerActor, "doubler")
    courier = fleet.courier("doubler", OnRestart.RESEND)
    futures = await sent_and_half_answered(courier)
    await fleet.kill_process(doubler)
    async with asyncio.timeout(WITHIN_S):
        assert await asyncio.gather(*futures) == [2 * number for number in NUMBERS]
    assert courier.statistics().restarts == 1


async def test_where_a_call_must_not_be_repeated_its_caller_learns_that_it_may_have_run(fleet):
    restarts: list[None] = []
    doubler = fleet.actor(DoublerActor, "doubler")
    courier = fleet.courier("doubler", OnRestart.FAIL, on_restart=lambda: restarts.append(None))
    futures = await sent_and_half_answered(courier)
    await fleet.kill_process(doubler)
    async with asyncio.timeout(WITHIN_S):
        ends = await asyncio.gather(*futures, return_exceptions=True)
        assert await courier.call(7) == 14
    assert ends[::2] == [2 * number for number in NUMBERS[::2]]
    assert all(isinstance(end, PeerLostError) and end.may_have_run for end in ends[1::2])
    assert len(restarts) == 1


async def test_when_an_actor_is_gone_every_pending_call_fails_in_time_and_another_of_its_name_is_found(
    fleet,
):
    lost, back = asyncio.Event(), asyncio.Event()
    doubler = fleet.actor(DoublerActor, "doubler")
    await doubler.statistics.remote()  # a process may take longer to start than an actor may be away here
    courier = fleet.courier("doubler", OnRestart.FAIL, fail_after_s=1.0, on_lost=lost.set, on_back=back.set)
    futures = await sent_and_half_answered(courier)
    ray.kill(doubler, no_restart=True)
    async with asyncio.timeout(WITHIN_S):
        ends = await asyncio.gather(*futures[1::2], return_exceptions=True)
        await lost.wait()
    assert all(isinstance(end, PeerLostError) and end.may_have_run for end in ends)
    with pytest.raises(PeerLostError) as after:
        await courier.call(2)
    assert not after.value.may_have_run
    await made_anew(fleet, DoublerActor, "doubler")
    async with asyncio.timeout(WITHIN_S):
        await back.wait()
        assert await courier.call(2) == 4


async def made_anew(fleet: Any, kind: Any, name: str) -> None:
    """Make an actor under the name of one that was killed, as soon as that is free."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                fleet.actor(kind, name)
            except ValueError:
                await asyncio.sleep(0.01)
            else:
                return


async def test_an_actor_that_comes_late_is_found(cluster, fleet):
    courier = fleet.courier("late")
    call = asyncio.create_task(courier.call(2))
    await until(lambda: asyncio.sleep(0.05, courier.statistics().trouble), bool)
    assert "no actor is named late" in courier.statistics().trouble
    fleet.actor(DoublerActor, "late")
    async with asyncio.timeout(WITHIN_S):
        assert await call == 4


async def test_an_item_that_meets_a_defect_in_the_actor_fails_alone(fleet):
    fleet.actor(DefectiveActor, "defective")
    courier = fleet.courier("defective")
    async with asyncio.timeout(WITHIN_S):
        ends = await asyncio.gather(*(courier.call(n) for n in range(3)), return_exceptions=True)
    assert isinstance(ends[0], UnprocessableError)
    assert "ZeroDivisionError" in str(ends[0])
    assert ends[1:] == [1, 2]

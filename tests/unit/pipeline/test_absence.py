"""A pipeline whose dispatcher, source or journal is away: no task ends for that, but at its own deadline."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from actors.core.errors import StoreUnavailableError
from actors.core.messages.journal import Accept, OpenRun
from actors.core.messages.tasks import TaskState
from tests.unit.support.leaping_loop import run_leaping
from tests.unit.support.pipeline_world import RULES, World, hurry, submit

DEADLINE_S = RULES.task_deadline_s


@pytest.fixture
def run(monkeypatch):
    """Run a test of a world, on a loop whose time leaps."""

    def run(test):
        hurry(monkeypatch)

        async def main():
            world = World()
            await world.recorder.call(OpenRun("run", "test", {}))
            await test(world, asyncio.get_running_loop())
            await world.recorder.close()
            await world.journal.close()

        run_leaping(main())

    return run


def test_with_the_dispatcher_away_calls_wait_and_go_on_when_it_is_back(run):
    async def test(world, loop):
        world.begin()
        world.links["dispatcher"].be_away()
        report = world.ask(submit())
        await asyncio.sleep(DEADLINE_S - 10)
        assert not report.done()
        world.links["dispatcher"].error = None
        assert (await report).state is TaskState.SUCCEEDED

    run(test)


def test_with_the_dispatcher_away_for_longer_the_report_comes_at_the_deadline_with_the_cause(run):
    async def test(world, loop):
        world.begin()
        world.links["dispatcher"].be_away()
        asked_at = loop.time()
        report = await world.ask(submit())
        assert DEADLINE_S <= loop.time() - asked_at < DEADLINE_S + 10
        assert report.state is TaskState.FAILED
        assert "actor dispatcher" in report.errors[1]
        assert "away" in report.errors[1]
        assert world.pipeline._dispatcher.statistics().outstanding == 0

    run(test)


def test_an_answer_that_came_before_the_dispatcher_went_is_in_a_partial_report(run):
    async def test(world, loop):
        fetched = world.source.answer

        def two_items(fetch):
            answer = fetched(fetch)
            return replace(answer, items=(*answer.items, replace(answer.items[0], id="wire:other")))

        world.source.answer = two_items
        world.begin()
        world.dispatcher.held = []
        report = world.ask(submit())
        await asyncio.sleep(1.0)
        _, reply = world.dispatcher.held[0]
        reply(world.dispatcher.answer(world.dispatcher.asked[0]))
        await asyncio.sleep(1.0)
        world.links["dispatcher"].be_away()
        done = await report
        assert done.state is TaskState.PARTIAL
        assert done.dimensions[0].n == 1
        assert "the request may have run" in done.errors[0]

    run(test)


def test_a_source_that_is_away_is_waited_for_until_the_deadline(run):
    async def test(world, loop):
        world.begin()
        world.links["wire"].be_away()
        early, late = world.ask(submit("t1")), world.ask(submit("t2", expires_in_s=20.0))
        asked_at = loop.time()
        report = await late
        assert 20 <= loop.time() - asked_at < 30
        assert report.state is TaskState.FAILED
        assert "actor wire" in report.sources["wire"].error
        world.links["wire"].error = None
        assert (await early).state is TaskState.SUCCEEDED

    run(test)


def test_with_the_journal_away_a_task_stays_open_and_ends_when_it_is_back(run):
    async def test(world, loop):
        world.begin()
        world.dispatcher.held = []
        report = world.ask(submit())
        await asyncio.sleep(1.0)
        world.links["journal"].be_away()
        world.dispatcher.release()
        await asyncio.sleep(3600.0)
        assert not report.done()
        world.links["journal"].error = None
        assert (await report).state is TaskState.SUCCEEDED

    run(test)


class FullDisk:
    """Has the journal answer all with an error while `is_full`."""

    def __init__(self, world):
        self.is_full = False
        self.journal = world.journal
        self.handle = world.journal.inbox._on_item
        world.journal.inbox._on_item = self.on_item

    def on_item(self, item, reply):
        if self.is_full:
            reply(StoreUnavailableError("the disk is full"))
        else:
            self.handle(item, reply)


async def accept(world, *keys):
    for key in keys:
        await world.ask(submit(key, until_accepted=True))


async def ended(world, *keys):
    async with asyncio.timeout(60.0):
        while {(await world.known(key))[0].state for key in keys} != {"succeeded"}:
            await asyncio.sleep(1.0)


def test_a_service_whose_store_is_away_when_it_begins_goes_on_with_what_was_accepted_later(run):
    async def test(world, loop):
        disk = FullDisk(world)
        world.begin()
        world.dispatcher.held = []
        await accept(world, "t1", "t2")
        world.dispatcher.held = None
        disk.is_full = True
        world.begin(recovers="run")
        await asyncio.sleep(3600.0)
        assert world.pipeline.statistics().recovery_trouble == "the disk is full"
        disk.is_full = False
        await ended(world, "t1", "t2")
        assert world.pipeline.statistics().recovery_trouble == ""

    run(test)


def test_a_service_goes_on_with_a_task_that_could_not_be_stored_on_its_way(run):
    async def test(world, loop):
        disk = FullDisk(world)
        world.begin(recovers="run")
        await accept(world, "t0")
        await ended(world, "t0")
        world.dispatcher.held = []
        await accept(world, "t1")
        waiting = world.ask(submit("t1"))
        await asyncio.sleep(1.0)
        disk.is_full = True
        world.dispatcher.release()
        assert isinstance(await waiting, StoreUnavailableError)
        await asyncio.sleep(3600.0)
        disk.is_full = False
        await ended(world, "t1")

    run(test)


def test_a_store_that_is_away_is_asked_ever_more_slowly_and_at_least_twice_a_minute(run):
    async def test(world, loop):
        disk = FullDisk(world)
        disk.is_full = True
        world.begin(recovers="run")
        before = world.journal.inbox.statistics().received
        await asyncio.sleep(3600.0)
        assert 120 <= world.journal.inbox.statistics().received - before < 130

    run(test)


def test_a_backlog_that_is_recovered_brings_the_items_of_its_tasks_only_when_their_turn_comes(run):
    async def test(world, loop):
        world.begin()
        world.dispatcher.held = []
        await accept(world, *(f"t{n}" for n in range(5)))
        await asyncio.sleep(1.0)  # all have their items stored by now
        world.dispatcher.held = []
        asked = []
        handle = world.journal.inbox._on_item
        world.journal.inbox._on_item = lambda item, reply: (
            asked.append(item) if isinstance(item, Accept) else None,
            handle(item, reply),
        )
        world.begin(recovers="run", active_tasks=2)
        await asyncio.sleep(10.0)
        assert len(asked) == 2
        known = await world.ask(submit("t4", until_accepted=True))
        assert (known.task, known.is_new) == ("t4", False)
        world.dispatcher.release()
        await ended(world, *(f"t{n}" for n in range(5)))
        assert len(world.source.asked) == 5

    run(test)


# ---- deadlines across restarts ---------------------------------------------------------------------------

DAY_S = 86_400.0


async def leave_off(world, loop, after_s, leap_s=0.0):
    """Have a task accepted and its pipeline die, and let time pass; the journal's clock leaps meanwhile."""
    began_at = loop.time()
    world.journal._clock = lambda: loop.time() + (leap_s if loop.time() > began_at else 0.0)
    world.begin()
    world.dispatcher.held = []
    await accept(world, "t1")
    for entry in world.pipeline._entries.values():
        entry.serving.cancel()
    await asyncio.sleep(after_s)
    assert (await world.known())[0].state == "accepted"


async def ends_after(world, loop, **settings):
    """Return how long the task has from now on, with the dispatcher away."""
    began_at = loop.time()
    world.begin(**settings)
    world.links["dispatcher"].be_away()
    async with asyncio.timeout(2 * DAY_S):
        report = await world.ask(submit())
    assert report.state is TaskState.FAILED
    return loop.time() - began_at


@pytest.mark.parametrize("recovers", [None, "run"], ids=["sent again", "recovered"])
def test_a_pipeline_that_begins_anew_has_the_rest_of_a_tasks_time(run, recovers):
    async def test(world, loop):
        began_at = loop.time()
        await leave_off(world, loop, DEADLINE_S - 20)
        world.begin(recovers=recovers, began_at=began_at)
        world.links["dispatcher"].be_away()
        if recovers:
            await asyncio.sleep(1.0)  # the task is recovered before it is asked for
            assert world.pipeline._entries
        report = await world.ask(submit())
        assert report.state is TaskState.FAILED
        assert DEADLINE_S <= loop.time() - began_at < DEADLINE_S + 10

    run(test)


def test_a_run_that_is_resumed_gives_its_tasks_their_full_time_again(run):
    async def test(world, loop):
        await leave_off(world, loop, 10 * DEADLINE_S)
        assert DEADLINE_S <= await ends_after(world, loop, began_at=loop.time()) < DEADLINE_S + 10

    run(test)


def test_a_task_whose_time_passed_while_its_pipeline_was_away_ends_when_that_is_back(run):
    async def test(world, loop):
        await leave_off(world, loop, 10 * DEADLINE_S)
        assert await ends_after(world, loop) < 10

    run(test)


def test_a_clock_that_is_set_back_gives_a_task_its_full_time_and_no_more(run):
    async def test(world, loop):
        await leave_off(world, loop, 20.0, leap_s=-DAY_S)
        assert DEADLINE_S <= await ends_after(world, loop, began_at=-DAY_S) < DEADLINE_S + 10

    run(test)

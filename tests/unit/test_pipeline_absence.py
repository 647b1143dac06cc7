"""A pipeline whose dispatcher, source or journal is away: no task ends for that, but at its own deadline."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from actors.core.journal_messages import OpenRun
from actors.core.messages import TaskState
from tests.unit.leaping_loop import run_leaping
from tests.unit.pipeline_world import RULES, World, stand_in, submit

DEADLINE_S = RULES.task_deadline_s


@pytest.fixture
def run(monkeypatch):
    """Run a test of a world, on a loop whose time leaps."""

    def run(test):
        made = []
        stand_in(monkeypatch, made)

        async def main():
            made.append(World())
            await made[0].recorder.call(OpenRun("run", "test", {}))
            await test(made[0], asyncio.get_running_loop())
            await made[0].recorder.close()
            await made[0].journal.close()

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

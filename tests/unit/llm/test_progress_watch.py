"""Progress is told to who watches, no oftener than is of use, and with its age."""

from __future__ import annotations

import asyncio

import pytest

from actors.core.messages.attempts import StreamMark
from actors.llm.progress_watch import ProgressWatch


class Desk:
    def __init__(self, interval_s):
        self.now = 0.0
        self.heard = []
        self.progress = ProgressWatch(lambda: self.now, interval_s)

    async def watch(self):
        self.progress.watch(lambda progress: self.heard.append(progress.marks))
        await self.settle()

    async def settle(self):
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def make_desk():
    desks = []

    def make(interval_s=0.0):
        desks.append(Desk(interval_s))
        return desks[-1]

    yield make
    for desk in desks:
        desk.progress.close()


async def test_a_watch_is_answered_once_there_is_something_to_tell(make_desk):
    desk = make_desk()
    await desk.watch()
    assert desk.heard == []
    desk.progress.note(1, 5, 0.3)
    await desk.settle()
    assert desk.heard == [(StreamMark(1, 5, 0.3),)]
    desk.progress.note(1, 9, 0.4)
    await desk.settle()
    assert len(desk.heard) == 1  # nobody watches


async def test_of_what_gathers_the_first_and_the_last_mark_are_told_each_with_its_time(make_desk):
    desk = make_desk()
    for after_s, count in ((1.0, 2), (2.0, 4), (3.0, 6)):
        desk.progress.note(1, count, after_s)
    desk.now = 10.0
    await desk.watch()
    for after_s, count in ((11.0, 8), (12.0, 10)):
        desk.progress.note(1, count, after_s)
    await desk.watch()
    assert desk.heard == [(StreamMark(1, 2, 1.0), StreamMark(1, 6, 3.0)), (StreamMark(1, 10, 12.0),)]


async def test_a_stream_that_has_ended_is_not_told_of(make_desk):
    desk = make_desk()
    desk.progress.note(1, 5, 0.1)
    desk.progress.note(2, 5, 0.1)
    desk.progress.forget(1)
    await desk.watch()
    assert [mark.attempt for mark in desk.heard[0]] == [2]


async def test_a_second_watcher_is_told_too(make_desk):
    """A dispatcher that began anew asks again, and what its earlier life asked is still open."""
    desk = make_desk()
    await desk.watch()
    await desk.watch()
    desk.progress.note(1, 5, 0.1)
    await desk.settle()
    assert len(desk.heard) == 2


async def test_progress_waits_for_company(make_desk):
    desk = make_desk(interval_s=1000.0)
    desk.progress.note(1, 5, 0.1)
    await desk.watch()
    desk.progress.note(2, 5, 0.1)
    await desk.watch()
    assert len(desk.heard) == 1

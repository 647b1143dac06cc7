"""An expensive answer is made once for all who ask within a few seconds."""

from __future__ import annotations

import asyncio

import pytest

from cluster.http.routes.recent_answers import RecentAnswers


class Maker:
    def __init__(self):
        self.now, self.made, self.error = 100.0, 0, None
        self.recent = RecentAnswers(5.0, lambda: self.now)

    async def make(self):
        self.made += 1
        number = self.made
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return number

    def ask(self, key="ann"):
        return self.recent.of(key, self.make)


async def test_callers_share_an_answer_until_it_is_old_and_keys_do_not():
    maker = Maker()
    assert await asyncio.gather(maker.ask(), maker.ask()) == [1, 1]
    maker.now += 4.9
    assert await maker.ask() == 1
    assert await maker.ask("bob") == 2
    maker.now += 0.1
    assert await maker.ask() == 3


async def test_an_error_is_not_kept_and_a_caller_that_leaves_takes_nothing_from_others():
    maker = Maker()
    maker.error = OSError("away")
    with pytest.raises(OSError, match="away"):
        await maker.ask()
    maker.error = None
    first = asyncio.ensure_future(maker.ask())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(maker.ask())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 2

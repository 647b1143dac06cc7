"""A source that is down for a while fails no task: fetches wait for it, as calls wait for an endpoint."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Literal

import pytest

from actors.core.errors import SourceError, SourceUnavailableError
from actors.core.limits.breaker import BreakerState
from actors.core.messages.tasks import Fetch, Item, Task
from actors.sources.actor import GuardedSource
from actors.sources.base import SourceSettings
from tests.unit.support.leaping_loop import run_leaping

DAY_S = 86_400.0


class Outage(SourceSettings):
    """A source that is down from `down_at` to `up_at`, seconds after the start."""

    kind: Literal["outage"] = "outage"
    down_at: float = 0.0
    up_at: float
    hangs: bool = False

    def build(self):
        return OutageSource(self)


class OutageSource:
    def __init__(self, settings):
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.asked = Counter()

    async def fetch(self, task):
        settings = self._settings
        self.asked[task.key] += 1
        if settings.down_at <= self._loop.time() - self._began < settings.up_at:
            await asyncio.sleep(1e6 if settings.hangs else 0.001)
            raise SourceUnavailableError("refused")
        await asyncio.sleep(0.05)
        if task.key == "poor":
            raise SourceError("no such task")
        return [Item("a", settings.name, "text")]

    async def close(self):
        pass


def asked(settings, keys, *, expires_in_s=DAY_S):
    """Fetch for all tasks at once; return the answers by key, the seconds it took, and the actor."""

    async def main():
        loop = asyncio.get_running_loop()
        actor = GuardedSource(settings, loop.time)
        began, answers = loop.time(), {key: loop.create_future() for key in keys}
        for key, answer in answers.items():
            actor._on_item(Fetch(Task(key), expires_in_s), answer.set_result)
        got = dict(zip(answers, await asyncio.gather(*answers.values()), strict=True))
        await actor.close()
        return got, loop.time() - began, actor

    return run_leaping(main())


def errors(answers):
    return [answer.error.message for answer in answers.values() if answer.error]


@pytest.mark.parametrize("hangs", [True, False])
@pytest.mark.parametrize(("down_at", "up_at"), [(0.0, 20.0), (0.5, 21.0), (0.3, 3600.0)])
@pytest.mark.parametrize("concurrency", [4, 64])
@pytest.mark.parametrize("retries", [0, 3])
def test_an_outage_fails_no_task_but_those_that_showed_it(down_at, up_at, hangs, concurrency, retries):
    times = {"down_at": down_at, "up_at": up_at, "outage_s": 7200.0 if up_at > 600 else None}
    settings = Outage(name="s", hangs=hangs, concurrency=concurrency, retries=retries, **times)
    answers, took, actor = asked(settings, [f"k{n}" for n in range(400)])
    # Without retries a failure before the breaker opens ends its fetch.
    assert len(errors(answers)) <= (0 if retries else 100)
    assert took < up_at + 60 + 400 * 0.05 / concurrency
    assert actor.statistics().breaker is BreakerState.CLOSED
    most = 12 if hangs else 130
    assert sum(actor._source.asked.values()) < 400 + 90 + up_at / 30 * 2 + most


def test_a_source_that_is_down_for_good_holds_its_tasks_for_ten_minutes_once():
    answers, took, _ = asked(Outage(name="s", up_at=1e9, concurrency=4), map(str, range(1000)))
    assert len(errors(answers)) == 1000
    assert 600 <= took < 640


def test_a_fetch_waits_for_half_of_the_time_of_its_task_so_that_the_rest_has_time():
    settings = Outage(name="s", up_at=1e9, required=True)
    answers, took, _ = asked(settings, map(str, range(100)), expires_in_s=600)
    assert len(errors(answers)) == 100
    assert 300 <= took < 340
    assert {message.partition(";")[0] for message in errors(answers)} <= {
        "the breaker is open after repeated failures",
        "refused",
    }


def test_a_fetch_of_a_source_that_may_fail_does_not_wait():
    answers, took, _ = asked(Outage(name="s", up_at=1e9, outage_s=0), map(str, range(1000)))
    assert len(errors(answers)) == 1000
    assert took < 30


def test_the_failure_of_one_task_is_not_an_outage():
    answers, took, _ = asked(Outage(name="s", up_at=0), ["poor", *map(str, range(100))])
    assert errors(answers) == ["no such task"]
    assert took < 5

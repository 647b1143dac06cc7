"""Hours of each kind of trouble, on a fake clock: after them everything recovers, and nothing is lost.

Tasks have thirty hours, so that trouble that lasts a day is no reason to end one.
"""

from __future__ import annotations

import logging

import pytest

from actors.core.messages.tasks import TaskState
from tests.property.worlds.outage_endpoint import hanging, refusing, resetting, revoked
from tests.property.worlds.outage_world import (
    HOUR,
    MINUTE,
    World,
    configuration,
)
from tests.property.worlds.virtual_time import run_in_virtual_time

# A simulated day takes 10 to 20 seconds of processor time.
pytestmark = pytest.mark.timeout(300)

LONG = 24 * HOUR
SHORT = 5 * HOUR  # for the faults whose day takes half a minute of processor time
RECOVERS_WITHIN = MINUTE


def keys(name, count):
    return [f"{name}-{number}" for number in range(count)]


class Day:
    """One day of trouble: tasks before it, at its beginning, in its last hour, and after it."""

    def __init__(self, monkeypatch, *, lasts=LONG, during=20, **llm):
        self.monkeypatch, self.lasts, self.during, self.llm = monkeypatch, lasts, during, llm
        self.growth = self.log_lines = 0

    def run(self, strike, mend):
        return run_in_virtual_time(lambda loop: self._run(loop, strike, mend), self.monkeypatch)

    async def _run(self, loop, strike, mend):
        # Lines are counted and not kept: those that pytest keeps would look like objects that leak.
        self.monkeypatch.setattr(logging.Logger, "callHandlers", lambda *_: self._count_line())
        world = World(loop, self.monkeypatch, configuration(**self.llm))
        await world.begin()
        world.submit(*keys("before", 10))
        await world.pass_time(MINUTE)
        assert not world.open_tasks, "the world does not work without trouble"
        world.submit(*keys("during", self.during))
        await world.pass_time(1.0)
        strike(world)
        await world.pass_time(self.lasts / 6)
        early = world.objects()
        await world.pass_time(self.lasts / 2)
        self.growth = world.objects() - early
        await world.pass_time(self.lasts / 3 - MINUTE)
        world.submit(*keys("late", 5))
        await world.pass_time(MINUTE)
        mend(world)
        await world.pass_time(RECOVERS_WITHIN / 2)
        world.submit(*keys("after", 5))
        await world.pass_time(RECOVERS_WITHIN / 2)
        self.check(world)
        return world

    def _count_line(self):
        self.log_lines += 1

    def check(self, world):
        assert not world.defects, world.defects[0]
        assert not world.open_tasks, f"open a minute after the end: {world.open_tasks}"
        states = {report.state for report in world.reports.values()}
        errors = {error for report in world.reports.values() for error in report.errors}
        assert states == {TaskState.SUCCEEDED}, errors
        world.check_books()
        assert self.growth < 2_000, f"{self.growth} objects more after half of the time"
        assert self.log_lines < 200 * self.lasts / HOUR, f"{self.log_lines} lines in the logs"


def endpoint(fault):
    def strike(world):
        world.server.fault = fault

    def mend(world):
        world.server.fault = None

    return strike, mend


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(revoked, id="401"),
        pytest.param(hanging, id="hangs"),
    ],
)
def test_a_day_in_which_the_endpoint_answers_nothing_ends_no_task(fault, monkeypatch):
    Day(monkeypatch).run(*endpoint(fault))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(refusing(), id="429"),
        pytest.param(refusing(retry_after=30), id="429 with Retry-After"),
        pytest.param(refusing(retry_after=10**12), id="429 with an absurd Retry-After"),
        pytest.param(refusing(status=503), id="503"),
        pytest.param(resetting, id="resets"),
    ],
)
def test_hours_in_which_the_endpoint_answers_nothing_end_no_task(fault, monkeypatch):
    Day(monkeypatch, lasts=SHORT).run(*endpoint(fault))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(refusing(status=500), id="500"),
        pytest.param(hanging, id="hangs"),
        pytest.param(resetting, id="resets"),
    ],
)
def test_an_hour_in_which_the_endpoint_answers_nothing_does_not_end_the_only_task_either(fault, monkeypatch):
    Day(monkeypatch, lasts=HOUR, during=1).run(*endpoint(fault))


def test_a_day_without_the_store_ends_no_task(monkeypatch):
    def strike(world):
        world.store.is_away = True

    def mend(world):
        world.store.is_away = False

    Day(monkeypatch).run(strike, mend)


def test_a_day_in_which_a_commit_takes_five_seconds_ends_no_task(monkeypatch):
    def strike(world):
        world.loop.store_takes_s = 5.0

    def mend(world):
        world.loop.store_takes_s = 0.0

    Day(monkeypatch).run(strike, mend)


@pytest.mark.parametrize("name", ["llm-client:0", "source:notes", "dispatcher", "pipeline:0", "journal"])
def test_an_hour_without_an_actor_ends_no_task(name, monkeypatch):
    Day(monkeypatch, lasts=HOUR).run(lambda world: world.kill(name), lambda world: world.start(name))


@pytest.mark.parametrize("name", ["llm-client:0", "source:notes", "dispatcher", "pipeline:0", "journal"])
def test_an_actor_whose_host_is_cut_off_for_an_hour_is_used_again(name, monkeypatch):
    Day(monkeypatch, lasts=HOUR).run(
        lambda world: world.cut_off_host(name), lambda world: world.join_again(name)
    )


@pytest.mark.parametrize("leap_s", [24 * HOUR, -24 * HOUR], ids=["forward", "back"])
def test_a_wall_clock_that_leaps_by_a_day_ends_no_task(leap_s, monkeypatch):
    def strike(world):
        world.loop.wall_offset += leap_s

    def mend(world):
        world.loop.wall_offset -= leap_s

    Day(monkeypatch, lasts=HOUR).run(strike, mend)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {"prompt_tokens": -5, "completion_tokens": 10**30},
        {"prompt_tokens": "many"},
        [1],
        float("1e300"),
    ],
    ids=["missing", "absurd", "text", "list", "number"],
)
def test_a_day_without_usable_usage_ends_no_task(usage, monkeypatch):
    def strike(world):
        world.server.usage = usage

    def mend(world):
        world.server.usage = {"prompt_tokens": 30, "completion_tokens": 10}

    Day(monkeypatch).run(strike, mend)

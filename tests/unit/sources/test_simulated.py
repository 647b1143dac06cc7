"""The simulated source: everything it does follows from its seed."""

from __future__ import annotations

import asyncio
import statistics

import pytest

from actors.core.errors import ConfigError, SourceUnavailableError
from actors.core.messages.tasks import Task
from actors.sources import simulated
from actors.sources.simulated import SimulatedSettings


def settings(**options) -> SimulatedSettings:
    return SimulatedSettings(**{"name": "wire", "kind": "simulated", "latency_s": 0, **options})


async def tries(source, key: str, most: int) -> list[bool]:
    """Fetch until a success, at most `most` times; True for each failure."""
    failures = []
    for _ in range(most):
        try:
            await source.fetch(Task(key))
        except SourceUnavailableError:
            failures.append(True)
        else:
            return [*failures, False]
    return failures


async def test_equal_settings_give_equal_items():
    first, second = settings().build(), settings().build()

    assert await first.fetch(Task("k")) == await second.fetch(Task("k"))
    assert len(await first.fetch(Task("k"))) == 4


@pytest.mark.parametrize("other", [{"seed": 1}, {"name": "other"}])
async def test_another_seed_or_name_gives_other_items(other):
    texts = [[item.text for item in await settings(**o).build().fetch(Task("k"))] for o in ({}, other)]

    assert texts[0] != texts[1]


async def test_items_know_their_place_and_carry_a_rating():
    items = await settings(items=30).build().fetch(Task("k"))

    assert [item.fields["position"] for item in items] == list(range(30))
    assert {item.fields["rating"] for item in items} == {1, 2, 3, 4, 5}
    assert all("k" in item.text and item.text.count(".") >= 3 for item in items)


async def test_failures_come_at_the_rate_that_was_set():
    source = settings(failure_rate=0.3).build()
    failed = [(await tries(source, f"key {n}", 1))[0] for n in range(2000)]

    assert 0.26 < statistics.mean(failed) < 0.34


async def test_a_further_try_is_drawn_anew_and_alike_in_every_run():
    outcomes = [
        [await tries(source, f"key {n}", 20) for n in range(100)]
        for source in (settings(failure_rate=0.5).build() for _ in range(2))
    ]

    assert outcomes[0] == outcomes[1]
    assert all(outcome[-1] is False for outcome in outcomes[0])
    assert max(len(outcome) for outcome in outcomes[0]) > 2


async def test_a_dead_source_stays_dead_and_its_memory_bounded(monkeypatch):
    monkeypatch.setattr(simulated, "_MOST_REMEMBERED", 10)
    source = settings(failure_rate=1.0).build()

    assert all([await tries(source, f"key {n}", 2) == [True, True] for n in range(50)])
    assert len(source._failed) == 10


async def test_latency_is_spread_around_its_median(monkeypatch):
    waits = []

    async def record(delay):
        waits.append(delay)

    monkeypatch.setattr(asyncio, "sleep", record)
    source = settings(latency_s=0.2, sigma=0.5, items=0).build()
    for n in range(1000):
        await source.fetch(Task(f"key {n}"))

    assert 0.18 < statistics.median(waits) < 0.22
    assert statistics.stdev(waits) > 0.05
    assert len(set(waits)) == 1000


def test_over_http_it_is_the_same_source_elsewhere():
    made = settings(
        latency_s=0.5,
        failure_rate=0.1,
        timeout_s=3,
        concurrency=7,
        retries=2,
        required=True,
        transport="http",
    ).over_http("http://127.0.0.1:9")

    assert made.url == "http://127.0.0.1:9/wire/{key}?items=4&latency_s=0.5&failure_rate=0.1"
    assert (made.name, made.items, made.allow_private) == ("wire", "results", True)
    assert (made.timeout_s, made.concurrency, made.retries, made.required) == (3, 7, 2, True)


def test_a_source_whose_simulator_nobody_started_is_a_configuration_error():
    with pytest.raises(ConfigError, match="no simulator was started"):
        settings(transport="http").build()

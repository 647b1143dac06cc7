"""The actor around a source outlives whatever its source raises, and answers every fetch."""

from __future__ import annotations

import asyncio
import itertools
from typing import Literal

import pytest
from pydantic import ValidationError

from actors.core.errors import Blame, ConfigError, FailureKind, SourceUnavailableError
from actors.core.journal.batch import MOST_VALUE_BYTES
from actors.core.messages.tasks import Fetch, Item, Task
from actors.core.task_names import within
from actors.sources.actor import GuardedSource
from actors.sources.base import SourceSettings
from actors.transport.tcp.frames import MOST_BYTES
from cluster.config.model import LimitSettings

WITHIN_S = 20


class OwnSettings(SourceSettings):
    """Settings of a source that a test writes: `made` is called to make it."""

    kind: Literal["own"] = "own"
    made: object

    def build(self):
        return self.made()


class Raising:
    def __init__(self, error):
        self.error = error

    async def fetch(self, task):
        raise self.error

    async def close(self):
        pass


class Giving:
    def __init__(self, *items):
        self.items = items

    async def fetch(self, task):
        return self.items

    async def close(self):
        pass


async def ask(guarded, key="k"):
    answered = asyncio.get_running_loop().create_future()
    guarded._on_item(Fetch(Task(key), 10.0), answered.set_result)
    async with asyncio.timeout(WITHIN_S):
        return await answered


def guard(made, clock=lambda: 0.0, **options):
    return GuardedSource(OwnSettings(name="own", made=made, retries=0, outage_s=0, **options), clock=clock)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        RecursionError("deep"),
        MemoryError(),
        SystemExit(1),
        asyncio.CancelledError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    ],
)
async def test_whatever_a_source_raises_is_an_answer_and_the_next_task_is_asked(error):
    guarded = guard(lambda: Raising(error))
    for _ in range(2):
        fetched = await ask(guarded)
        assert (fetched.items, fetched.error.blame) == ((), Blame.UNKNOWN)
        assert type(error).__name__ in fetched.error.message


async def test_an_open_breaker_quotes_the_failure_of_a_task_only_to_tasks_of_its_tenant():
    error = SourceUnavailableError("http://host/bob-patient answered 500")
    guarded = guard(lambda: Raising(error), clock=itertools.count(0, 0.05).__next__)
    while "breaker" not in (await ask(guarded, within("bob", "k"))).error.message:
        pass
    of_bob, of_ann = [await ask(guarded, within(who, "k")) for who in ("bob", "ann")]
    opened = "the breaker is open after repeated failures; the last one: "
    assert of_bob.error.message == opened + str(error)
    assert of_ann.error.message == opened + "transient, HTTP 500"


async def test_an_error_of_any_text_can_be_written_down_and_is_short():
    fetched = await ask(guard(lambda: Raising(ValueError("\ud800" + "x" * 1_000_000))))
    assert len(fetched.error.message.encode()) < 2000


async def test_a_source_that_is_away_at_the_start_is_made_at_a_later_fetch():
    answers = iter([ConnectionRefusedError("away"), SourceUnavailableError("still away"), None])

    def made():
        error = next(answers)
        if error is not None:
            raise error
        return Giving(Item("own:a", "own", "text"))

    guarded = guard(made)
    away = await ask(guarded)
    assert (away.error.kind, away.error.message) == (FailureKind.TRANSIENT, "still away")
    assert [item.text for item in (await ask(guarded)).items] == ["text"]


@pytest.mark.parametrize("error", [SystemExit(3), RuntimeError("odd")])
async def test_a_source_that_cannot_be_made_does_not_end_its_actor(error):
    def made():
        raise error

    guarded = guard(made)
    assert type(error).__name__ in (await ask(guarded)).error.message


async def test_a_source_that_is_configured_wrongly_is_made_once():
    made = []

    def wrong():
        made.append(1)
        raise ConfigError("no such thing")

    guarded = guard(wrong)
    assert [(await ask(guarded)).error.blame for _ in range(3)] == [Blame.CONFIG] * 3
    assert len(made) == 1


@pytest.mark.parametrize(
    "items",
    [
        [Item(f"own:{n}", "own", "") for n in range(11)],
        [Item("own:a", "own", "x" * 30_000)],
        [Item("own:a", "own", "", {"x": object()})],
    ],
)
async def test_a_source_that_heeds_no_bound_is_bounded_by_its_actor(items):
    fetched = await ask(guard(lambda: Giving(*items), max_items=10, max_fetch_bytes=1000))
    assert (fetched.items, fetched.error.blame) == ((), Blame.LIMIT)


async def test_the_size_of_what_was_fetched_is_told():
    fetched = await ask(guard(lambda: Giving(Item("own:a", "own", "text"))))
    assert fetched.size == len(b'["own:a","own","text",{}]')


def test_the_largest_fetch_that_can_be_configured_fits_into_the_store_and_a_message():
    largest = LimitSettings(max_collected_bytes=50_000_000).max_collected_bytes
    with pytest.raises(ValidationError):
        LimitSettings(max_collected_bytes=largest + 1)
    with pytest.raises(ValidationError):
        SourceSettings(name="own", max_fetch_bytes=largest)
    assert largest < MOST_VALUE_BYTES
    assert 3 * largest < MOST_BYTES  # a number of three characters takes nine bytes in a message

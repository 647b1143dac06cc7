"""The python source: how a class is found, and what it may return."""

from __future__ import annotations

import asyncio
import sys
import threading
import types

import pytest
from pydantic import ValidationError

from actors.core.errors import ConfigError, SourceError, SourceUnavailableError
from actors.core.messages.tasks import Item, Task
from actors.sources.python import PythonSettings

TASK = Task("k", {"n": 1})


@pytest.fixture
def mine(monkeypatch):
    """A module that a test fills, as a user would."""
    module = types.ModuleType("mine_for_a_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def settings(target: str = "mine_for_a_test:Mine", **options) -> PythonSettings:
    return PythonSettings(name="own", kind="python", target=target, **options)


def source_of(mine, fetch, **options):
    mine.Mine = type("Mine", (), {"fetch": fetch})
    return settings(**options).build()


async def coroutine(self, task):
    return [
        {"id": 1, "text": task.key},
        "plain",
        Item("x:2", "x", "made", {"f": 1}),
        Item("own:3", "own", "named"),
    ]


async def asynchronous_generator(self, task):
    for value in await coroutine(self, task):
        yield value


def plain_function(self, task):
    return (value for value in [{"id": 1, "text": task.key}, "plain", Item("x:2", "x", "made", {"f": 1})])


@pytest.mark.parametrize("fetch", [coroutine, asynchronous_generator, plain_function])
async def test_items_mappings_and_strings_become_items_of_this_source(mine, fetch):
    items = await source_of(mine, fetch).fetch(TASK)

    assert items[:3] == (
        Item("own:1", "own", "k"),
        Item("own:1#1", "own", "plain"),  # its position is 1 too, and an id comes once
        Item("own:x:2", "own", "made", {"f": 1}),
    )


async def test_an_items_own_id_is_kept(mine):
    assert (await source_of(mine, coroutine).fetch(TASK))[3] == Item("own:3", "own", "named")


async def test_a_plain_function_runs_beside_the_loop(mine):
    threads = []
    await source_of(mine, lambda self, task: threads.append(threading.get_ident()) or []).fetch(TASK)

    assert threads != [threading.get_ident()]


async def test_a_plain_function_may_return_something_to_wait_for(mine):
    def later(self, task):
        return coroutine(self, task)

    assert len(await source_of(mine, later).fetch(TASK)) == 4


async def test_options_reach_the_class(mine):
    class Mine:
        def __init__(self, word):
            self.word = word

        async def fetch(self, task):
            return [self.word]

    mine.Mine = Mine
    assert (await settings(options={"word": "hi"}).build().fetch(TASK))[0].text == "hi"


@pytest.mark.parametrize("value", [None, "text", {"text": "t"}, 5])
async def test_what_is_no_list_is_refused(mine, value):
    with pytest.raises(SourceError, match=f"returned {type(value).__name__}; it must return a list"):
        await source_of(mine, lambda self, task: value).fetch(TASK)


async def test_an_endless_source_is_an_error(mine):
    def endless(self, task):
        while True:
            yield "more"

    with pytest.raises(SourceError, match="more than max_items = 3"):
        await source_of(mine, endless, max_items=3).fetch(TASK)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("odd"), SourceError),
        (ConnectionResetError("gone"), SourceUnavailableError),
        (TimeoutError("late"), SourceUnavailableError),
    ],
)
async def test_an_error_of_the_class_says_where_it_came_from(mine, error, kind):
    async def fail(self, task):
        raise error

    with pytest.raises(SourceError, match=f"mine_for_a_test:Mine.*{type(error).__name__}: {error}") as caught:
        await source_of(mine, fail).fetch(TASK)
    assert type(caught.value) is kind


async def test_errors_of_this_package_pass_as_they_are(mine):
    async def fail(self, task):
        raise SourceUnavailableError("later", 7.0)

    with pytest.raises(SourceUnavailableError) as caught:
        await source_of(mine, fail).fetch(TASK)
    assert caught.value.retry_after_s == 7.0


def _close(closed):
    return lambda self: closed.append("plain")


async def _fetch_nothing(self, task):
    return []


async def test_closing_closes_the_class_whichever_way_it_does_it(mine):
    closed = []

    async def close(self):
        closed.append("coroutine")

    for way in (_close(closed), close):
        mine.Mine = type("Mine", (), {"fetch": _fetch_nothing, "close": way})
        await settings().build().close()
    assert closed == ["plain", "coroutine"]


async def test_closing_ends_the_tasks_that_the_class_started(mine):
    ended = []

    async def wait():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def fetch(self, task):
        self.task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        return []

    source = source_of(mine, fetch)
    await source.fetch(TASK)
    await source.close()
    assert ended == ["cancelled"]


async def test_a_class_needs_no_close(mine):
    await source_of(mine, _fetch_nothing).close()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_module.at_all:X", "the import path has no module 'no_such_module'"),
        ("mine_for_a_test:Other", "has no 'Other'; it has: Empty, NotAClass, Strict"),
        ("mine_for_a_test:NotAClass", "is int, not a class"),
        ("mine_for_a_test:Empty", r"has no method fetch\(task\)"),
        ("mine_for_a_test:Strict", "raised TypeError"),
    ],
)
def test_a_class_that_cannot_be_used_is_a_configuration_error(mine, target, message):
    mine.Empty = type("Empty", (), {})
    mine.NotAClass = 5
    mine.Strict = type("Strict", (), {"__init__": lambda self, needed: None})

    with pytest.raises(ConfigError, match=message):
        settings(target).build()


@pytest.mark.parametrize("target", ["module", "module:", ":X", "a b:X", "a:X()", "../a:X"])
def test_a_target_is_a_module_and_a_name(target):
    with pytest.raises(ValidationError):
        settings(target)

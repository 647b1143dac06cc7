"""Code of one source blocks, hangs and raises on threads of its own: no other source and no actor notices."""

from __future__ import annotations

import asyncio
import sys
import threading
import types

import pytest

from actors.core.errors import Blame, FailureKind
from actors.core.messages.tasks import Fetch, Item, Task
from actors.sources.actor import GuardedSource
from actors.sources.base import SourceSettings
from actors.sources.files.source import FilesSettings
from actors.sources.python import PythonSettings
from tests.unit.support.leaping_loop import run_leaping

WITHIN_S = 20


class CustomError(BaseException):
    """An exception that `except Exception` does not catch."""


@pytest.fixture
def gate():
    """Opens when the test ends: what hangs hangs until then."""
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture
def guard(monkeypatch):
    """Return a function that builds the source actor of a class with the given methods."""
    module = types.ModuleType("mine_for_a_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def made(name, *, timeout_s=WITHIN_S, concurrency=4, **methods):
        setattr(module, name, type(name, (), methods))
        settings = PythonSettings(
            name=name,
            kind="python",
            target=f"{module.__name__}:{name}",
            timeout_s=timeout_s,
            concurrency=concurrency,
            retries=0,
        )
        return GuardedSource(settings)

    return made


async def ask(guarded, key="k"):
    answered = asyncio.get_running_loop().create_future()
    guarded._on_item(Fetch(Task(key), 60.0), answered.set_result)
    async with asyncio.timeout(WITHIN_S):
        return await answered


def texts(fetched):
    return [item.text for item in fetched.items]


async def test_a_constructor_that_hangs_fails_the_source_with_its_name(guard, gate, monkeypatch):
    monkeypatch.setattr("actors.sources.python._MADE_WITHIN_S", 0.01, raising=False)

    def hang(self):
        gate.wait(2.0)

    fetched = await ask(guard("Hanging", __init__=hang, fetch=lambda self, task: []))
    assert fetched.error.blame is Blame.CONFIG
    assert "Hanging was not imported and instantiated within" in fetched.error.message


async def test_a_coroutine_that_blocks_its_thread_leaves_the_event_loop_free(guard, gate):
    began = threading.Semaphore(0)

    async def fetch(self, task):
        began.release()
        assert gate.wait(WITHIN_S)  # opened below: on the loop of the actors nothing could open it
        return ["text"]

    asking = asyncio.create_task(ask(guard("Blocking", fetch=fetch)))
    assert await asyncio.to_thread(began.acquire, timeout=WITHIN_S)
    gate.set()
    assert texts(await asking) == ["text"]


async def test_a_source_whose_threads_all_hang_delays_no_other_source(guard, gate, tmp_path):
    hangs = threading.Semaphore(0)

    def hang(self, task):
        hangs.release()
        assert gate.wait(WITHIN_S)
        return []

    (tmp_path / "k.txt").write_text("of a file")
    hung = guard("Hung", fetch=hang, concurrency=40)
    asking = [asyncio.create_task(ask(hung)) for _ in range(40)]
    for _ in range(40):
        assert await asyncio.to_thread(hangs.acquire, timeout=WITHIN_S)
    files = FilesSettings(name="f", kind="files", path=f"{tmp_path}/{{key}}.txt", timeout_s=WITHIN_S)
    assert texts(await ask(GuardedSource(files))) == ["of a file"]
    assert texts(await ask(guard("Good", fetch=lambda self, task: ["good"]))) == ["good"]
    gate.set()
    await asyncio.gather(*asking)


class Turns:
    """Threads that are free only after a while."""

    most, bound = 1, "concurrency"

    async def free(self):
        await asyncio.sleep(0.9)


class Waiting:
    threads = Turns()

    async def fetch(self, task):
        await asyncio.sleep(0.9)
        return [Item("w:0", "w", "in time")]

    async def close(self):
        pass


class WaitingSettings(SourceSettings):
    def build(self):
        return Waiting()


def test_a_time_out_begins_when_the_source_has_a_thread():
    async def main():
        loop = asyncio.get_running_loop()
        return await ask(GuardedSource(WaitingSettings(name="w", timeout_s=1.0, retries=0), clock=loop.time))

    assert texts(run_leaping(main())) == ["in time"]


async def test_a_fetch_that_timed_out_keeps_its_thread_and_the_next_waits_for_it(guard, gate):
    def fetch(self, task):
        if task.key == "first":
            assert gate.wait(WITHIN_S)
        return [task.key]

    guarded = guard("Slow", fetch=fetch, concurrency=1, timeout_s=0.3)
    first = await ask(guarded, "first")
    assert "no answer within 0.3 s" in first.error.message
    second = await ask(guarded, "second")
    assert "no thread was free within 0.3 s" in second.error.message
    assert "sources.Slow.concurrency" in second.error.message
    gate.set()
    await guarded._source.threads.free()
    assert texts(await ask(guarded, "third")) == ["third"]


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt, CustomError, GeneratorExit, SystemExit, StopIteration],
)
@pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "coroutine"])
async def test_an_exception_of_any_class_fails_its_fetch_only(guard, error, is_plain):
    def plain(self, task):
        if task.key == "bad":
            raise error("mine")
        return ["good"]

    async def coroutine(self, task):
        return plain(self, task)

    guarded = guard("Raising", fetch=plain if is_plain else coroutine)
    failure = (await ask(guarded, "bad")).error
    assert (failure.kind, failure.blame) == (FailureKind.PERMANENT, Blame.SOURCE)
    assert error.__name__ in failure.message
    assert texts(await ask(guarded, "good")) == ["good"]


async def test_a_background_task_that_raises_does_not_end_the_loop_of_its_source(guard):
    async def leave():
        raise SystemExit(3)

    async def fetch(self, task):
        if task.key == "bad":
            self.left = asyncio.get_running_loop().create_task(leave())
            await asyncio.wait([self.left])
        return ["good"]

    guarded = guard("Leaving", fetch=fetch)
    assert texts(await ask(guarded, "bad")) == ["good"]
    assert texts(await ask(guarded, "good")) == ["good"]


@pytest.mark.parametrize("error", [KeyboardInterrupt("mine"), CustomError("mine"), StopIteration("mine")])
async def test_a_class_that_raises_anything_when_it_is_made_is_a_configuration_error(guard, error):
    def refuse(self):
        raise error

    guarded = guard("Stillborn", __init__=refuse, fetch=lambda self, task: [])
    failure = (await ask(guarded)).error
    assert failure.blame is Blame.CONFIG
    assert type(error).__name__ in failure.message


@pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "coroutine"])
async def test_items_are_made_in_a_thread_of_the_source(guard, is_plain):
    converted = []

    class Odd:
        def __str__(self):
            converted.append(threading.get_ident())
            return "odd"

    def plain(self, task):
        return [{"text": "t", "odd": Odd()}]

    async def coroutine(self, task):
        return plain(self, task)

    fetched = await ask(guard("Converting", fetch=plain if is_plain else coroutine))
    assert fetched.items[0].fields == {"odd": "odd"}
    assert converted
    assert threading.get_ident() not in converted


async def test_an_item_of_too_many_characters_fails_alone_before_it_is_looked_at(guard):
    looked_at = []

    class Huge(str):
        __slots__ = ()

        def __str__(self):
            looked_at.append("converted")
            return "x"

        def isascii(self):
            looked_at.append("searched")
            return True

    def fetch(self, task):
        huge = Huge("x" * 3_000_000)
        return [huge, {"id": 7, "text": huge}, {"text": "t", "more": huge}, "small"]

    *large, small = (await ask(guard("Generous", fetch=fetch))).items
    assert [item.error.blame for item in large] == [Blame.LIMIT] * 3
    assert "3,000,000 bytes, more than max_item_bytes" in large[0].error.message
    assert [item.id for item in large] == ["Generous:0", "Generous:7", "Generous:2"]
    assert small.text == "small"
    assert looked_at == []

"""The Python source: calls a class of the user, named by its import path.

The class is instantiated once, as ``Class(**options)``. Its ``fetch(task)`` returns items, mappings or
strings, and may be a coroutine function, an asynchronous generator function or a plain function.
``close()`` is optional.

No code of the class runs on the event loop of the actors, which it could block. Up to `concurrency` threads
call a plain ``fetch`` at once. All other code runs on an event loop in a thread of this source.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from actors.core.errors import ConfigError, SourceError, SourceUnavailableError
from actors.core.messages.tasks import Item, Task
from actors.runtime.threads import SourceLoop, SourceThreads
from actors.runtime.user_modules import IMPORT_PATH, from_working_directory, imported
from actors.sources.base import SourceSettings
from actors.sources.items import make_items
from actors.sources.records import Oversize, Record, to_record

# Less than the time in which every actor must be ready on Ray: the error then names the source's class.
_MADE_WITHIN_S = 100.0


class PythonSettings(SourceSettings):
    """The settings of a Python source. Only the configuration may name a class, since importing runs code."""

    model_config = ConfigDict(hide_input_in_errors=True)

    kind: Literal["python"]
    target: Annotated[
        str,
        Field(pattern=IMPORT_PATH),
        Field(description="package.module:Class"),
    ]
    options: Mapping[str, Any] = Field(
        default_factory=dict, repr=False, description="keyword arguments of the class"
    )

    def build(self) -> PythonSource:
        """Import and instantiate the class. Raises `ConfigError` with the step that failed."""
        loop = SourceLoop(self.name)
        try:
            made = loop.call(functools.partial(_make, self.target, self.options), _MADE_WITHIN_S)
        except TimeoutError as error:
            text = f"{self.target} was not imported and instantiated within {_MADE_WITHIN_S:g} s"
            raise ConfigError(f"{text}: do slow work in fetch(task)") from error
        if not callable(getattr(made, "fetch", None)):
            raise ConfigError(f"{self.target} has no method fetch(task)")
        return PythonSource(self, made, loop)


class PythonSource:
    """Calls the class of the user, and converts the results to items, all on threads of this source.

    Raises a `SourceError` of the class unchanged, `SourceUnavailableError` for ConnectionError and
    TimeoutError, and `SourceError` with the type and the text of any other error.
    """

    def __init__(self, settings: PythonSettings, made: Any, loop: SourceLoop) -> None:
        self.threads = SourceThreads(settings.name, settings.concurrency)
        self._loop = loop
        self._settings = settings
        self._made = made
        fetch = made.fetch
        self._is_plain = not (inspect.iscoroutinefunction(fetch) or inspect.isasyncgenfunction(fetch))

    async def fetch(self, task: Task) -> Sequence[Item]:
        """Return the items of `task`."""
        if not self._is_plain:
            return await self._loop.run(self._awaited(task))
        given = await self.threads.run(self._called, task)
        return given if isinstance(given, tuple) else await self._loop.run(self._awaited(given))

    async def close(self) -> None:
        """Call ``close`` of the class if it has one."""
        close = getattr(self._made, "close", None)
        try:
            await self._loop.run(_closed(close))
        finally:
            self.threads.close()
            self._loop.close()

    def _called(self, task: Task) -> tuple[Item, ...] | Awaitable[Any]:
        """Call a plain ``fetch`` and return its items, or the awaitable that it returns."""
        try:
            given = self._made.fetch(task)
            return given if inspect.isawaitable(given) else self._items(given)
        except Exception as error:
            raise self._translated(error) from error

    async def _awaited(self, asked: Task | Awaitable[Any]) -> tuple[Item, ...]:
        """Return the items of a task, or those of the awaitable that a plain ``fetch`` returned."""
        try:
            given = self._made.fetch(asked) if isinstance(asked, Task) else asked
            if isinstance(given, AsyncIterator):
                return self._items(await _gathered(given, self._settings.max_items + 1))
            return self._items(await given)
        except Exception as error:
            raise self._translated(error) from error

    def _items(self, given: Any) -> tuple[Item, ...]:
        settings = self._settings
        values = _listed(given, settings.max_items + 1)
        return make_items(settings, (self._record(value, n) for n, value in enumerate(values)))

    def _record(self, value: Any, position: int) -> Record | Oversize:
        if isinstance(value, Item):
            # Without the name of the source, which `make_items` adds.
            own_id = value.id.removeprefix(f"{self._settings.name}:")
            value = {**value.fields, "id": own_id, "text": value.text}
        size = _least_size(value)
        if size > self._settings.max_item_bytes:
            # Converting and encoding gigabytes would hold the interpreter's lock for seconds.
            named = value.get("id", position) if isinstance(value, Mapping) else position
            return Oversize(str(named), size)
        return to_record(value, text=None, where=f"{self._settings.target}: item {position}")

    def _translated(self, error: BaseException) -> SourceError:
        if isinstance(error, SourceError):
            return error
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, ConnectionError | TimeoutError):
            return SourceUnavailableError(f"{self._settings.target}: {text}")
        return SourceError(f"{self._settings.target} raised {text}")


async def _closed(close: Any) -> None:
    if close is not None:
        ended = close()
        if inspect.isawaitable(ended):
            await ended
    # Tasks that the class started: they would be destroyed while they wait, each with a warning.
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _least_size(value: Any) -> int:
    """Return a lower bound of the size of `value`, in constant time for each of its strings."""
    values = value.values() if isinstance(value, Mapping) else (value,)
    return sum(len(each) for each in values if isinstance(each, str | bytes | bytearray))


def _listed(given: Any, most: int) -> list[Any]:
    # Strings and mappings are iterable too, but their characters and names are no items.
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
        raise SourceError(f"fetch returned {type(given).__name__}; it must return a list of items")
    return list(islice(given, most))


async def _gathered(given: AsyncIterator[Any], most: int) -> list[Any]:
    values: list[Any] = []
    async for value in given:
        values.append(value)
        if len(values) == most:
            break
    return values


def _make(target: str, options: Mapping[str, Any]) -> Any:
    factory = imported(target)
    if not callable(factory):
        raise ConfigError(f"{target} is {type(factory).__name__}, not a class")
    try:
        with from_working_directory():  # the constructor may import modules too
            return factory(**options)
    except BaseException as error:
        raise ConfigError(f"{target}(**options) raised {type(error).__name__}: {error}") from error

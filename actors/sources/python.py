"""A class of the user's own as a source, named by its import path.

The class is made once, as ``Class(**options)``. Its ``fetch(task)`` returns items, mappings or strings, and
may be a coroutine function, an asynchronous generator, or a plain function. A plain one runs in a thread,
so that it may block; several threads run it at once, unless `concurrency` is 1. ``close()`` is optional.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from actors.core.errors import ConfigError, SourceError, SourceUnavailableError
from actors.core.messages.tasks import Item, Task
from actors.sources.base import SourceSettings
from actors.sources.items import make_items
from actors.sources.records import Record, listed, to_record


class PythonSettings(SourceSettings):
    """A source written in Python. Only configuration can name one: importing runs code."""

    model_config = ConfigDict(hide_input_in_errors=True)

    kind: Literal["python"]
    target: Annotated[
        str,
        Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"),
        Field(description="package.module:Class"),
    ]
    options: Mapping[str, Any] = Field(
        default_factory=dict, repr=False, description="keyword arguments of the class"
    )

    def build(self) -> PythonSource:
        """Import the class and make it. Raises `ConfigError` that says which step failed."""
        made = _make(self.target, self.options)
        if not callable(getattr(made, "fetch", None)):
            raise ConfigError(f"{self.target} has no method fetch(task)")
        return PythonSource(self, made)


class PythonSource:
    """Calls the user's class, and makes items of what it returns.

    Errors of this package pass as they are; ConnectionError and TimeoutError may pass by themselves; any
    other is the source's `SourceError`, with its type and text.
    """

    def __init__(self, settings: PythonSettings, made: Any) -> None:
        self._settings = settings
        self._made = made

    async def fetch(self, task: Task) -> Sequence[Item]:
        """Return what the class has about `task`."""
        settings = self._settings
        most = settings.max_items
        try:
            values = await _call(self._made.fetch, task, most + 1)
        except SourceError:
            raise
        except (ConnectionError, TimeoutError) as error:
            raise SourceUnavailableError(f"{settings.target}: {type(error).__name__}: {error}") from error
        except Exception as error:
            raise SourceError(f"{settings.target} raised {type(error).__name__}: {error}") from error
        where = settings.target
        return make_items(
            settings, (self._record(value, f"{where}: item {n}") for n, value in enumerate(values))
        )

    async def close(self) -> None:
        """Call the class's own ``close``, where it has one."""
        close = getattr(self._made, "close", None)
        if close is not None:
            ended = close() if inspect.iscoroutinefunction(close) else await asyncio.to_thread(close)
            if inspect.isawaitable(ended):
                await ended

    def _record(self, value: Any, where: str) -> Record:
        if isinstance(value, Item):
            # Its id is made to begin with this source's name, whatever the class called itself.
            own_id = value.id.removeprefix(f"{self._settings.name}:")
            value = {**value.fields, "id": own_id, "text": value.text}
        return to_record(value, text=None, where=where)


async def _call(fetch: Any, task: Task, most: int) -> list[Any]:
    """Return at most `most` of what `fetch` gives, in whichever way it gives it."""
    if inspect.iscoroutinefunction(fetch):
        return _listed(await fetch(task), most)
    if inspect.isasyncgenfunction(fetch):
        return await _gathered(fetch(task), most)
    given = await asyncio.to_thread(lambda: _pulled(fetch(task), most))
    return _listed(await given, most) if inspect.isawaitable(given) else given


def _pulled(given: Any, most: int) -> Any:
    """Make a list while still in the thread: a generator does its work when it is asked."""
    return given if inspect.isawaitable(given) else _listed(given, most)


def _listed(given: Any, most: int) -> list[Any]:
    # A string and a mapping can be iterated as well, into characters and names that nobody meant as items.
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
    module_name, _, path = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{target}: there is no module {error.name!r} on the import path") from error
    except Exception as error:
        raise ConfigError(
            f"{target}: importing {module_name} raised {type(error).__name__}: {error}"
        ) from error
    try:
        factory = functools.reduce(getattr, path.split("."), module)
    except AttributeError:
        public = listed(name for name in vars(module) if not name.startswith("_"))
        raise ConfigError(f"{target}: module {module_name} has no {path!r}; it has: {public}") from None
    if not callable(factory):
        raise ConfigError(f"{target} is {type(factory).__name__}, not a class")
    try:
        return factory(**options)
    except Exception as error:
        raise ConfigError(f"{target}(**options) raised {type(error).__name__}: {error}") from error

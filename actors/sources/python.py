"""The Python source: calls a class of the user, named by its import path.

The class is instantiated once, as ``Class(**options)``. Its ``fetch(task)`` returns items, mappings or
strings, and may be a coroutine function, an asynchronous generator function or a plain function. A plain
function runs in a thread, so it may block. Several threads call it at once unless `concurrency` is 1.
``close()`` is optional.
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
    """The settings of a Python source. Only the configuration may name a class, since importing runs code."""

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
        """Import and instantiate the class. Raises `ConfigError` with the step that failed."""
        made = _make(self.target, self.options)
        if not callable(getattr(made, "fetch", None)):
            raise ConfigError(f"{self.target} has no method fetch(task)")
        return PythonSource(self, made)


class PythonSource:
    """Calls the class of the user, and converts the results to items.

    Raises a `SourceError` of the class unchanged, `SourceUnavailableError` for ConnectionError and
    TimeoutError, and `SourceError` with the type and the text of any other error.
    """

    def __init__(self, settings: PythonSettings, made: Any) -> None:
        self._settings = settings
        self._made = made

    async def fetch(self, task: Task) -> Sequence[Item]:
        """Return the items of `task`."""
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
        """Call ``close`` of the class if it has one."""
        close = getattr(self._made, "close", None)
        if close is not None:
            ended = close() if inspect.iscoroutinefunction(close) else await asyncio.to_thread(close)
            if inspect.isawaitable(ended):
                await ended

    def _record(self, value: Any, where: str) -> Record:
        if isinstance(value, Item):
            # Without the name of the source, which `make_items` adds.
            own_id = value.id.removeprefix(f"{self._settings.name}:")
            value = {**value.fields, "id": own_id, "text": value.text}
        return to_record(value, text=None, where=where)


async def _call(fetch: Any, task: Task, most: int) -> list[Any]:
    """Return at most `most` results of any kind of `fetch`."""
    if inspect.iscoroutinefunction(fetch):
        return _listed(await fetch(task), most)
    if inspect.isasyncgenfunction(fetch):
        return await _gathered(fetch(task), most)
    given = await asyncio.to_thread(lambda: _pulled(fetch(task), most))
    return _listed(await given, most) if inspect.isawaitable(given) else given


def _pulled(given: Any, most: int) -> Any:
    """Return the list of results, or an awaitable. Runs in the thread, because a generator may block."""
    return given if inspect.isawaitable(given) else _listed(given, most)


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
    module_name, _, path = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{target}: the import path has no module {error.name!r}") from error
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

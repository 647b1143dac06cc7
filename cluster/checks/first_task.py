"""Tries the sources on the first task where that costs little: local files, databases, Python classes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from actors.core.errors import ConfigError, HeadraceError, SourceUnavailableError, text_of
from actors.core.messages.tasks import Task
from actors.sources.base import Source
from actors.sources.files.source import FilesSettings, protocol_of
from actors.sources.python import PythonSettings
from actors.sources.sql.settings import SqlSettings
from cluster.config.model import AnySource, HeadraceConfig

_WITHIN_S = 10.0  # for one source


async def try_sources(config: HeadraceConfig, task: Task) -> list[str]:
    """Return what the sources have about `task`, a line each. Raises `ConfigError` with all their problems.

    A class of the user is imported and made, and not called. Remote files and HTTP are left alone.
    """
    lines: list[str] = []
    problems: list[str] = []
    for index, source in enumerate(config.sources):
        if not _is_near(source):
            continue
        try:
            async with asyncio.timeout(_WITHIN_S):
                found = await _tried(source, task)
        except (SourceUnavailableError, TimeoutError) as error:
            found = f"no answer for now: {text_of(error) or f'nothing within {_WITHIN_S:g} s'}"
        except HeadraceError as error:
            problems.append(f"sources.{index} ({source.name}): {text_of(error)}")
            continue
        lines.append(f"source {source.name}: {found}")
    if problems:
        raise ConfigError("\n".join(problems))
    return lines


def _is_near(source: AnySource) -> bool:
    if isinstance(source, FilesSettings):
        return not protocol_of(source.path)
    return isinstance(source, SqlSettings | PythonSettings)


async def _tried(source: AnySource, task: Task) -> str:
    build: Callable[[], Source] = source.build
    made = await asyncio.to_thread(build)  # code of the user may take long
    try:
        if isinstance(source, PythonSettings):
            return f"{source.target} was imported and made"
        items = await made.fetch(task)
    finally:
        await made.close()
    return f"{len(items):,} items about the first task, {task.key}"

"""Paths to the values inside nested mappings and lists, and walks over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from actors.core.messages.values import Json

KeyPath = tuple[str | int, ...]


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the path and the value of every scalar in `value`, which stands at `path`."""
    if isinstance(value, Mapping | list | tuple):
        for step, child in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from leaves(child, (*path, step))
    else:
        yield path, value


def mapped(value: Json, change: Callable[[KeyPath, Json], Json], path: KeyPath = ()) -> Json:
    """Return a copy of `value`, which stands at `path`, with `change` applied to every scalar."""
    if isinstance(value, dict):
        return {key: mapped(child, change, (*path, key)) for key, child in value.items()}
    if isinstance(value, list):
        return [mapped(child, change, (*path, index)) for index, child in enumerate(value)]
    return change(path, value)


def value_at(value: Json, path: KeyPath) -> Json:
    """Return the value at `path` below `value`, None if there is none."""
    for step in path:
        known = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
        if step not in known:
            return None
        value = value[step]
    return value

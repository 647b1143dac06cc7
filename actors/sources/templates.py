"""Templates: ``{key}`` and a task's params by name, put into URLs, paths and the like.

Rule 1: a template names values and does nothing else. Attributes, indexes, conversions and format
specifications are refused, because ``{key.__class__}`` reaches into the program.
Rule 2: every value is escaped by the place it stands in; who expands says how.
Rule 3: the template is trusted (it is configuration), the values are not (they come with the task).
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from functools import lru_cache
from glob import escape as escape_wildcards
from urllib.parse import quote

from actors.core.errors import SourceError
from actors.core.messages.tasks import Task
from actors.core.messages.values import Json

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

Escape = Callable[[str, str], str]
"""Given a value and its name, return the value as it may stand in the text, or raise `SourceError`."""

Part = tuple[str, str | None]
"""Literal text, and the name of the value that follows it, None at the end."""


@lru_cache(maxsize=1024)
def parse(template: str) -> tuple[Part, ...]:
    """Return the parts of `template`, in order. ``{{`` and ``}}`` stand for braces.

    Raises ValueError where braces do not match or hold anything but a name, so that a settings class can
    check its templates by parsing them.
    """
    parts: list[Part] = []
    for literal, name, spec, conversion in string.Formatter().parse(template):
        if name is not None and (spec or conversion or not _NAME.fullmatch(name)):
            raise ValueError(
                f"a template takes plain names such as {{key}}; write {{{{ and }}}} for braces: "
                f"{_written(name, spec, conversion)} is not one"
            )
        parts.append((literal, name))
    return tuple(parts)


def names(template: str) -> frozenset[str]:
    """Return the names of the values that `template` asks for. Raises ValueError as `parse` does."""
    return frozenset(name for _, name in parse(template) if name is not None)


def expand(template: str, task: Task, escape: Escape) -> str:
    """Return `template` with the values of `task`, each passed through `escape`.

    Raises `SourceError` where the task has no such value, or one that is not text, number or boolean.
    """
    return "".join(
        literal if name is None else literal + escape(_value(task, name), name)
        for literal, name in parse(template)
    )


def expand_path(template: str, task: Task) -> str:
    """Return `template`, a file path, with the values of `task`, each passed through `escape_path`.

    Raises `SourceError` as `expand` does, and where a value makes a hidden name: patterns do not match those.
    """
    path = ""
    for literal, name in parse(template):
        path += literal
        if name is not None:
            value = escape_path(_value(task, name), name)
            if value.startswith(".") and (not path or path.endswith("/")):
                raise SourceError(f"{{{name}}} is {value[:80]!r}: it would name a hidden file or folder")
            path += value
    return path


def escape_url_segment(value: str, name: str) -> str:
    """Escape for one segment of a URL's path. An empty one is refused: it would ask for the collection."""
    if not value:
        raise SourceError(f"{{{name}}} is empty and stands in the path of a URL")
    return escape_url_query(value, name)


def escape_url_query(value: str, name: str) -> str:
    """Escape for a value in a URL's query."""
    _refuse_nul(value, name)
    _refuse_half_characters(value, name)
    return quote(value, safe="")


def escape_path(value: str, name: str) -> str:
    """Escape for a file path: wildcards stand for themselves, and no value leads elsewhere.

    Separators are allowed, since a value may name a file in a folder.
    """
    _refuse_nul(value, name)
    _refuse_half_characters(value, name)
    first, *below = value.split("/")
    if first in ("", ".", "..") or any(segment.startswith(".") for segment in below):
        raise SourceError(
            f"{{{name}}} is {value[:80]!r}: empty, absolute, upward and hidden values cannot stand in a path"
        )
    return escape_wildcards(value)


def _value(task: Task, name: str) -> str:
    if name == "key":
        return task.key
    try:
        value: Json = task.params[name]
    except KeyError:
        known = ", ".join(sorted({"key", *task.params}))
        raise SourceError(f"the task has no value {name!r}; it has: {known}") from None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise SourceError(
        f"param {name!r} is {type(value).__name__}; a template takes text, numbers and booleans"
    )


def _refuse_nul(value: str, name: str) -> None:
    # A NUL ends the text for much of what stands below, which would then see another value than was checked.
    if "\0" in value:
        raise SourceError(f"{{{name}}} holds a NUL character")


def _refuse_half_characters(value: str, name: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SourceError(f"{{{name}}} holds half of a character") from None


def _written(name: str, spec: str | None, conversion: str | None) -> str:
    return "{" + name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"

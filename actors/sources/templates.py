"""Templates: insert ``{key}`` and the params of a task into URLs and paths.

Rule 1: A template only names values. Attributes, indexes, conversions and format specifications are refused,
    because ``{key.__class__}`` would give access to the program.
Rule 2: Each value is escaped for its place. The caller passes the escape function.
Rule 3: The template is trusted, because it is configuration. The values are not, because they come with the
    task.
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
"""Takes a value and its name, and returns the escaped value. Raises `SourceError`."""

Part = tuple[str, str | None]
"""Literal text, and the name of the value after it, None at the end."""


@lru_cache(maxsize=1024)
def parse(template: str) -> tuple[Part, ...]:
    """Return the parts of `template` in order. ``{{`` and ``}}`` are escaped braces.

    Raises ValueError if braces do not match or contain anything but a name, so that a settings class can
    validate its templates by parsing them.
    """
    parts: list[Part] = []
    for literal, name, spec, conversion in string.Formatter().parse(template):
        if name is not None and (spec or conversion or not _NAME.fullmatch(name)):
            raise ValueError(
                f"{_written(name, spec, conversion)} is not a plain name such as {{key}}; escape braces as "
                "{{ and }}"
            )
        parts.append((literal, name))
    return tuple(parts)


def names(template: str) -> frozenset[str]:
    """Return the names of the values in `template`. Raises ValueError like `parse`."""
    return frozenset(name for _, name in parse(template) if name is not None)


def expand(template: str, task: Task, escape: Escape) -> str:
    """Return `template` with the values of `task`, each passed through `escape`.

    Raises `SourceError` if the task lacks a value, or if it is not text, a number or a boolean.
    """
    return "".join(
        literal if name is None else literal + escape(_value(task, name), name)
        for literal, name in parse(template)
    )


def expand_path(template: str, task: Task) -> str:
    """Return `template`, a file path, with the values of `task`, each passed through `escape_path`.

    Raises `SourceError` like `expand`, and if a value results in a hidden name, which patterns do not match.
    """
    path = ""
    for literal, name in parse(template):
        path += literal
        if name is not None:
            value = escape_path(_value(task, name), name)
            if value.startswith(".") and (not path or path.endswith("/")):
                raise SourceError(f"{{{name}}} is {value[:80]!r}, which would name a hidden file or folder")
            path += value
    return path


def escape_url_segment(value: str, name: str) -> str:
    """Escape for a segment of a URL's path. Refuses an empty value, which would request the collection."""
    if not value:
        raise SourceError(f"{{{name}}} is empty, but is part of the path of a URL")
    return escape_url_query(value, name)


def escape_url_query(value: str, name: str) -> str:
    """Escape for a value in a URL's query."""
    _refuse_nul(value, name)
    _refuse_half_characters(value, name)
    return quote(value, safe="")


def escape_path(value: str, name: str) -> str:
    """Escape the wildcards of a value for a file path. Refuses a value that leads out of its folder.

    Allows separators, since a value may name a file in a folder.
    """
    _refuse_nul(value, name)
    _refuse_half_characters(value, name)
    first, *below = value.split("/")
    if first in ("", ".", "..") or any(segment.startswith(".") for segment in below):
        raise SourceError(
            f"{{{name}}} is {value[:80]!r}: empty, absolute, upward and hidden values are not allowed"
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
        f"param {name!r} is {type(value).__name__}; a template accepts text, numbers and booleans"
    )


def _refuse_nul(value: str, name: str) -> None:
    # A NUL ends a string for many libraries, which would then use another value than the checked one.
    if "\0" in value:
        raise SourceError(f"{{{name}}} contains a NUL character")


def _refuse_half_characters(value: str, name: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SourceError(f"{{{name}}} contains half of a character (a lone surrogate)") from None


def _written(name: str, spec: str | None, conversion: str | None) -> str:
    return "{" + name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"

"""Compiles templates of prompts and fills them with values.

``{name}`` is a placeholder. The value of ``{name?}`` may be null or missing. ``{step.field}`` stands for a
field of an earlier step, and ``{First name}`` for a column of that name. ``{{`` and ``}}`` are literal
braces. Other braces, such as those of JSON, are text.

Rule 1: a value is inserted once and not expanded again.
Rule 2: braces that look like a placeholder and name nothing are an error. Sent as text, a misspelt name would
make all answers worthless.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import re
import uuid
from collections.abc import Collection, Mapping

from msgspec import Struct

from actors.core.messages.values import Json
from actors.core.task.field_names import suggestion

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}\n]{1,200})\}|[{}]")
_NAME = re.compile(r"\s*[^\W\d][\w .-]*\??\s*")
# What Python's format strings allow after a name: a conversion, a format or an index.
_FORMATTED = re.compile(r"([^\W\d][\w.-]*)(?:![rsa]|:[^\s\"':!\[\]]{0,12}|\[[^\[\]]*\])+")
_DOUBLED = re.compile(r"\{\{ ?([^\W\d][\w.-]*(?: [\w.-]+)*) ?\}\}")
_PLAIN = (dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID)


class NullValueError(ValueError):
    """A placeholder has no value. The message is ``null in NAME``."""


class Placeholder(Struct, frozen=True):
    """Braces in a template, and what they name.

    content: what is between the braces. A value with this very name takes precedence, as that of the column
    "Is it good?". name: `content` without the mark of an optional value. at: the position of the braces.
    is_name: whether they look like a placeholder. Others are text unless a value has exactly this name.
    """

    content: str
    name: str
    at: int
    is_optional: bool
    is_name: bool


class Template(Struct, frozen=True):
    """A text with placeholders, made by `compile_template`. `names` lists theirs in order, each once."""

    text: str
    names: tuple[str, ...]
    _parts: tuple[tuple[str, Placeholder], ...]  # pairs of a literal and the placeholder after it
    _end: str

    def fill(self, values: Mapping[str, Json], *, null: str | None = None) -> str:
        """Return the text with `values` in place of the placeholders. Values other than text become JSON.

        `null` is written for null; without it, null raises NullValueError. Raises ValueError if a name has no
        value, or its value is not JSON.
        """
        pieces: list[str] = []
        for literal, placeholder in self._parts:
            value = values.get(placeholder.content, _MISSING)
            written = value if isinstance(value, str) else _text_of(placeholder, value, values, null)
            pieces += literal, written
        pieces.append(self._end)
        filled = "".join(pieces)
        # A lone surrogate, which JSON input can contain, cannot be encoded in a request.
        return filled if filled.isascii() else filled.encode("utf-8", "replace").decode("utf-8")

    def used(self, known: Collection[str]) -> tuple[str, ...]:
        """Return the names among `known` that the template uses, in order, each once."""
        names = [each.content if each.content in known else each.name for _, each in self._parts]
        return tuple(dict.fromkeys(name for name in names if name in known))

    def optional(self) -> frozenset[str]:
        """Return the names whose value may be null wherever they are used."""
        required = {each.name for _, each in self._parts if not each.is_optional}
        return frozenset(self.names) - required

    def problems(self, known: Collection[str]) -> tuple[str, ...]:
        """Return what is wrong with the placeholders, with place and remedy, if `known` are all names."""
        found = [
            f"{self._place(each.at)}: {problem}"
            for _, each in self._parts
            if (problem := _problem(each, known)) is not None
        ]
        if not found and not self.used(known):
            found += [
                f"{self._place(each.start())}: {each.group()} is literal text; write {{{each.group(1)}}}"
                for each in _DOUBLED.finditer(self.text)
                if each.group(1) in known
            ]
        return tuple(found)

    def _place(self, position: int) -> str:
        line = self.text.count("\n", 0, position) + 1
        column = position - (self.text.rfind("\n", 0, position) + 1) + 1
        return f"line {line}, column {column} of the prompt"


def compile_template(text: str) -> Template:
    """Return `text` as a template; see the module's docstring."""
    parts: list[tuple[str, Placeholder]] = []
    literal: list[str] = []
    opened: list[str] = []  # the braces of the text that are not closed
    end = 0
    while (token := _BRACES.search(text, end)) is not None:
        literal.append(text[end : token.start()])
        braces, content, end = token.group(), token.group(1), token.end()
        if content is not None:
            parts.append(("".join(literal), _placeholder(content, token.start())))
            literal.clear()
        elif braces == "}}" and opened and opened[-1] == "{":
            # These close two objects of JSON, so they are no doubled brace.
            literal.append("}")
            opened.pop()
            end -= 1
        else:
            literal.append(braces[0])
            if braces[0] == "{":
                opened.append(braces)
            elif opened:
                opened.pop()
    literal.append(text[end:])
    names = dict.fromkeys(each.name for _, each in parts if each.is_name)
    return Template(text, tuple(names), tuple(parts), "".join(literal))


def as_json(name: str, value: Json) -> str:
    """Return `value` as JSON, the same text for equal values. Raises ValueError with `name` if it is not."""
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(", ", ": "), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the value of {name} cannot be written as JSON: {error}") from error


_MISSING = object()


def _placeholder(content: str, at: int) -> Placeholder:
    if _NAME.fullmatch(content) is None:
        return Placeholder(content, content, at, is_optional=False, is_name=False)
    name = content.removesuffix("?")
    return Placeholder(content, name, at, is_optional=name != content, is_name=True)


def _text_of(placeholder: Placeholder, value: Json, values: Mapping[str, Json], null: str | None) -> str:
    """Return what stands in place of `placeholder`. `value` is that of its content: no text."""
    if value is _MISSING and placeholder.is_optional:
        value = values.get(placeholder.name)
        if value is None or isinstance(value, str):
            return value or ""
    if value is _MISSING:
        problem = _problem(placeholder, values)
        if problem is not None:
            raise ValueError(f"the prompt cannot be made: {problem}")
        return f"{{{placeholder.content}}}"
    if value is not None:
        return as_json(placeholder.name, value)
    if null is None:
        raise NullValueError(f"null in {placeholder.content}")
    return null


def _problem(placeholder: Placeholder, known: Collection[str]) -> str | None:
    """Return what is wrong with a placeholder if `known` are all names, None if nothing is."""
    if placeholder.content in known or placeholder.name in known:
        return None
    if placeholder.is_name:
        hint = suggestion(placeholder.name, known)
        return f"{{{placeholder.content}}} names nothing; write {{{{ and }}}} for literal braces{hint}"
    formatted = _FORMATTED.fullmatch(placeholder.content)
    if formatted is None or formatted.group(1) not in known:
        return None
    return (
        f"{{{placeholder.content}}} is no placeholder, since values have no formats and indexes; "
        f"write {{{formatted.group(1)}}}, or {{{{ and }}}} for literal braces"
    )


def _plain(value: object) -> str:
    """Return the text of a database type that JSON lacks. The text of other types may hold an address."""
    if isinstance(value, _PLAIN):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")

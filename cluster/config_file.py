"""From a YAML file to a validated model, with every problem shown at its line and column.

Rule 1: all problems of a file are reported together; only a file that cannot be parsed stops at the first.
Rule 2: YAML 1.2 core schema: ``no``, ``on`` and ``1:30`` are text. Tags and merge keys are refused, and no
text from the file ever names a Python object.
Rule 3: values are checked strictly: ``true`` is not 1 and ``"5"`` is not 5. What ``${NAME}`` gives is the
exception, since an environment holds only text: it is read as whatever the key wants.
Rule 4: no problem shows a secret: neither the value of a secret key, nor of any environment variable.
Rule 5: size, depth and alias expansion are bounded: a hostile file costs seconds at most, and little memory.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from actors.core.errors import ConfigError
from actors.core.messages import Json

Steps = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_MAX_BYTES = 256 * 1024
_MAX_DEPTH = 40
_MAX_ALIASED_NODES = 10_000
_SECRET_KEYS = frozenset({"api_key", "headers", "url", "base_url", "password", "token", "options"})
_MISTYPED = frozenset({"int_type", "float_type", "bool_type"})
_WORDS = {
    "an object": "a mapping",
    "a valid array": "a list",
    "a valid boolean": "true or false",
    "a valid dictionary": "a mapping",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "text",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `line` and `column` count from 1; 0 where there is no place in the file."""

    file: str
    line: int
    column: int
    path: str
    message: str
    got: str | None = None
    wanted: str | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        text = ": ".join(part for part in (place, self.path, self.message) if part)
        details = [f"{word} {what}" for word, what in (("got", self.got), ("wanted", self.wanted)) if what]
        if details:
            text += f" ({', '.join(details)})"
        return f"{text}; did you mean {self.suggestion}?" if self.suggestion else text


class ConfigFileError(ConfigError):
    """A configuration file cannot be used. `problems` holds every reason, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; the line is 0 for a value from the command line."""

    file: str
    line: int = 0
    column: int = 0

    def problem(self, path: Steps, message: str, **details: str | None) -> Problem:
        """Return what is wrong here."""
        return Problem(self.file, self.line, self.column, _dotted(path), message, **details)

    def fail(self, message: str, **details: str | None) -> NoReturn:
        """Raise `ConfigFileError` about this place alone."""
        raise ConfigFileError((self.problem((), message, **details),))


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands. A scalar is kept as its text.

    `size` counts this node and those below, `height` the levels below.
    """

    value: str | dict[str, Node] | list[Node]
    mark: Mark
    plain: bool = False  # a scalar without quotes: it may be a number, true, false or null
    key_marks: Mapping[str, Mark] = field(default_factory=dict)
    size: int = 1
    height: int = 0

    @classmethod
    def over(cls, value: dict[str, Node] | list[Node], mark: Mark, key_marks: Mapping[str, Mark]) -> Node:
        """Return a mapping or list, measured."""
        below = value.values() if isinstance(value, dict) else value
        size = 1 + sum(node.size for node in below)
        height = 1 + max((node.height for node in below), default=0)
        return cls(value, mark, key_marks=key_marks, size=size, height=height)

    def describe(self) -> str:
        """Return the value as an error shows it: as written, cut to a readable length."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        shown = (self.value or "null") if self.plain else json.dumps(self.value, ensure_ascii=False)
        return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path))


def _nearest(word: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


# ---- from text to nodes ----------------------------------------------------------------------------------


class _Parser:
    """Builds nodes from the events of one YAML text, bounded in depth and in what aliases expand to."""

    def __init__(self, text: str, file: str, *, numbered: bool) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._numbered = numbered
        self._events: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)
        self._anchors: dict[str, Node] = {}
        self._aliased = 0

    def parse(self) -> Node | None:
        """Return the root, None for an empty text. Raises `ConfigFileError` where parsing cannot go on."""
        try:
            next(self._events)
            if isinstance(next(self._events), StreamEndEvent):
                return None
            root = self._node(next(self._events), ())
            next(self._events)
            extra = next(self._events)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._mark(mark).fail(f"not valid YAML: {self._explain(error.problem or '')}")
        except YAMLError as error:  # the reader's, which is raised before any event and knows no line
            what = getattr(error, "reason", "unreadable text")
            Mark(self._file).fail(f"not valid YAML: {what}")
        except (ValueError, OverflowError):  # the scanner passes on what chr and int refuse
            Mark(self._file).fail("not valid YAML: a number in an escape or a directive is out of range")
        if not isinstance(extra, StreamEndEvent):
            self._mark(extra.start_mark).fail("a second document begins here; a file holds one")
        return root

    @staticmethod
    def _explain(problem: str) -> str:
        if "'\\t'" in problem:
            return "a tab cannot indent or begin a value; use spaces"
        if problem.startswith("expected ',' or"):
            return f'{problem}; inside {{ }} and [ ] quote what holds braces or commas: "${{NAME}}"'
        return problem

    def _mark(self, mark: Any) -> Mark:
        if mark is None or not self._numbered:
            return Mark(self._file)
        return Mark(self._file, mark.line + 1, mark.column + 1)

    def _node(self, event: Any, path: Steps) -> Node:
        mark = self._mark(event.start_mark)
        if isinstance(event, AliasEvent):
            return self._alias(event.anchor, mark, path)
        self._check_depth(len(path), mark)
        if event.ctag is not None:
            self.problems.append(mark.problem(path, "tags (a word beginning with !) are not allowed here"))
        if isinstance(event, ScalarEvent):
            node = Node(event.value, mark, plain=not event.style)
        elif isinstance(event, SequenceStartEvent):
            node = self._list(mark, path)
        else:
            node = self._mapping(mark, path)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    @staticmethod
    def _check_depth(depth: int, mark: Mark) -> None:
        if depth > _MAX_DEPTH:
            mark.fail("nested too deeply", wanted=f"at most {_MAX_DEPTH} levels")

    def _alias(self, name: str, mark: Mark, path: Steps) -> Node:
        # An anchor is known only once its value is complete: a value that contains itself is refused here.
        node = self._anchors.get(name)
        if node is None:
            mark.fail(
                f"alias *{name} has no complete anchor before it", suggestion=_nearest(name, self._anchors)
            )
        self._check_depth(len(path) + node.height, mark)
        self._aliased += node.size
        if self._aliased > _MAX_ALIASED_NODES:
            mark.fail("aliases expand to too much", wanted=f"at most {_MAX_ALIASED_NODES} values")
        return node

    def _list(self, mark: Mark, path: Steps) -> Node:
        entries: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            entries.append(self._node(event, (*path, len(entries))))
        return Node.over(entries, mark, {})

    def _mapping(self, mark: Mark, path: Steps) -> Node:
        entries: dict[str, Node] = {}
        marks: dict[str, Mark] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            here = self._mark(event.start_mark)
            if not isinstance(event, ScalarEvent) or event.ctag is not None:
                here.fail("a key must be a single text without a tag")
            key: str = event.value
            if key == "<<" and not event.style:
                self.problems.append(
                    here.problem(path, "merge keys (<<) are not allowed; write the keys out")
                )
            if key in entries:
                first = f"it stands in line {marks[key].line} already" if self._numbered else None
                self.problems.append(here.problem((*path, key), "duplicate key", got=first))
            entries[key] = self._node(next(self._events), (*path, key))
            marks[key] = here
        return Node.over(entries, mark, marks)


_NAMED: dict[str, Json] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def resolve(text: str) -> Json:
    """Return what an unquoted scalar means in the core schema of YAML 1.2 (section 10.3.2).

    One deviation: infinities, NaN and numbers too large for a float stay text, so that no number field
    accepts them.
    """
    if text in _NAMED:
        return _NAMED[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0 if text[1:2] in ("o", "x") else 10)
    if _FLOAT.fullmatch(text) and abs(number := float(text)) != float("inf"):
        return number
    return text


# ---- overrides from the command line ---------------------------------------------------------------------


def _override(root: Node, assignment: str) -> Node:
    """Return `root` with one ``a.b=value`` applied; the value is YAML. Raises `ConfigFileError`."""
    key, equals, text = assignment.partition("=")
    mark = Mark(f"--set {key}")
    steps = key.split(".")
    if not equals or not all(steps) or len(steps) > _MAX_DEPTH:
        mark.fail("not an assignment", wanted="key.key=value")
    parser = _Parser(text, mark.file, numbered=False)
    value = parser.parse() or Node("", mark, plain=True)
    if parser.problems:
        raise ConfigFileError(tuple(parser.problems))
    return _assign(root, steps, value)


def _assign(node: Node, steps: Sequence[str], new: Node) -> Node:
    # Copies along the path: an aliased node is shared, and its other places must keep their value.
    if not steps:
        return new
    head, rest = steps[0], steps[1:]
    if isinstance(node.value, list):
        names = [_name_of(entry) or str(index) for index, entry in enumerate(node.value)]
        places = {str(index): index for index in range(len(names))}
        places |= {name: index for index, name in enumerate(names) if name not in places}
        if head not in places:
            known = f"one of {', '.join(names)}" if names else "an entry, but the list is empty"
            new.mark.fail("no such entry", got=head, wanted=known, suggestion=_nearest(head, names))
        entries = [*node.value]
        entries[places[head]] = _assign(entries[places[head]], rest, new)
        return replace(node, value=entries)
    if isinstance(node.value, dict):
        empty = Node({}, new.mark)
        child = _assign(node.value.get(head, empty), rest, new)
        marks = {head: new.mark, **node.key_marks}
        return replace(node, value={**node.value, head: child}, key_marks=marks)
    if not node.plain or resolve(node.value) is not None:
        new.mark.fail(f"{head} cannot be set inside a value that is not a mapping")
    return _assign(Node({}, new.mark), steps, new)


def _name_of(node: Node) -> str | None:
    name = node.value.get("name") if isinstance(node.value, dict) else None
    return name.value if name and isinstance(name.value, str) else None


# ---- environment -----------------------------------------------------------------------------------------

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{")


class _Document:
    """A root node, its plain values with the environment filled in, and what is wrong so far."""

    def __init__(self, root: Node, problems: Iterable[Problem], env: Mapping[str, str]) -> None:
        self.root = root
        self.problems = list(problems)
        self.expanded: dict[Steps, str] = {}
        self.broken: set[Steps] = set()
        self._env = env
        self._used: dict[str, str] = {}
        self.values = self._plain(root, ())

    def censor(self, text: str) -> str:
        """Return `text` with the values of environment variables replaced by their names."""
        for name, value in self._used.items():
            if len(value) >= 4:  # shorter ones would be found in any text, and are no secret
                text = text.replace(value, f"${{{name}}}")
        return text

    def retype(self, path: Steps) -> bool:
        """Read what was expanded at `path` as an unquoted scalar. False: tried before, or no difference."""
        text = self.expanded.pop(path, None)
        if text is None or (value := resolve(text)) == text:
            return False
        parent = self.values
        for step in path[:-1]:
            parent = parent[step]
        parent[path[-1]] = value
        return True

    def _plain(self, node: Node, path: Steps) -> Json:
        if isinstance(node.value, dict):
            return {key: self._plain(child, (*path, key)) for key, child in node.value.items()}
        if isinstance(node.value, list):
            return [self._plain(child, (*path, index)) for index, child in enumerate(node.value)]
        if "${" in node.value:
            self.expanded[path] = text = self._expand(node.value, node.mark, path)
            return text
        return resolve(node.value) if node.plain else node.value

    def _expand(self, text: str, mark: Mark, path: Steps) -> str:
        def value(match: re.Match[str]) -> str:
            name, default = match["name"], match["default"]
            if match[0] == "$${":
                return "${"
            if name is None:
                wanted = "${NAME}, ${NAME:-default}, or $${ for a plain ${"
                problem = mark.problem(path, "malformed ${", wanted=wanted)
            elif default is not None and not self._env.get(name):
                return default
            elif name in self._env:
                return self._used.setdefault(name, self._env[name])
            else:
                details = {
                    "wanted": f"a value, or ${{{name}:-default}}",
                    "suggestion": _nearest(name, self._env),
                }
                problem = mark.problem(path, f"environment variable {name} is not set", **details)
            self.problems.append(problem)
            self.broken.add(path)
            return ""

        return _REFERENCE.sub(value, text)


# ---- validation ------------------------------------------------------------------------------------------


class _Checker:
    """Translates what pydantic found into problems, walking the JSON Schema and the nodes side by side."""

    def __init__(self, document: _Document, schema: Json) -> None:
        self._document = document
        self._schema = schema

    def problem(self, error: ErrorDetails) -> tuple[Steps, Problem]:
        """Return where in the values `error` lies, and the error for people."""
        path, node, mark, parent, here = self._locate(error["loc"])
        kind, context = error["type"], error.get("ctx", {})
        message, got, wanted, suggestion = error["msg"], node.describe() if node else None, None, None
        if kind == "missing":
            message, got = "required key is missing", None
        elif kind == "extra_forbidden":
            name, known = str(path[-1]), list(parent.get("properties", {}))
            message, got, suggestion = "unknown key", None, _nearest(name, known)
            wanted = None if suggestion else f"one of {', '.join(known)}"
        elif kind in ("union_tag_invalid", "union_tag_not_found"):
            key, known = here["discriminator"]["propertyName"], list(here["discriminator"]["mapping"])
            tag = node.value.get(key) if node and isinstance(node.value, dict) else None
            message, got, wanted = "required key is missing", None, f"one of {', '.join(known)}"
            if tag:
                mark, message, got = tag.mark, "unknown kind", tag.describe()
                suggestion = _nearest(str(context.get("tag")), known)
            path = (*path, key)
        elif kind == "json_invalid":  # of all that a file can hold, JSON lacks only half a surrogate pair
            message, got = "some text is not valid Unicode", None
        elif kind == "string_pattern_mismatch":
            message, wanted = "wrong form", f"text that matches {context['pattern']}"
            got = str(path[-1]) if error["loc"][-1] == "[key]" else got
        elif message.startswith("Input should be "):
            wanted = message.removeprefix("Input should be ")
            message, wanted = "wrong value", _WORDS.get(wanted, wanted)
            suggestion = _nearest(str(error["input"]), here.get("enum", ()))
        message = self._document.censor(message.removeprefix("Value error, "))
        if here.get("format") == "password" or not _SECRET_KEYS.isdisjoint(path):
            message = (
                message.replace(str(error["input"]), "...") if isinstance(error["input"], str) else message
            )
            got = None
        return path, mark.problem(path, message, got=got, wanted=wanted, suggestion=suggestion)

    def follows(self, error: ErrorDetails) -> bool:
        """Tell whether `error` only follows from others: a list is short because its entries are unsound."""
        node = self._locate(error["loc"])[1]
        return error["type"] == "too_short" and node is not None and bool(node.value)

    def _locate(self, loc: Steps) -> tuple[Steps, Node | None, Mark, Json, Json]:
        # A location of pydantic also holds the tags of the unions it went through; a path has no such steps.
        path: Steps = ()
        node: Node | None = self._document.root
        mark = self._document.root.mark
        parent: Json = {}
        here = self._resolve(self._schema)
        for step in loc:
            tags = here.get("discriminator", {}).get("mapping", {})
            if step in tags:
                here = self._resolve({"$ref": tags[step]})
                continue
            value = node.value if node else None
            known = step in here.get("properties", {})
            if isinstance(value, list) and isinstance(step, int):
                node = value[step]
                mark = node.mark
            elif isinstance(value, dict) and step in value:
                # An unknown key is pointed at itself, a wrong value at the value.
                mark = value[str(step)].mark if known else node.key_marks[str(step)]  # type: ignore[union-attr]
                node = value[str(step)]
            elif known:
                node = None  # a key that is not there: the mark stays that of the mapping which lacks it
            else:
                continue  # a label that pydantic puts in, such as "[key]"
            path = (*path, step)
            parent, here = here, self._below(here, step)
        return path, node, mark, parent, here

    def _below(self, here: Json, step: str | int) -> Json:
        if isinstance(step, int):
            return self._resolve(here.get("items", {}))
        free = here.get("additionalProperties")
        patterns = [*here.get("patternProperties", {}).values(), free if isinstance(free, dict) else {}]
        return self._resolve(here.get("properties", {}).get(step, patterns[0]))

    def _resolve(self, schema: Json) -> Json:
        while True:
            if "$ref" in schema:
                schema = self._schema["$defs"][schema["$ref"].rpartition("/")[2]]
            elif (
                "anyOf" in schema
            ):  # T or null, or a short form and a long one: the structured one has the keys
                schema = max(
                    schema["anyOf"], key=lambda s: 2 * ("$ref" in s or "oneOf" in s) + ("items" in s)
                )
            else:
                return schema


def load_model(
    model: type[Model], path: Path, *, overrides: Sequence[str] = (), env: Mapping[str, str]
) -> Model:
    """Return the `model` that the YAML file at `path` describes.

    `overrides` are ``a.b=value`` assignments, made in order, before the environment is read: an overridden
    reference need not be set. A list's entry is named by its index or its ``name``.
    Raises `ConfigFileError` with all problems.
    """
    document = _read(path, overrides, env)
    checker = _Checker(document, model.model_json_schema())
    while True:
        try:
            made = model.model_validate_json(json.dumps(document.values), strict=True)
        except ValidationError as error:
            errors = [details for details in error.errors(include_url=False) if not checker.follows(details)]
            found = [checker.problem(details) for details in errors]
            mistyped = [
                where for (where, _), it in zip(found, errors, strict=True) if it["type"] in _MISTYPED
            ]
            if sum(map(document.retype, mistyped)):
                continue
        else:
            found = []
            if not document.problems:
                return made
        # What stands for an unset variable is not worth a second problem at the same place.
        shown = document.problems + [problem for where, problem in found if where not in document.broken]
        raise ConfigFileError(tuple(sorted(shown, key=lambda problem: (problem.line, problem.column))))


def _read(path: Path, overrides: Sequence[str], env: Mapping[str, str]) -> _Document:
    whole = Mark(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        whole.fail(f"cannot be read: {error.strerror}")
    if len(data) > _MAX_BYTES:
        whole.fail(
            "too large", wanted=f"at most {_MAX_BYTES // 1024} KiB; long lists of tasks belong in a file"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        Mark(str(path), data.count(b"\n", 0, error.start) + 1, 1).fail("not valid UTF-8")
    parser = _Parser(text, str(path), numbered=True)
    root = parser.parse()
    if root is None:
        whole.fail("the file is empty", wanted="a mapping")
    if not isinstance(root.value, dict):
        root.mark.fail("not a configuration", got=root.describe(), wanted="a mapping")
    problems = parser.problems
    for assignment in overrides:
        try:
            root = _override(root, assignment)
        except ConfigFileError as error:
            problems.extend(error.problems)
    return _Document(root, problems, env)

"""From YAML text to nodes: values that know the line and column they stand at.

Rule 1: YAML 1.2 core schema: ``no``, ``on`` and ``1:30`` are text. Tags and merge keys are refused, and no
text from the file ever names a Python object.
Rule 2: only text that cannot be parsed stops at its first problem; all others are gathered.
Rule 3: depth and alias expansion are bounded: hostile text costs seconds at most, and little memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

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

from actors.core.messages.values import Json
from cluster.config.problem import Mark, Problem, Steps, nearest

MAX_DEPTH = 40
_MAX_ALIASED_NODES = 10_000


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


def parse(text: str, file: str, *, numbered: bool) -> tuple[Node | None, list[Problem]]:
    """Return the root of `text`, None where it is empty, and the problems that parsing survived.

    `file` is the name that problems show, with lines and columns where `numbered`.
    Raises `ConfigFileError` where parsing cannot go on.
    """
    parser = _Parser(text, file, numbered=numbered)
    return parser.root(), parser.problems


class _Parser:
    """Builds nodes from the events of one YAML text, bounded in depth and in what aliases expand to."""

    def __init__(self, text: str, file: str, *, numbered: bool) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._numbered = numbered
        self._events: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)
        self._anchors: dict[str, Node] = {}
        self._aliased = 0

    def root(self) -> Node | None:
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
        if depth > MAX_DEPTH:
            mark.fail("nested too deeply", wanted=f"at most {MAX_DEPTH} levels")

    def _alias(self, name: str, mark: Mark, path: Steps) -> Node:
        # An anchor is known only once its value is complete: a value that contains itself is refused here.
        node = self._anchors.get(name)
        if node is None:
            mark.fail(
                f"alias *{name} has no complete anchor before it", suggestion=nearest(name, self._anchors)
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

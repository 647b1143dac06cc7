"""Parses YAML into mappings, lists and the texts of scalars, with the position of each.

Rule 1: scalars follow the core schema of YAML 1.2: ``no``, ``on`` and ``1:30`` are text. Tags and merge keys
are refused, and no text from the file names a Python object.
Rule 2: only text that cannot be parsed stops at its first problem. All other problems are collected.
Rule 3: depth and alias expansion are bounded: hostile text costs seconds at most, and little memory.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from actors.core.messages.values import Json
from cluster.config.paths import KeyPath
from cluster.config.problem import ConfigProblem, Position

MAX_DEPTH = 40
_TOO_DEEP = f"nested too deeply, in more than {MAX_DEPTH} levels"
_MAX_ALIASED_VALUES = 10_000


class Quoted(str):
    """The text of a scalar in quotes, which is never a number, a boolean or null."""

    __slots__ = ()


class ParsedYaml:
    """A YAML document. `value` holds scalars as their text; it is None for an empty document.

    `problems` has the problems that did not stop the parser.
    """

    def __init__(self, text: str, file: str, *, numbered: bool = True) -> None:
        """Parse `text`. Problems show `file`, with lines and columns if `numbered`.

        Raises `ConfigFileError` for text that cannot be parsed.
        """
        self.problems: list[ConfigProblem] = []
        self._file = file
        self._numbered = numbered
        self._positions: dict[KeyPath, Position] = {}
        self._keys: dict[KeyPath, Position] = {}
        self._visited = 0
        self._nodes: set[int] = set()
        yaml = YAML(typ="safe", pure=True)
        yaml.max_depth = MAX_DEPTH + 1  # ruamel counts the root
        yaml.Composer = _TagComposer
        try:
            root = yaml.compose(text)
        except (YAMLError, ValueError, OverflowError) as error:  # the scanner passes errors of chr and int on
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            problem = getattr(error, "problem", None) or getattr(error, "reason", None)
            self._position(mark).fail(_explained(problem or "a number in an escape is out of range"))
        for mark in yaml.composer.tags:
            self._add(self._position(mark), (), "tags (a word beginning with !) are not allowed")
        self.value: Json = None if root is None else self._value(root, ())

    def position(self, path: KeyPath) -> Position:
        """Return the position of the value at `path`, or of the nearest value around it."""
        while path not in self._positions:
            path = path[:-1]
        return self._positions[path]

    def key_position(self, path: KeyPath) -> Position:
        """Return the position of the key of the value at `path`."""
        return self._keys.get(path) or self.position(path)

    def replace(self, path: KeyPath, position: Position) -> None:
        """Set the position of the value at `path`, and of all below it."""
        for positions in (self._positions, self._keys):
            for each in [each for each in positions if each[: len(path)] == path and each != path]:
                del positions[each]
        self._positions[path] = position
        self._keys.setdefault(path, position)

    def _position(self, mark: Any) -> Position:
        if mark is None or not self._numbered:
            return Position(self._file)
        return Position(self._file, mark.line + 1, mark.column + 1)

    def _add(self, position: Position, path: KeyPath, message: str, got: str | None = None) -> None:
        self.problems.append(position.problem(path, message, got=got))

    def _value(self, node: Node, path: KeyPath) -> Json:
        # Aliases share the node of their anchor. The depth also ends a node that contains itself.
        position = self._positions[path] = self._position(node.start_mark)
        self._visited += 1
        self._nodes.add(id(node))
        if len(path) > MAX_DEPTH:
            position.fail(_TOO_DEEP)
        if self._visited - len(self._nodes) > _MAX_ALIASED_VALUES:
            position.fail(f"aliases expand to too much, more than {_MAX_ALIASED_VALUES} values")
        if isinstance(node, ScalarNode):
            return Quoted(node.value) if node.style else node.value
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        return [self._value(child, (*path, index)) for index, child in enumerate(node.value)]

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Json]:
        entries: dict[str, Json] = {}
        for key_node, child in node.value:
            position = self._position(key_node.start_mark)
            if not isinstance(key_node, ScalarNode):
                position.fail("a key must be a single text")
            key: str = key_node.value
            place = (*path, key)
            if key == "<<" and not key_node.style:
                self._add(position, path, "merge keys (<<) are not allowed; write the keys out")
            if key in entries:
                first = f"it stands in line {self._keys[place].line} already" if self._numbered else None
                self._add(position, place, "duplicate key", first)
            self._keys[place] = position
            entries[key] = self._value(child, place)
        return entries


class _TagComposer(Composer):
    """Collects the marks of explicit tags. A node does not tell them from implicit ones."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False
        self.tags: list[Any] = []

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if getattr(event, "ctag", None) is not None:
            self.tags.append(event.start_mark)
        return super().compose_node(parent, index)


def _explained(problem: str) -> str:
    if problem.startswith("maximum depth"):
        return _TOO_DEEP
    if problem.startswith("but found another document"):
        return "a second document begins here; a file holds one"
    if "'\\t'" in problem:
        problem = "a tab cannot indent or begin a value; use spaces"
    if problem.startswith("expected ',' or"):
        problem += '; inside { } and [ ] quote what holds braces or commas: "${NAME}"'
    return f"not valid YAML: {problem}"


def described(value: Json) -> str:
    """Return a value of `ParsedYaml` as an error shows it: as written, cut to a readable length."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, Quoted) else value or "null"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


_NAMED: dict[str, Json] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def resolve(text: str) -> Json:
    """Return the value of a scalar in the core schema of YAML 1.2 (section 10.3.2).

    One deviation: infinities, NaN and numbers too large for a float stay text, so that no number field
    accepts them.
    """
    if isinstance(text, Quoted):
        return str(text)
    if text in _NAMED:
        return _NAMED[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0 if text[1:2] in ("o", "x") else 10)
    if _FLOAT.fullmatch(text) and abs(number := float(text)) != float("inf"):
        return number
    return text

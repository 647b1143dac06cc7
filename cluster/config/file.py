"""From a YAML file to plain values: overrides from the command line put in, then the environment.

Rule 1: whatever leaves a document behind only adds to its problems, for the check to report with its own.
Rule 2: the environment holds text alone: what ``${NAME}`` gives is neither parsed nor expanded again, and is
remembered, for the check to read it as whatever the key wants and to show its name instead of its value.
Rule 3: the size of a file is bounded, since long lists of tasks belong in a file of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from actors.core.censor import Censor
from actors.core.messages.values import Json
from cluster.config.problem import ConfigFileError, Mark, Problem, Steps, nearest
from cluster.config.secrets import REFERENCE, is_shown, parts_of
from cluster.config.yaml import MAX_DEPTH, Node, parse, resolve

_MAX_BYTES = 256 * 1024


def read(path: Path, overrides: Sequence[str], env: Mapping[str, str]) -> Document:
    """Return what the YAML file at `path` holds.

    `overrides` are ``a.b=value`` assignments, made in order, before `env` is read: an overridden reference
    need not be set. A list's entry is named by its index or its ``name``.
    Raises `ConfigFileError` where no document comes of it; other problems travel in the document.
    """
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
        Mark(whole.file, data.count(b"\n", 0, error.start) + 1, 1).fail("not valid UTF-8")
    root, problems = parse(text, whole.file, numbered=True)
    if root is None:
        whole.fail("the file is empty", wanted="a mapping")
    if not isinstance(root.value, dict):
        root.mark.fail("not a configuration", got=root.describe(), wanted="a mapping")
    for assignment in overrides:
        try:
            root = _override(root, assignment)
        except ConfigFileError as error:
            problems.extend(error.problems)
    return Document(root, problems, env)


# ---- overrides from the command line ---------------------------------------------------------------------


def _override(root: Node, assignment: str) -> Node:
    """Return `root` with one ``a.b=value`` applied; the value is YAML. Raises `ConfigFileError`."""
    key, equals, text = assignment.partition("=")
    mark = Mark(f"--set {key}")
    steps = key.split(".")
    if not equals or not all(steps) or len(steps) > MAX_DEPTH:
        mark.fail("not an assignment", wanted="key.key=value")
    value, problems = parse(text, mark.file, numbered=False)
    if problems:
        raise ConfigFileError(tuple(problems))
    return _assign(root, steps, value or Node("", mark, plain=True))


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
            new.mark.fail("no such entry", got=head, wanted=known, suggestion=nearest(head, names))
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


class Document:
    """A root node, its plain values with the environment filled in, and what is wrong so far."""

    def __init__(self, root: Node, problems: Iterable[Problem], env: Mapping[str, str]) -> None:
        self.root = root
        self.problems = list(problems)
        self.expanded: dict[Steps, str] = {}
        self.written: dict[Steps, str] = {}  # what refers to the environment, as it stands in the file
        self.marks: dict[Steps, Mark] = {}  # and where it stands
        self.broken: set[Steps] = set()
        self._env = env
        self._used: dict[str, set[Steps]] = {}
        self.values = self._plain(root, ())

    def censor(self, text: str) -> str:
        """Return `text` with the values of environment variables replaced by their names."""
        return Censor((self._env[name], f"${{{name}}}") for name in self._used)(text)

    def referring(self) -> set[Steps]:
        """Return where a value came from the environment."""
        return {path for paths in self._used.values() for path in paths}

    def secrets(self) -> list[tuple[str, str]]:
        """Return the values that came from the environment, each with its reference.

        Not those that only became names, local paths, numbers and booleans.
        """
        found: dict[str, str] = {}
        for name, paths in self._used.items():
            for path in paths:
                if isinstance(self._at(path), str) and not is_shown(path):
                    value = self._env[name]
                    for text in (value, *parts_of(self.written[path], name, value)):
                        found.setdefault(text, f"${{{name}}}")
        return list(found.items())

    def retype(self, path: Steps) -> bool:
        """Read what was expanded at `path` as an unquoted scalar. False: tried before, or no difference."""
        text = self.expanded.pop(path, None)
        if text is None or (value := resolve(text)) == text:
            return False
        self._at(path[:-1])[path[-1]] = value
        return True

    def _at(self, path: Steps) -> Json:
        value = self.values
        for step in path:
            value = value[step]
        return value

    def _plain(self, node: Node, path: Steps) -> Json:
        if isinstance(node.value, dict):
            return {key: self._plain(child, (*path, key)) for key, child in node.value.items()}
        if isinstance(node.value, list):
            return [self._plain(child, (*path, index)) for index, child in enumerate(node.value)]
        if "${" in node.value:
            self.written[path], self.marks[path] = node.value, node.mark
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
                self._used.setdefault(name, set()).add(path)
                return self._env[name]
            else:
                details = {
                    "wanted": f"a value, or ${{{name}:-default}}",
                    "suggestion": nearest(name, self._env),
                }
                problem = mark.problem(path, f"environment variable {name} is not set", **details)
            self.problems.append(problem)
            self.broken.add(path)
            return ""

        return REFERENCE.sub(value, text)

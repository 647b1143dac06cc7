"""From a YAML file to plain values: overrides from the command line put in, then the environment.

Rule 1: whatever leaves a document behind only adds to its problems, for the check to report with its own.
Rule 2: the environment holds text alone: what ``${NAME}`` gives is neither parsed nor expanded again, and is
remembered, for the check to read it as whatever the key wants and to show its name instead of its value.
Rule 3: the size of a file is bounded, since long lists of tasks belong in a file of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actors.core.messages import Json
from cluster.config_problem import ConfigFileError, Mark, Problem, Steps, nearest
from cluster.config_yaml import MAX_DEPTH, Node, parse, resolve

# What an error does not show. An endpoint's base_url may hold no password, so that it may be stored, though.
SECRET_KEYS = frozenset({"api_key", "headers", "url", "base_url", "password", "token", "options"})

_UNSTORED_KEYS = SECRET_KEYS - {"base_url"}
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


def without_secrets(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides that may be stored, and the keys of those that may not: they hold a secret.

    What refers to the environment by ``${NAME}`` is no secret.
    """
    kept: list[str] = []
    withheld: list[str] = []
    for assignment in overrides:
        key, _, text = assignment.partition("=")
        value, _ = parse(text, key, numbered=False)
        if value is not None and _holds_secret(key.rpartition(".")[2], value):
            withheld.append(key)
        else:
            kept.append(assignment)
    return kept, withheld


def _holds_secret(key: str, node: Node) -> bool:
    if isinstance(node.value, dict):
        inherited = key if key in _UNSTORED_KEYS else ""
        return any(_holds_secret(inherited or name, child) for name, child in node.value.items())
    if isinstance(node.value, list):
        return any(_holds_secret(key, child) for child in node.value)
    return key in _UNSTORED_KEYS and not _REFERENCE.search(node.value)


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

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{")


@dataclass(frozen=True, slots=True)
class Reference:
    """How a document uses an environment variable: in a secret place; where it must be set."""

    is_secret: bool
    is_required: bool


def references(root: Node, key: str = "") -> dict[str, Reference]:
    """Return the environment variables that a document names, by name."""
    if isinstance(root.value, str):
        named = [match for match in _REFERENCE.finditer(root.value) if match["name"]]
        secret = key in SECRET_KEYS
        return {match["name"]: Reference(secret, match["default"] is None) for match in named}
    children = root.value.items() if isinstance(root.value, dict) else ((key, it) for it in root.value)
    found: dict[str, Reference] = {}
    for name, child in children:
        inherited = key if key in SECRET_KEYS else name
        for variable, use in references(child, inherited).items():
            known = found.get(variable, Reference(is_secret=False, is_required=False))
            found[variable] = Reference(
                known.is_secret or use.is_secret, known.is_required or use.is_required
            )
    return found


class Document:
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
                    "suggestion": nearest(name, self._env),
                }
                problem = mark.problem(path, f"environment variable {name} is not set", **details)
            self.problems.append(problem)
            self.broken.add(path)
            return ""

        return _REFERENCE.sub(value, text)

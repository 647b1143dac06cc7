"""Reads a YAML file into plain values, and applies overrides and the environment.

Rule 1: a problem that leaves a usable document is kept in it, and reported with the problems of the check.
Rule 2: the environment holds only text. The value of ``${NAME}`` is neither parsed nor expanded again. The
document remembers its path: the check reads it as the type of the key, and shows the name, not the value.
Rule 3: the size of a file is bounded. Long lists of tasks belong in a file of their own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from actors.core.censor import Censor
from actors.core.messages.values import Json
from cluster.config.paths import KeyPath, mapped, value_at
from cluster.config.presets import expand
from cluster.config.problem import ConfigFileError, Position, nearest
from cluster.config.secrets import REFERENCE, is_shown, parts_of
from cluster.config.yaml import MAX_DEPTH, ParsedYaml, described, resolve

_MAX_BYTES = 256 * 1024


def read(path: Path, overrides: Sequence[str], env: Mapping[str, str]) -> Document:
    """Return the document in the YAML file at `path`.

    `overrides` are ``a.b=value`` assignments. They are applied in order and before `env`: an overridden
    reference need not be set. An entry of a list is named by its index or its ``name``. Then the presets of
    endpoints are expanded.
    Raises `ConfigFileError` if the file holds no mapping. The document keeps all other problems.
    """
    whole = Position(str(path))
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
        Position(whole.file, data.count(b"\n", 0, error.start) + 1, 1).fail("not valid UTF-8")
    parsed = ParsedYaml(text, whole.file)
    if parsed.value is None:
        whole.fail("the file is empty", wanted="a mapping")
    if not isinstance(parsed.value, dict):
        parsed.position(()).fail("not a configuration", got=described(parsed.value), wanted="a mapping")
    for assignment in overrides:
        try:
            override(parsed, assignment)
        except ConfigFileError as error:
            parsed.problems.extend(error.problems)
    expand(parsed, env)
    return Document(parsed, env)


# ---- overrides from the command line ---------------------------------------------------------------------


def override(parsed: ParsedYaml, assignment: str) -> None:
    """Apply one ``a.b=value``, whose value is YAML. Raises `ConfigFileError`, and then changes nothing."""
    key, equals, text = assignment.partition("=")
    position = Position(f"--set {key}")
    names = key.split(".")
    if not equals or not all(names) or len(names) > MAX_DEPTH:
        position.fail("not an assignment", wanted="key.key=value")
    new = ParsedYaml(text, position.file, numbered=False)
    if new.problems:
        raise ConfigFileError(tuple(new.problems))
    path: KeyPath = ()
    inside = parsed.value
    for name in names[:-1]:
        step = _step(inside, name, position)
        path = (*path, step)
        if isinstance(inside, dict) and _is_null(inside.get(name, "")):
            inside[name] = {}
            parsed.replace(path, position)
        inside = inside[step]
    step = _step(inside, names[-1], position)
    inside[step] = "" if new.value is None else new.value
    parsed.replace((*path, step), position)


def yaml_value(text: str, place: str) -> Json:
    """Return the value that is written as YAML. Raises `ConfigFileError`, which names `place`."""
    parsed = ParsedYaml(text, place, numbered=False)
    if parsed.problems:
        raise ConfigFileError(tuple(parsed.problems))
    return None if parsed.value is None else mapped(parsed.value, lambda _, scalar: resolve(scalar))


def _is_null(value: Json) -> bool:
    return isinstance(value, str) and resolve(value) is None


def _step(value: Json, name: str, position: Position) -> str | int:
    """Return the key or the index in `value` that `name` stands for. Raises `ConfigFileError`."""
    if isinstance(value, dict):
        return name
    if not isinstance(value, list):
        position.fail(f"{name} cannot be set inside a value that is not a mapping")
    names = [str(index) for index in range(len(value))]
    if name in names:
        return int(name)
    for index, entry in enumerate(value):
        own = entry.get("name") if isinstance(entry, dict) else None
        names[index] = own if isinstance(own, str) and own else names[index]
    if name not in names:
        known = f"one of {', '.join(names)}" if names else "an entry, but the list is empty"
        position.fail("no such entry", got=name, wanted=known, suggestion=nearest(name, names))
    return names.index(name)


# ---- environment -----------------------------------------------------------------------------------------


class Document:
    """The values of a file with overrides and environment applied, and the problems found so far.

    `written` holds the values with a reference as the file has them, and `used` the variables in each.
    """

    def __init__(self, parsed: ParsedYaml, env: Mapping[str, str]) -> None:
        self.parsed = parsed
        self.problems = parsed.problems
        self.written: dict[KeyPath, str] = {}
        self.used: dict[KeyPath, list[str]] = {}
        self._env = env
        self.values = mapped(parsed.value, self._plain)

    def censor(self, text: str) -> str:
        """Return `text` with the values of environment variables replaced by their names."""
        names = itertools.chain(*self.used.values())
        return Censor((self._env[name], f"${{{name}}}") for name in names)(text)

    def secrets(self) -> list[tuple[str, str]]:
        """Return the values that came from the environment, each with its reference.

        The list leaves out the values that became only names, local paths, numbers and booleans.
        """
        found: dict[str, str] = {}
        for path, names in self.used.items():
            text = value_at(self.values, path)
            if isinstance(text, str) and not is_shown(path, text):
                for name in names:
                    value = self._env[name]
                    for text in (value, *parts_of(self.written[path], name, value)):
                        found.setdefault(text, f"${{{name}}}")
        return list(found.items())

    def retype(self, path: KeyPath) -> bool:
        """Read a value with a reference as an unquoted scalar. Return False if it stays as it is."""
        text = value_at(self.values, path)
        if path not in self.written or not isinstance(text, str) or isinstance(value := resolve(text), str):
            return False
        value_at(self.values, path[:-1])[path[-1]] = value
        return True

    def _plain(self, path: KeyPath, text: str) -> Json:
        if "${" not in text:
            return resolve(text)
        self.written[path] = str(text)
        return REFERENCE.sub(lambda match: self._expand(match, path), text)

    def _expand(self, match: re.Match[str], path: KeyPath) -> str:
        name, default = match["name"], match["default"]
        if match[0] == "$${":
            return "${"
        if name is None:  # os.environ raises TypeError for it
            wanted = "${NAME}, ${NAME:-default}, or $${ for a plain ${"
            self._add(path, "malformed ${", wanted)
            return ""
        if default is not None and not self._env.get(name):
            return default
        if name in self._env:
            self.used.setdefault(path, []).append(name)
            return self._env[name]
        wanted = f"a value, or ${{{name}:-default}}"
        self._add(path, f"environment variable {name} is not set", wanted, nearest(name, self._env))
        return ""

    def _add(self, path: KeyPath, message: str, wanted: str, suggestion: str | None = None) -> None:
        position = self.parsed.position(path)
        self.problems.append(position.problem(path, message, wanted=wanted, suggestion=suggestion))

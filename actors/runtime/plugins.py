"""Plug-ins: what other packages add to Headrace through entry points.

A package adds a kind to a group with an entry point of its name, ``jira = "acme:JiraSettings"`` in the table
``[project.entry-points."headrace.sources"]``. Entry points are read only when a configuration has a kind that
is not built in, because reading them opens a file for every installed package.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from actors.core.errors import ConfigError, text_of

BaseT = TypeVar("BaseT")


class PluginGroup(enum.StrEnum):
    """The groups of entry points. See docs/extending.md for what an entry point of each must be."""

    SOURCES = "headrace.sources"
    STORES = "headrace.stores"
    SINKS = "headrace.sinks"
    DIALECTS = "headrace.dialects"
    STEPS = "headrace.steps"


class UnknownPluginError(ConfigError):
    """No installed package adds this kind. `known` are the kinds that packages add."""

    def __init__(self, group: PluginGroup, kind: str, known: Iterable[str]) -> None:
        self.known = tuple(sorted({*known}))
        listed = f"installed packages add {', '.join(self.known)}" if self.known else "no package adds any"
        super().__init__(f"no package adds the kind {kind!r} to {group}; {listed}")


class BrokenPluginError(ConfigError):
    """A package adds this kind, but what it adds cannot be used. The message names package and cause."""


def plugin(group: PluginGroup, kind: str) -> Any:
    """Return what the entry point `kind` of `group` names: a class or a function of another package.

    Raises `UnknownPluginError`, or `BrokenPluginError` if it cannot be imported or several packages add it.
    """
    found = entry_points(group=group)
    chosen = {each.value: each for each in found if each.name == kind}
    if not chosen:
        raise UnknownPluginError(group, kind, found.names)
    if len(chosen) > 1:
        raise BrokenPluginError(
            f"several packages add the kind {kind!r} to {group}; keep one of: "
            + ", ".join(sorted(_package(each) for each in chosen.values()))
        )
    (entry,) = chosen.values()
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        text = f"importing {entry.value} raised {type(error).__name__}: {text_of(error)}"
        raise BrokenPluginError(f"the kind {kind!r} of {_package(entry)} cannot be used: {text}") from error


def plugin_class(group: PluginGroup, kind: str, base: type[BaseT]) -> type[BaseT]:
    """Return the subclass of `base` that `kind` names. Raises the errors of `plugin`."""
    found = plugin(group, kind)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise BrokenPluginError(f"the kind {kind!r} of {group} is {found!r}, no subclass of {base.__name__}")
    return found


def _package(entry: EntryPoint) -> str:
    return "an unnamed package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"

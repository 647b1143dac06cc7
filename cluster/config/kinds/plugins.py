"""Adds the kinds of plug-ins to the model of a configuration that uses them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable
from types import UnionType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, PydanticUserError, TypeAdapter

from actors.core.errors import ConfigError
from actors.runtime.plugins import BrokenPluginError, PluginGroup, UnknownPluginError, plugin, plugin_class
from cluster.config.file import Document
from cluster.config.kinds.embedding import EMBEDDING
from cluster.config.kinds.rerank import RERANK
from cluster.config.kinds.step import ComputedStep
from cluster.config.paths import KeyPath, value_at
from cluster.config.problem import nearest

ModelT = TypeVar("ModelT", bound=BaseModel)


def with_kinds(
    built_in: UnionType,
    group: PluginGroup,
    base: type[BaseModel],
    places: Iterable[KeyPath],
    document: Document,
) -> Any:
    """Return the union of the kinds `built_in` and of those of plug-ins that `document` uses at `places`.

    Returns None if it uses none of plug-ins. Adds a problem to `document` for each kind that cannot be used.
    """
    known = {str(_kind(each)) for each in get_args(built_in)}
    added: dict[str, type[BaseModel]] = {}
    for place in places:
        kind = value_at(document.values, (*place, "kind"))
        if not isinstance(kind, str) or kind in known or kind in added:
            continue
        try:
            added[kind] = _checked(plugin_class(group, kind, base), kind)
        except UnknownPluginError as error:
            if error.known:  # otherwise the check of the model names the kinds that are built in
                every = [*sorted(known), *error.known]
                near = nearest(kind, every)
                wanted = None if near else f"one of {', '.join(every)}"
                _add(document, place, "unknown kind", got=kind, wanted=wanted, suggestion=near)
        except BrokenPluginError as error:
            _add(document, place, str(error))
    return functools.reduce(operator.or_, added.values(), built_in) if added else None


def check_sinks(document: Document) -> None:
    """Add a problem to `document` for each sink of its results that cannot be loaded."""
    sinks = value_at(document.values, ("output", "sinks"))
    for index, sink in enumerate(sinks if isinstance(sinks, list) else ()):
        if isinstance(sink, dict) and isinstance(kind := sink.get("kind"), str):
            try:
                plugin(PluginGroup.SINKS, kind)
            except ConfigError as error:
                _add(document, ("output", "sinks", index), str(error))


def computed_steps(document: Document) -> dict[str, type[ComputedStep]]:
    """Return the kinds of computed steps in `document`. Adds a problem for each that cannot be used."""
    evaluate = document.values.get("evaluate")
    found: dict[str, type[ComputedStep]] = {}
    for index, step in enumerate(evaluate if isinstance(evaluate, list) else ()):
        kind = step.get("kind") if isinstance(step, dict) else None
        if isinstance(kind, str) and kind not in (EMBEDDING, RERANK, *found):
            try:
                found[kind] = _checked(plugin_class(PluginGroup.STEPS, kind, ComputedStep), kind)
            except (UnknownPluginError, BrokenPluginError) as error:
                _add(document, ("evaluate", index), str(error))
    return found


def _checked(found: type[ModelT], kind: str) -> type[ModelT]:
    """Return `found`. Raises `BrokenPluginError` if pydantic cannot tell its kind."""
    try:
        fits = _kind(found) == kind
        TypeAdapter(found)
    except (PydanticUserError, KeyError, IndexError) as error:
        raise BrokenPluginError(f"the kind {kind!r}: {found.__name__} is no usable model: {error}") from error
    if not fits:
        raise BrokenPluginError(f"the kind {kind!r}: {found.__name__} has no field kind: Literal[{kind!r}]")
    return found


def _kind(settings: type[BaseModel]) -> object:
    return get_args(settings.model_fields["kind"].annotation)[0]


def _add(document: Document, place: KeyPath, message: str, **details: str | None) -> None:
    path = (*place, "kind")
    document.problems.append(document.parsed.position(path).problem(path, message, **details))

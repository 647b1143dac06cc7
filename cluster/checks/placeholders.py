"""Checks the names in prompts and sources against the tasks, before anything is paid for.

Rule: what is checked here is known only once the tasks have been read. All problems are shown together, each
with its place and the remedy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from actors.core.errors import ConfigError
from actors.core.task.field_names import MOST_NAMED, dotted, suggestion
from actors.core.task.prompts import EVALUATE_NAMES, FINDING_NAMES, ROW_NAMES
from actors.core.task.templates import compile_template
from actors.sources import templates
from actors.sources.files.source import FilesSettings
from actors.sources.http import HttpSettings
from cluster.config.kinds.rerank import RerankStep
from cluster.config.kinds.step import ComputedStep
from cluster.config.model import HeadraceConfig
from cluster.config.steps import AskedStep

_NO_WORDS: Mapping[str, str] = {}


class PlaceholderError(ConfigError):
    """Prompts or sources name what no task has. `problems` are pairs of a key and a message."""

    def __init__(self, problems: tuple[tuple[str, str], ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(f"{place}: {problem}" for place, problem in self.problems)


def check_placeholders(
    config: HeadraceConfig, columns: Collection[str], tasks: int, words: Mapping[str, str] = _NO_WORDS
) -> None:
    """Raise `PlaceholderError` for names that no task has.

    `columns` are the names of the params of all tasks, and `tasks` is their number. `words` replace keys such
    as ``evaluate.prompt`` in the message.
    """
    if not tasks:
        return
    found = [*_prompt_problems(config, columns), *_source_problems(config, columns, tasks)]
    if found:
        raise PlaceholderError(tuple((words.get(place, place), problem) for place, problem in found))


def _prompt_problems(config: HeadraceConfig, columns: Collection[str]) -> Iterator[tuple[str, str]]:
    missing = _names_of_no_column(config, columns) if config.is_map else frozenset()
    built_in = ROW_NAMES if config.is_map else EVALUATE_NAMES
    earlier: dict[str, tuple[str, ...]] = {}
    for index, step in enumerate(config.steps):
        if isinstance(step, ComputedStep):
            earlier[step.name] = tuple(step.output)
            continue
        place = "evaluate" if len(config.steps) == 1 else f"evaluate.{index}"
        known = {*columns, *built_in, *dotted(earlier)} - missing
        found = [*_template_problems(step, known, missing, columns)]
        found += _row_problems(step, known, columns) if config.is_map and not found else ()
        yield from ((f"{place}.{key}", problem) for key, problem in found)
        earlier[step.name] = tuple(step.output)
    for index, dimension in enumerate(config.dimensions):
        if dimension.synthesize is not None:
            template = compile_template(dimension.synthesize)
            for problem in template.problems({*columns, *FINDING_NAMES}):
                yield f"dimensions.{index}.synthesize", problem


def _template_problems(
    step: AskedStep, known: Collection[str], missing: Collection[str], columns: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield the problems of the names in the templates of a step, each with its key."""
    for key, text in step.templates.items():
        template = compile_template(text)
        absent = [name for name in template.names if name in missing]
        yield from ((key, _no_column(name, columns)) for name in absent)
        yield from ((key, problem) for problem in template.problems({*known, *absent}))


def _row_problems(
    step: AskedStep, known: Collection[str], columns: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield the problems of a step that asks about rows, whose templates have none, each with its key."""
    named = [("attach", name) for name in step.attach]
    if isinstance(step, RerankStep) and step.documents is not None:
        named.append(("documents", step.documents))
    yield from ((key, _no_column(name, columns)) for key, name in named if name not in columns)
    if not named and not any(compile_template(text).used(known) for text in step.templates.values()):
        said = f"it names no column, so that all rows are asked the same; {_written(columns)}"
        yield next(iter(step.templates)), said


def _names_of_no_column(config: HeadraceConfig, columns: Collection[str]) -> frozenset[str]:
    """Return the names that stand for parts of an item, or for a key, and are no column of these rows.

    The key of a row is in the column that the configuration names; without one it is the row's number.
    """
    has_key = getattr(config.tasks, "key", None) is not None
    return frozenset({"text"} if has_key else {"text", "key"}) - set(columns)


def _no_column(name: str, columns: Collection[str]) -> str:
    listed = ", ".join([*columns][:MOST_NAMED]) or "none"
    rest = len(columns) - MOST_NAMED
    more = f" and {rest} more" if rest > 0 else ""
    return f"the table has no column {name}; columns: {listed}{more}; {{fields}} is the whole row"


def _source_problems(
    config: HeadraceConfig, columns: Collection[str], tasks: int
) -> Iterator[tuple[str, str]]:
    known = {*columns, "key"}
    for index, source in enumerate(config.sources):
        match source:
            case FilesSettings(path=text):
                place = f"sources.{index}.path"
            case HttpSettings(url=text):
                place = f"sources.{index}.url"
            case _:
                continue
        used = templates.names(text)
        if not used and tasks > 1 and isinstance(source, FilesSettings):
            yield (
                place,
                f"it names no value of the task, so that all tasks read the same files; {_written(known)}",
            )
        for name in sorted(used - known):
            yield place, f"{{{name}}} is no param of any task{suggestion(name, known)}"


def _written(columns: Collection[str]) -> str:
    names = ", ".join(f"{{{name}}}" for name in sorted(columns)[:MOST_NAMED])
    return f"write the name of one in braces: {names}" if names else "write {key}"

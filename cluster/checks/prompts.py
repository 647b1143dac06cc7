"""Checks the placeholders of all prompts against the names that have values, before anything is paid for."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from actors.core.errors import ConfigError
from actors.core.task.field_names import dotted
from actors.core.task.prompts import EVALUATE_NAMES, FINDING_NAMES, ROW_NAMES
from actors.core.task.templates import compile_template
from cluster.config.model import HeadraceConfig
from cluster.config.steps import UNNAMED


def refuse_wrong_prompts(config: HeadraceConfig, columns: Collection[str]) -> None:
    """Raise ConfigError if a prompt uses a name without a value. `columns` are those of all tasks."""
    if problems := list(prompt_problems(config, columns)):
        raise ConfigError("\n".join(problems))


def prompt_problems(config: HeadraceConfig, columns: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with the prompts, each with its place and the remedy."""
    own = (ROW_NAMES if config.is_map else EVALUATE_NAMES) | set(columns)
    earlier: dict[str, Collection[str]] = {}
    for step in config.steps:
        where = "evaluate.prompt" if step.name == UNNAMED else f"evaluate: step {step.name}"
        for problem in compile_template(step.prompt).problems(own | set(dotted(earlier))):
            yield f"{where}: {problem}"
        earlier[step.name] = step.output
    for dimension in config.dimensions:
        template = compile_template(dimension.synthesize or "")
        for problem in template.problems(FINDING_NAMES | set(columns)):
            yield f"dimensions: synthesize of {dimension.name}: {problem}"

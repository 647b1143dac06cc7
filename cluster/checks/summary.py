"""Describes a run before it starts: the output of ``check``.

Rule: the description has only numbers that are known before anything is fetched, and no secret.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.sources.simulated import SimulatedSettings
from cluster.checks.recognized import price_in_words, recognized, unsent_files
from cluster.config.kinds.step import ComputedStep
from cluster.config.kinds.store import SqliteSection
from cluster.config.llm import LLMSettings, unpriced
from cluster.config.model import HeadraceConfig
from cluster.config.steps import AnyStep
from cluster.config.tasks import FileTasks, InlineTasks, RangeTasks


def summary_lines(config: HeadraceConfig, count: int | None = None) -> list[str]:
    """Return the description of a run, without secrets, one fact a line.

    `count` is the number of tasks, None if they have not been read.
    """
    sources = [f"{it.name} ({it.kind}{', required' if it.required else ''})" for it in config.sources]
    dimensions = [f"{it.name} (of {it.field}, weight {it.weight:g})" for it in config.dimensions]
    limits = config.limits
    budgets = [
        f"{limit:,.10g} {unit}"
        for limit, unit in ((limits.budget_usd, "USD"), (limits.budget_tokens, "tokens"))
        if limit is not None
    ]
    store = config.store
    place = f" at {store.path}" if isinstance(store, SqliteSection) else ""
    tables = " and ".join(config.tables)
    lines = [
        f"run: {config.name}",
        f"tasks: {_tasks_in_words(config.tasks, count)}",
        f"sources: {', '.join(sources) or 'none, each task is its own item'}",
        *_endpoint_lines(config.llm),
        *(f"endpoint {name}: {found}" for name, found in recognized(config).items()),
        *_step_lines(config.steps),
        *unsent_files(config),
        f"dimensions: {', '.join(dimensions) or 'none'}",
        f"calls: {_calls_in_words(config, count)}",
        f"limits: {limits.active_tasks:,} tasks at once, {config.task_deadline_s:g} s for each",
        f"budget: {' and '.join(budgets) or 'none set'}",
        f"store: {store.kind}{place}, keep {store.keep}",
        f"output: {tables} as {' and '.join(config.output.format)} in {config.output.directory}",
    ]
    return [*map(config.censor(), lines)]


def _tasks_in_words(tasks: FileTasks | RangeTasks | InlineTasks | None, count: int | None) -> str:
    match tasks:
        case FileTasks():
            return f"{'' if count is None else f'{count:,}, '}read from {tasks.path}"
        case RangeTasks():
            return f"{tasks.count:,}, keys begin with {tasks.prefix!r}"
        case InlineTasks():
            return f"{len(tasks.tasks):,}, listed in the configuration"
        case None:
            return "none, they come over HTTP or from --tasks"


def _endpoint_lines(llm: LLMSettings) -> list[str]:
    if llm.simulator is not None:
        return [f"endpoint: a simulated model, started for the run ({llm.simulator.latency_s:g} s an answer)"]
    lines = [
        f"endpoint: {it.name}, model {it.model} at {it.base_url}, at most {it.max_in_flight:,} in flight, "
        f"{price_in_words(it)}"
        for it in llm.endpoints
    ]
    problem = unpriced(llm.endpoints)
    return lines if problem is None else [*lines, f"cost: unknown; {problem}"]


def _step_lines(steps: Sequence[AnyStep]) -> list[str]:
    lines = []
    for step in steps:
        condition = f", asked if {step.when}" if step.when else ""
        if isinstance(step, ComputedStep):
            condition = condition.replace("asked", "computed")
            lines.append(f"step {step.name}: {', '.join(step.output)}, computed by {step.kind}{condition}")
            continue
        where = f", at {' or '.join(step.endpoints)}" if step.endpoints else ""
        lines.append(f"step {step.name}: {', '.join(step.output)}{condition}{where}")
    return lines


def _calls_in_words(config: HeadraceConfig, count: int | None) -> str:
    findings = sum(dimension.synthesize is not None for dimension in config.dimensions)
    steps = len(config.asked_steps)
    at_most = "at most " if any(step.when for step in config.asked_steps) else ""
    simulated = [source.items for source in config.sources if isinstance(source, SimulatedSettings)]
    if len(simulated) < len(config.sources):
        number = "one" if steps == 1 else f"{at_most}{steps}"
        items = "each item of a task (how many is known once fetched)"
        return f"{number} for {items}, and {findings} for findings"
    fetched = 1 if config.is_map else sum(simulated)
    each = fetched * steps + findings
    parts = [
        f"{fetched:,} item{'s' * (fetched != 1)}",
        *([f"{steps} steps"] if steps > 1 else []),
        *([f"{findings} for findings"] if findings else []),
    ]
    calls = f"{at_most}{each:,} a task ({', '.join(parts)})"
    tasks = _number_of(config.tasks, count)
    return calls if tasks is None else f"{calls}, {at_most}{tasks * each:,} in all"


def _number_of(tasks: FileTasks | RangeTasks | InlineTasks | None, count: int | None) -> int | None:
    match tasks:
        case RangeTasks():
            return tasks.count
        case InlineTasks():
            return len(tasks.tasks)
        case _:
            return count

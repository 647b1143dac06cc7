"""Describes a run before it starts: the output of ``driver.py check``.

Rule: the description has only numbers that are known before anything is fetched, and no secret.
"""

from __future__ import annotations

from actors.sources.simulated import SimulatedSettings
from cluster.config.kinds.store import SqliteSection
from cluster.config.llm import LLMSettings
from cluster.config.model import HeadraceConfig
from cluster.config.tasks import FileTasks, InlineTasks, RangeTasks


def summary_lines(config: HeadraceConfig) -> list[str]:
    """Return the description of a run, without secrets, one fact a line."""
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
    lines = [
        f"run: {config.name}",
        f"tasks: {_tasks_in_words(config.tasks)}",
        f"sources: {', '.join(sources) or 'none, each task is its own item'}",
        *_endpoint_lines(config.llm),
        f"dimensions: {', '.join(dimensions) or 'none'}",
        f"calls: {_calls_in_words(config)}",
        f"limits: {limits.active_tasks:,} tasks at once, {limits.task_deadline_s:g} s for each",
        f"budget: {' and '.join(budgets) or 'none set'}",
        f"store: {store.kind}{place}, keep {store.keep}",
        f"output: {' and '.join(config.output.format)} in {config.output.directory}",
    ]
    return [*map(config.censor(), lines)]


def _tasks_in_words(tasks: FileTasks | RangeTasks | InlineTasks | None) -> str:
    match tasks:
        case FileTasks():
            return f"read from {tasks.path}, counted as they are read"
        case RangeTasks():
            return f"{tasks.count:,}, keys begin with {tasks.prefix!r}"
        case InlineTasks():
            return f"{len(tasks.tasks):,}, listed in the configuration"
        case None:
            return "none configured"


def _endpoint_lines(llm: LLMSettings) -> list[str]:
    if llm.simulator is not None:
        return [f"endpoint: a simulated model, started for the run ({llm.simulator.latency_s:g} s an answer)"]
    return [
        f"endpoint: {it.name}, model {it.model} at {it.base_url}, at most {it.max_in_flight:,} in flight"
        for it in llm.endpoints
    ]


def _calls_in_words(config: HeadraceConfig) -> str:
    findings = sum(dimension.synthesize is not None for dimension in config.dimensions)
    simulated = [source.items for source in config.sources if isinstance(source, SimulatedSettings)]
    if config.is_map:
        simulated = [1]
    elif len(simulated) < len(config.sources):
        return f"one for each item of a task (how many is known once fetched), and {findings} for findings"
    each = sum(simulated) + findings
    calls = f"{each:,} a task ({sum(simulated):,} items, {findings} for findings)"
    match config.tasks:
        case RangeTasks(count=count):
            return f"{calls}, {count * each:,} in all"
        case InlineTasks(tasks=tasks):
            return f"{calls}, {len(tasks) * each:,} in all"
        case _:
            return calls

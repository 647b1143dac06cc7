"""Configurations, tasks and reports for tests of the result tables."""

from __future__ import annotations

from pathlib import Path

import orjson

from actors.core.messages.tasks import ItemResult, ItemState, Report, Task, TaskState
from actors.core.messages.values import CallCounts, Usage
from cluster.config.model import HeadraceConfig
from cluster.report.results import ResultWriter

OUTPUT = {
    "label": {"type": "string", "choices": ["good", "bad"]},
    "score": {"type": "number", "min": 0, "max": 1},
}


def settings(output=None, *, fields=None, sources=True, evaluate=None, **sections) -> HeadraceConfig:
    """Return a configuration with one step; without `sources` in map form."""
    document = {
        "evaluate": evaluate or {"prompt": "Rate {text}", "output": fields or OUTPUT},
        "output": output or {},
        **sections,
    }
    if sources:
        document["sources"] = [{"name": "wire", "kind": "simulated", "items": 2}]
    return HeadraceConfig.model_validate(document)


def rated(key="a", *, values=None, error=None, state=ItemState.SUCCEEDED, step="evaluate") -> Report:
    """Return the report of a task in map form."""
    values = {step: {"label": "good", "score": 0.5} if values is None else values} if error is None else {}
    item = ItemResult(f"rows:{key}", "rows", state, values, error, usage=Usage(10, 2, 0.25))
    ended = TaskState.SUCCEEDED if error is None else TaskState.FAILED
    return Report(key, ended, None, (), {}, CallCounts(planned=1), Usage(10, 2, 0.25), 1.5, (), (item,))


def row(number: int, **params) -> Task:
    """Return the task of a row without a key. Rows are numbered from 1."""
    return Task(f"row-{number:06}", params)


def publish(writer: ResultWriter) -> None:
    """Complete and publish the tables."""
    writer.finish()
    writer.publish()


def lines(path) -> list[dict]:
    """Return the objects in a file of JSON lines."""
    return [orjson.loads(line) for line in Path(path).read_bytes().splitlines()]

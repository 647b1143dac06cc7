from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from cluster.config.tasks import Tasks

ADAPTER = TypeAdapter(Tasks)


def problem(keys: dict) -> tuple[tuple[str | int, ...], str]:
    """Return the place and the message of the one thing that is wrong with the section."""
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(keys)
    (error,) = caught.value.errors()
    return error["loc"][1:], error["msg"]


@pytest.mark.parametrize("path", ["tasks.jsonl", "a/tasks.CSV", "tasks.parquet"])
def test_tasks_come_from_files_of_three_formats(path):
    assert ADAPTER.validate_python({"kind": "file", "path": path}).path == path


@pytest.mark.parametrize("path", ["tasks.txt", "jsonl", "tasks.jsonl.gz"])
def test_a_file_of_another_format_is_refused(path):
    place, message = problem({"kind": "file", "path": path})
    assert place == ("path",)
    assert message.endswith(
        "a file of tasks must end in .jsonl, .ndjson, .csv, .tsv, .parquet; or set tasks.format"
    )


@pytest.mark.parametrize("count", [0, -1, 1_000_000_001])
def test_a_range_of_no_tasks_or_of_too_many_is_refused(count):
    assert problem({"kind": "range", "count": count})[0] == ("count",)


def test_an_inline_task_may_be_its_key_alone():
    tasks = ADAPTER.validate_python(
        {"kind": "inline", "tasks": ["a", {"key": "b", "params": {"city": "Oslo"}}]}
    )
    assert [(task.key, task.params) for task in tasks.tasks] == [("a", {}), ("b", {"city": "Oslo"})]


def test_keys_of_inline_tasks_are_unique():
    assert problem({"kind": "inline", "tasks": ["a", "b", {"key": "a"}]}) == (
        ("tasks", 2),
        "the key 'a' is taken by entry 0 already",
    )


def test_every_task_has_its_own_params():
    first, second = ADAPTER.validate_python({"kind": "inline", "tasks": ["a", "b"]}).tasks
    assert first.params is not second.params

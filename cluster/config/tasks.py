"""The section `tasks`: a file of tasks, a range of numbered tasks, or a list.

Rule: only a list is held in memory. A file is read, and keys are numbered, while the run accepts tasks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from actors.core.messages.values import Json
from cluster.config.base import LocalPath, Section, raise_all, repeated


class FileTasks(Section):
    """One task a line (.jsonl) or row (.csv, .parquet)."""

    kind: Literal["file"]
    path: Annotated[LocalPath, Field(description="a .jsonl, .csv or .parquet file")]

    @field_validator("path")
    @classmethod
    def _has_a_known_suffix(cls, value: str) -> str:
        if Path(value).suffix.lower() not in (".jsonl", ".csv", ".parquet"):
            raise ValueError("a file of tasks must end in .jsonl, .csv or .parquet")
        return value


class RangeTasks(Section):
    """Tasks with numbered keys."""

    kind: Literal["range"]
    count: Annotated[int, Field(ge=1, le=1_000_000_000, description="number of tasks")]
    prefix: Annotated[
        str,
        Field(
            max_length=256,
            pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$",
            description="beginning of every key",
        ),
    ] = "task-"


class InlineTask(Section):
    """One task in the configuration itself."""

    key: Annotated[str, Field(min_length=1, max_length=512, description="names the task; unique in a run")]
    params: Annotated[dict[str, Json], Field(description="values for templates, by name")] = {}  # noqa: RUF012 - pydantic gives every instance a copy


def _task_of_key(value: Any) -> Any:
    return {"key": value} if isinstance(value, str) else value


class InlineTasks(Section):
    """A list of tasks."""

    kind: Literal["inline"]
    tasks: Annotated[
        tuple[
            Annotated[InlineTask, BeforeValidator(_task_of_key, json_schema_input_type=str | InlineTask)], ...
        ],
        Field(min_length=1, description="keys, or mappings of key and params"),
    ]

    @field_validator("tasks")
    @classmethod
    def _keys_differ(cls, value: tuple[InlineTask, ...]) -> tuple[InlineTask, ...]:
        raise_all(repeated((task.key for task in value), "the key"))
        return value


Tasks = Annotated[FileTasks | RangeTasks | InlineTasks, Field(discriminator="kind")]

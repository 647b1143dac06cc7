"""The section `tasks`: a file of tasks, a range of numbered tasks, or a list.

Rule: only a list is held in memory. A file is read, and keys are numbered, while the run accepts tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import not_
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from actors.core.messages.values import Json
from cluster.config.base import LocalPath, Section, raise_all, repeated
from cluster.input.formats import FORMATS, STDIN, TableFormat, delimiter_of, encoding_of, format_of


def _if_given(check: Callable[[str], str]) -> Callable[[str | None], str | None]:
    return lambda text: None if text is None else check(text)


class FileTasks(Section):
    """One task a line (.jsonl, .ndjson) or row (.csv, .tsv, .parquet)."""

    kind: Literal["file"]
    format: Annotated[
        TableFormat | None,
        Field(exclude_if=not_, description="the format of the file; none: its suffix tells it"),
    ] = None
    path: Annotated[
        LocalPath,
        Field(description="a .jsonl, .ndjson, .csv, .tsv or .parquet file, or the URL of one (s3://...)"),
    ]
    delimiter: Annotated[
        str | None,
        AfterValidator(_if_given(delimiter_of)),
        Field(exclude_if=not_, description="between the cells of a .csv or .tsv file; none: comma, or tab"),
    ] = None
    encoding: Annotated[
        str | None,
        AfterValidator(_if_given(encoding_of)),
        Field(exclude_if=not_, description="of a text file, such as cp1252 or utf-16; none: UTF-8"),
    ] = None
    key: Annotated[
        str | None,
        Field(
            exclude_if=not_,
            min_length=1,
            max_length=256,
            description="the column or member with the task's key; none: `key`, or row numbers without it",
        ),
    ] = None

    @field_validator("path")
    @classmethod
    def _has_a_known_format(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("format") is None and format_of(value) is None and value != STDIN:
            raise ValueError(f"a file of tasks must end in {', '.join(FORMATS)}; or set tasks.format")
        return value


class RangeTasks(Section):
    """Tasks with numbered keys."""

    kind: Literal["range"]
    count: Annotated[int, Field(ge=1, le=1_000_000_000, description="number of tasks")]
    prefix: Annotated[
        str,
        Field(
            max_length=256,
            pattern=r"^[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]*$",
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

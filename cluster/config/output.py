"""The section `output`: where results go, which tables are written, and in which formats."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from actors.core.messages.values import Json
from cluster.config.base import LocalPath, Name, Section, as_tuple, raise_all, repeated

Format = Literal["jsonl", "parquet", "csv"]
Table = Literal["reports", "items"]


class SinkSettings(Section):
    """A plug-in that receives the results beside the files."""

    kind: Annotated[Name, Field(description="the name of the plug-in")]
    options: Annotated[dict[str, Json], Field(max_length=100, description="passed to the plug-in")] = Field(
        default_factory=dict
    )


class OutputSettings(Section):
    """Where results go."""

    directory: Annotated[
        LocalPath, Field(description="contains one directory for each run: a path, or a URL (s3://...)")
    ] = "runs"
    format: Annotated[
        tuple[Format, ...],
        BeforeValidator(as_tuple, json_schema_input_type=Format | tuple[Format, ...]),
        Field(min_length=1, description="jsonl, parquet, csv, or a list of them"),
    ] = ("jsonl",)
    tables: Annotated[
        Annotated[tuple[Table, ...], Field(min_length=1)] | None,
        BeforeValidator(as_tuple, json_schema_input_type=Table | tuple[Table, ...] | None),
        Field(description="reports, items or both; none: reports, and items without sources"),
    ] = None
    raw: Annotated[bool, Field(description="keep the text of every answer, for `map --with raw`")] = False
    text: Annotated[bool, Field(description="write the text of every item into the table of items")] = False
    sinks: Annotated[
        tuple[SinkSettings, ...], Field(max_length=20, description="plug-ins that receive the results too")
    ] = ()

    @field_validator("format")
    @classmethod
    def _formats_differ(cls, value: tuple[Format, ...]) -> tuple[Format, ...]:
        raise_all(repeated(value, "the format"))
        return value

    @field_validator("tables")
    @classmethod
    def _tables_differ(cls, value: tuple[Table, ...] | None) -> tuple[Table, ...] | None:
        raise_all(repeated(value or (), "the table"))
        return value

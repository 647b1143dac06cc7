"""The rows of a call, in memory or in a file, and the result of the same kind."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headrace.rows.tables import InputTable
from headrace.wording import python_words

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.input.rows import RowInput
    from cluster.report.results import ResultWriter
    from cluster.report.summary import RunSummary
    from cluster.report.tables.columns import Layout


@dataclass(frozen=True, slots=True)
class RowChoice:
    """The choice of the rows that are asked. `key` names the column that identifies them."""

    key: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    limit: int | None = None
    sample: int | None = None


class RowSource(Protocol):
    """The input of a call."""

    name: str

    @property
    def target(self) -> str | None:
        """Return the file or URL to which the result is written."""

    def rows(self, max_task_bytes: int) -> RowInput:
        """Read the rows. Raises `TaskInputError` and `TableError`."""

    def take(self, writer: ResultWriter, summary: RunSummary) -> None:
        """Take the answers from the writer after the end of a run."""

    def result(self, layout: Layout) -> Any:
        """Return the result."""

    def close(self) -> None:
        """Remove temporary files."""


class MemoryRows:
    """A table in memory, whose result is a table of the same kind."""

    name = "table"

    def __init__(self, table: InputTable, choice: RowChoice, output: str | None) -> None:
        self._table = table
        self._choice = choice
        self.target = output
        self._positions: Sequence[int] | None = None
        self._answers: pa.Table | None = None

    def rows(self, max_task_bytes: int) -> RowInput:
        """Read the rows of the table."""
        from cluster.input.rows import RowInput  # noqa: PLC0415 - `import headrace` is quick

        choice = self._choice
        rows = RowInput.of_records(
            self._table.rows,
            self.name,
            key=choice.key,
            limit=choice.limit,
            sample=choice.sample,
            max_task_bytes=max_task_bytes,
            columns=self._table.columns,
        )
        if rows.chosen is not None:
            self._positions = sorted(rows.chosen)
        elif rows.count < self._table.count:
            self._positions = range(rows.count)
        return rows

    def take(self, writer: ResultWriter, summary: RunSummary) -> None:
        """Take the answers if every row has ended."""
        if not summary.open_tasks:
            self._answers = writer.answers()

    def result(self, layout: Layout) -> Any:
        """Return the table with the answers. Without a run, it has no rows."""
        from cluster.report.tables.arrow_rows import arrow_table  # noqa: PLC0415 - loads pyarrow
        from cluster.report.tables.kinds import MapTable  # noqa: PLC0415 - loads pydantic

        answers = self._answers
        if answers is None:
            answers = arrow_table(MapTable(layout, {}).new_columns, ())
        table = self._table if self._positions is None else self._table.taken(self._positions)
        return table.joined(answers)

    def close(self) -> None:
        """Do nothing."""


class FileRows:
    """A file or a URL. The result is written to `output`, or else returned as a pyarrow Table."""

    def __init__(self, path: str, choice: RowChoice, output: str | None) -> None:
        from cluster.input.formats import stem_of  # noqa: PLC0415 - `import headrace` is quick

        self.name = stem_of(path)
        self._path = path
        self._choice = choice
        self._output = output
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def target(self) -> str:
        """The output, or else a temporary file."""
        if self._output is not None:
            return self._output
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="headrace-map-")
        return str(Path(self._folder.name, "result.parquet"))

    def rows(self, max_task_bytes: int) -> RowInput:
        """Read the rows of the file."""
        from cluster.input.formats import text_form  # noqa: PLC0415 - `import headrace` is quick
        from cluster.input.problems import TaskInputError  # noqa: PLC0415 - same
        from cluster.input.rows import RowInput  # noqa: PLC0415 - same

        choice = self._choice
        form = text_form(choice.delimiter, choice.encoding)
        try:
            return RowInput.of_file(
                self._path,
                key=choice.key,
                form=form,
                limit=choice.limit,
                sample=choice.sample,
                max_task_bytes=max_task_bytes,
            )
        except TaskInputError as error:
            if type(error) is not TaskInputError:
                raise
            raise TaskInputError(error.place, error.line, python_words(error.problem)) from error

    def take(self, writer: ResultWriter, summary: RunSummary) -> None:
        """Do nothing: the result is in the file."""

    def result(self, layout: Layout) -> Any:  # noqa: ARG002 - the file has the columns
        """Return the path that the caller gave for the output, or else the table."""
        if self._output is not None:
            return Path(self._output) if "://" not in self._output else self._output
        import pyarrow.parquet as pq  # noqa: PLC0415 - takes 0.1 s to load

        return pq.read_table(self.target)

    def close(self) -> None:
        """Remove the temporary file."""
        if self._folder is not None:
            self._folder.cleanup()

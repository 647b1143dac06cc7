"""Writes the tables of a run: to files under ``<directory>/<run_id>/``, to one path or URL, and to sinks.

Rule 1: The journal is authoritative. A resumed run writes its tables again, completely, from the journal.
Rule 2: Rows are in the order of the input. Memory does not grow with their number: see `Spool`.
Rule 3: Only the owner of a run changes its files. The owner calls `open` once it holds the lease, and
    `publish` once the journal has confirmed that it still does.
Rule 4: A file appears complete or not at all. Until `publish`, an earlier file stays. In map form a table is
    complete if each row of the input has its row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from actors.core.errors import HeadraceError, text_of
from actors.core.messages.tasks import Report, Task
from actors.core.run_id import check_directory_name
from actors.journal.stores.opening import SqliteSettings
from cluster.input.local_copy import is_url
from cluster.report.tables.columns import KEY, Column, Layout, Row, TableName
from cluster.report.tables.kinds import AnyTable, MapTable, table_of
from cluster.report.tables.outputs import FileOutput, SinkOutput, TableOutput
from cluster.report.tables.spool import Spool
from cluster.report.tables.targets import ResultsError, explained
from cluster.report.tables.value_types import NULL

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.config.model import HeadraceConfig
    from cluster.report.tables.parquet_input import ArrowInput


class ResultWriter:
    """Writes the reports of a run to `outputs`.

    The order of calls is `open`, `write` for each report, `finish`, `publish`; each may raise `ResultsError`.
    As a context manager it discards what was not published. `directory` holds the reports until the end, or
    the directory of temporary files, if it does not exist on this host.
    `input_columns` names the columns of the input in order; by default they are the tasks' params, in the
    order in which they occur.
    """

    def __init__(
        self,
        layout: Layout,
        outputs: Sequence[TableOutput],
        *,
        directory: Path | None = None,
        input_columns: Sequence[str] | None = None,
        arrow_input: ArrowInput | None = None,
    ) -> None:
        self._layout = layout
        self._outputs = list(outputs)
        self._directory = directory
        self._input_columns = input_columns
        self._arrow_input = arrow_input
        self._place = tempfile.gettempdir() if directory is None else str(directory)
        self._published: list[TableOutput] = []
        self._spool: Spool | None = None

    @classmethod
    def for_run(cls, config: HeadraceConfig, run_id: str, *, arrow_input: ArrowInput | None = None) -> Self:
        """Return a writer of the tables and formats that the configuration names. Raises `ConfigError`."""
        check_directory_name(run_id)
        place = config.output.directory
        is_remote = is_url(place)
        folder = f"{place.rstrip('/')}/{run_id}" if is_remote else str(Path(place) / run_id)
        files = [
            FileOutput(TableName(table), f"{folder}/{table}.{form}", is_private=not is_remote)
            for table in config.tables
            for form in config.output.format
        ]
        return cls(
            Layout.of(config),
            [*files, *_sinks(config)],
            directory=_beside_store(config) if is_remote else Path(folder),
            arrow_input=arrow_input,
        )

    @classmethod
    def for_rows(
        cls,
        config: HeadraceConfig,
        target: str | None,
        *,
        run_id: str = "",
        extras: Sequence[str] = (),
        input_columns: Sequence[str] | None = None,
        arrow_input: ArrowInput | None = None,
    ) -> Self:
        """Return a writer of the table `items` to a path or URL, or to none: `rows` reads it then.

        `extras` are keys of `MAP_EXTRAS`. With `arrow_input` a Parquet table keeps the types of the input.
        Removes the parts that earlier writers of the run `run_id` left beside the path. Raises `ConfigError`
        for a target that cannot be written.
        """
        files = [] if target is None else [FileOutput(TableName.ITEMS, target, run_id=run_id)]
        directory = _beside_store(config) if target is None or is_url(target) else Path(target).parent
        return cls(
            Layout.of(config, extras),
            [*files, *_sinks(config)],
            directory=directory,
            input_columns=input_columns,
            arrow_input=arrow_input,
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, which exist after `publish`."""
        return tuple(
            output.name for output in (*self._published, *self._outputs) if isinstance(output, FileOutput)
        )

    def open(self) -> None:
        """Create the temporary files. Only the owner of the run may call this."""
        try:
            for output in self._outputs:
                output.open()
            directory = self._directory
            if directory is not None and not directory.is_dir():
                directory = None  # the store of a cluster may be on another host
            with explained(self._place):
                self._spool = Spool(directory)
        except ResultsError:
            self.discard()
            raise

    def write(self, task: Task, report: Report, ordinal: int) -> None:
        """Add the report of the task at this place in the input, counted from 0."""
        assert self._spool is not None  # noqa: S101 - `open` comes first
        try:
            with explained(self._place):
                self._spool.add(ordinal, task, report)
        except (TypeError, ValueError) as error:
            # No format can hold text that is not Unicode, such as a lone surrogate.
            raise ResultsError(
                f"the report of task {task.key!r} cannot be written: {text_of(error)}"
            ) from error

    def finish(self, *, is_whole: bool = True) -> None:
        """Complete the temporary files. A full disk raises here, not in `publish`.

        `is_whole`: every task of the input has ended. Otherwise nothing is written in map form. Takes about
        10 µs a row.
        """
        if self._layout.is_map and not is_whole:
            self._discard_outputs()
            return
        try:
            self._fill()
        except HeadraceError:  # also of an input that has changed
            self.discard()
            raise

    def _fill(self) -> None:
        tables = [(output, self._table(output.table)) for output in self._outputs]
        for output, table in tables:
            output.begin(table, self._arrow_input)
        for entries in self._entries():
            for output, table in tables:
                output.write([*_rows_of(table, entries)])
        for output, _ in tables:
            output.finish()

    def publish(self) -> None:
        """Make the finished files visible."""
        try:
            while self._outputs:
                self._outputs[0].publish()
                self._published.append(self._outputs.pop(0))
        except ResultsError:
            self.discard()
            raise

    def discard(self) -> None:
        """Delete what is not published. Earlier files of the run stay."""
        self._discard_outputs()
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _discard_outputs(self) -> None:
        for output in self._outputs:
            output.discard()
        self._outputs.clear()

    # ---- reading, until the writer is closed -------------------------------------------------------------

    def rows(self, name: TableName) -> Iterator[Row]:
        """Yield the rows of a table in the order of the input."""
        for batch in self._batches(self._table(name)):
            yield from batch

    def columns(self, name: TableName) -> tuple[Column, ...]:
        """Return the columns of a table."""
        return self._table(name).columns

    def answers(self) -> pa.Table:
        """Return the new columns of the map form as a table in memory, in the order of the input."""
        from cluster.report.tables.arrow_rows import arrow_table  # noqa: PLC0415 - loads pyarrow: 0.1 s

        table = self._table(TableName.ITEMS)
        assert isinstance(table, MapTable)  # noqa: S101 - the caller's configuration has no sources
        return arrow_table(table.new_columns, self._batches(table))

    def _batches(self, table: AnyTable) -> Iterator[list[Row]]:
        return ([*_rows_of(table, entries)] for entries in self._entries())

    def _entries(self) -> Iterator[list[tuple[Task, Report]]]:
        assert self._spool is not None  # noqa: S101 - `open` comes first
        with explained(self._place):
            yield from self._spool.in_order()

    def _table(self, name: TableName) -> AnyTable:
        assert self._spool is not None  # noqa: S101 - `open` comes first
        types = self._spool.inputs.types
        names = types if self._input_columns is None else self._input_columns
        known = {KEY.name: KEY.type, **types}
        return table_of(name, self._layout, {each: known.get(each, NULL) for each in names})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def _rows_of(table: AnyTable, entries: Iterable[tuple[Task, Report]]) -> Iterator[Row]:
    return (row for task, report in entries for row in table.rows(task, report))


def _beside_store(config: HeadraceConfig) -> Path | None:
    """Return the directory of the store. The system's directory of temporary files may be in memory."""
    store = config.store.settings()
    return Path(store.path).parent if isinstance(store, SqliteSettings) else None


def _sinks(config: HeadraceConfig) -> list[SinkOutput]:
    return [
        SinkOutput(TableName(table), settings) for settings in config.output.sinks for table in config.tables
    ]

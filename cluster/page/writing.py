"""Writes the page of a run: one pass over its tasks for the figures, another for the rows.

Rule 1: memory does not grow with the run. Rows go to a temporary file, block by block.
Rule 2: a page over its maximum size keeps the failed and incomplete tasks first, then others at random, and
says how many are left out. The figures of the summary always cover all tasks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from actors.core.errors import ConfigError, StoreError
from actors.core.journal import keys
from actors.core.journal.reads import read_attempts, read_history
from actors.core.journal.rows import INCOMPLETE, RUNNING, load_report
from actors.core.messages.journal import RunView, TaskView
from actors.core.messages.tasks import Report, Task
from actors.core.metrics.history import History
from actors.journal.stores.base import Store
from cluster.golden.figures import golden_figures, preference_lines, preferences
from cluster.golden.file import read_golden
from cluster.golden.standing import GoldenSet
from cluster.history.asked import RunQuestions
from cluster.page.blocks import BlockFile, PageFullError, TableBlocks
from cluster.page.columns import PageTables, page_tables
from cluster.page.document import GoldenFigures, PageContent, PageData, TableData, frame
from cluster.page.figures import RunFigures
from cluster.page.options import PageOptions
from cluster.page.redaction import Redaction
from cluster.page.rows import RowMaker
from cluster.page.selection import Selection, is_failure
from cluster.program import program
from cluster.records.reading import all_ended, events_of, silent_runs, tasks_in_order
from cluster.records.records import CODEC, found_run
from cluster.report.tables.columns import Layout
from cluster.report.tables.targets import explained
from cluster.report.task_history import TaskHistory
from cluster.report.views import is_priced
from cluster.web.writing import OTHERWISE, refuse_foreign, write_file

MOST_ROWS = 200_000  # a browser searches them in a second
_FRAME_BYTES = 400_000  # of the file, besides the rows
_MOST_PASSES = 8
_COPIED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class WrittenPage:
    """A page that was written: its size, and how many of the tasks it holds."""

    path: Path
    size: int
    kept: int
    tasks: int


def write_page(store: Store, run_id: str, path: Path, now: float, options: PageOptions) -> WrittenPage:
    """Write the page of a run. Raises `ConfigError` for unknown hidden columns, and `ResultsError`."""
    return _PageWriter(store, run_id, now, options).write(path)


class _PageWriter:
    def __init__(self, store: Store, run_id: str, now: float, options: PageOptions) -> None:
        self._store = store
        self._now = now
        self._options = options
        self._run: RunView = found_run(store, run_id)
        if self._run.state in INCOMPLETE:
            raise ConfigError(
                f"run {run_id} lacks rows: its removal or restore is in progress or was interrupted. Restore "
                f"it again, or finish with `{program()} prune {run_id}`"
            )
        self._is_priced = is_priced(self._run)
        self._is_live = self._run.state == RUNNING and not silent_runs(store, [self._run])
        self._redaction = Redaction(options.hidden)
        self._failed = self._open = 0

    def write(self, path: Path) -> WrittenPage:
        refuse_foreign(path)  # before a million tasks are read
        figures = self._figures()
        tables = page_tables(figures)
        _check_hidden(self._options.hidden, tables, figures)
        golden, history = self._golden(figures), self._history()
        with explained(str(path), OTHERWISE):
            path.parent.mkdir(parents=True, exist_ok=True)
            # In the directory of the page: that of temporary files may be small. Only its owner can read it.
            with tempfile.TemporaryFile(dir=path.parent) as spool:
                data, kept = self._spooled(spool, figures, tables)
                content = PageContent(self._run, figures, figures.failures.causes(), golden, history, data)
                before, after = frame(content, self._now)
                size = write_file(path, chain([before], _chunks(spool), [after]))
        return WrittenPage(path, size, kept, figures.tasks + self._open)

    def _figures(self) -> RunFigures:
        """Return the figures of all tasks."""
        run = self._run
        layout = Layout.stored(run.config, is_priced=self._is_priced)
        figures = RunFigures(run, layout, self._redaction.hidden, self._now)
        for view, report in self._tasks():
            attempts = read_attempts(self._store, CODEC, run.run_id, view.key)
            self._failed += is_failure(report)
            if report is None:
                self._open += 1
                figures.course.add(attempts)
            else:
                figures.add(Task(view.key, view.params), report, attempts)
        return figures

    def _history(self) -> History | None:
        """Return the stored history of the endpoints; a damaged one costs the page only its plots."""
        try:
            return read_history(self._store, self._run.run_id)
        except StoreError:
            return None

    def _golden(self, figures: RunFigures) -> GoldenFigures:
        """Return how the answers compare with the run's golden set, if there is one."""
        golden = GoldenSet() if self._options.golden is None else read_golden(self._options.golden)
        sentences = tuple(preference_lines(preferences(golden, self._run.run_id), self._run.run_id))
        if not golden.fields():
            return GoldenFigures(preferences=sentences)
        ended = all_ended(self._store, self._run.run_id)
        fields = golden_figures(golden, ended, figures.layout.outputs)
        return GoldenFigures(tuple(fields), sentences)

    def _tasks(self) -> Iterator[tuple[TaskView, Report | None]]:
        for view in tasks_in_order(self._store, self._run.run_id):
            data = self._store.get(keys.report(self._run.run_id, view.key))
            report = None if data is None else load_report(CODEC, data)
            yield view, report and self._redaction.report(view.params, report)

    def _spooled(self, spool: BinaryIO, figures: RunFigures, tables: PageTables) -> tuple[PageData, int]:
        """Write the rows of as many tasks as fit to `spool`, and return what the page needs to read them."""
        total = figures.tasks + self._open
        most_bytes = max(self._options.most_mb * 1e6 - _FRAME_BYTES, 0)
        shown = frozenset(figures.shown_keys())
        rows = total if figures.layout.is_map else total + figures.items
        selection = self._fitting(total * MOST_ROWS / rows, total) if rows > MOST_ROWS else Selection()
        questions = RunQuestions(self._run, self._options.hidden)
        maker = RowMaker(tables, questions, self._redaction, figures, self._run.began_at)
        for number in range(_MOST_PASSES):
            spool.seek(0)
            spool.truncate()
            file = BlockFile(spool, int(most_bytes))
            written = _Written.begun(file, tables)
            try:
                for view, report in self._tasks():
                    if view.key in shown or selection.keeps(view.key, report):
                        written.add(maker, self._asked(questions, view, report))
                return written.data(tables, figures, self._open), written.tasks.count
            except PageFullError:
                fitting = most_bytes / (file.size / max(written.tasks.count, 1))
                selection = self._fitting(fitting * 0.8**number, total)
                shown = shown if number + 2 < _MOST_PASSES else frozenset()
        raise ConfigError(f"the page does not fit in {self._options.most_mb:g} MB; raise --max-mb")

    def _fitting(self, most: float, total: int) -> Selection:
        return Selection.fitting(most, self._failed, total - self._failed)

    def _asked(self, questions: RunQuestions, view: TaskView, report: Report | None) -> TaskHistory:
        run_id = self._run.run_id
        history = TaskHistory(
            run_id,
            view,
            report,
            read_attempts(self._store, CODEC, run_id, view.key),
            events_of(self._store, run_id, view.key),
            is_priced=self._is_priced,
            is_live=self._is_live,
        )
        return questions.of(self._store, history)


@dataclass(slots=True)
class _Written:
    """The tables of a page, as they are being written."""

    tasks: TableBlocks
    items: TableBlocks
    history: TableBlocks

    @classmethod
    def begun(cls, file: BlockFile, tables: PageTables) -> _Written:
        return cls(
            TableBlocks(file, "tasks", len(tables.tasks)),
            TableBlocks(file, "items", len(tables.items)),
            TableBlocks(file, "history", 1),
        )

    def add(self, maker: RowMaker, history: TaskHistory) -> None:
        task, items, document = maker.rows(history, self.tasks.count, self.items.count)
        self.tasks.add(task)
        for item in items:
            self.items.add(item)
        self.history.add([document])

    def data(self, tables: PageTables, figures: RunFigures, unended: int) -> PageData:
        for table in (self.tasks, self.items, self.history):
            table.flush()
        return PageData(
            tasks=TableData(tables.tasks, self.tasks.count, figures.tasks + unended, self.tasks.starts),
            items=TableData(tables.items, self.items.count, figures.items, self.items.starts),
            history=TableData((), self.history.count, self.history.count, self.history.starts),
            unended=unended,
        )


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_COPIED_BYTES):
        yield chunk


def _check_hidden(hidden: Collection[str], tables: PageTables, figures: RunFigures) -> None:
    """Raise `ConfigError` if a hidden column does not exist, or names the tasks."""
    outputs = {name for column in figures.layout.outputs for name in (column.name, column.field)}
    known = [*tables.inputs, *sorted(outputs), "text"]
    for name in hidden:
        if name not in known:
            raise ConfigError(f"--redact {name}: there is no such column; known: {', '.join(known)}")
        if name in (figures.key_columns or ()):
            raise ConfigError(
                f"--redact {name}: the column holds the keys, which name the tasks in the page; "
                "run with another --key to leave it out"
            )

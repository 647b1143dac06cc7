"""A run as the caller sees it: its summary, its results, and what continues it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from actors.core.messages.values import Json, Usage
from cluster.page.options import MOST_MB, PageOptions
from cluster.report.console import cost_text
from cluster.report.summary import RunSummary, summary_json
from headrace.progress.summary_html import summary_html
from headrace.progress.timeline import Timeline

if TYPE_CHECKING:
    from actors.core.messages.journal import RunView
    from actors.journal.stores.base import Store
    from cluster.config.model import HeadraceConfig
    from cluster.report.tables.columns import TableName
    from cluster.run.launch import BatchRequest


class Run:
    """A run that has ended or was stopped. Its results are read from its store.

    In a notebook it shows its summary, its failures, and how the limit and the throughput went.
    """

    def __init__(
        self,
        batch: BatchRequest,
        summary: RunSummary,
        timeline: Timeline,
        resume: Callable[[str, Path | None, bool | None], Run],
    ) -> None:
        self._config: HeadraceConfig = batch.config
        self._origin = batch.origin
        self._summary = summary
        self._timeline = timeline
        self._resume = resume  # by the run's id, the configuration that names its store, and `progress`

    @property
    def id(self) -> str:
        """The id of the run, which names it in the store."""
        return self._summary.run_id

    @property
    def state(self) -> str:
        """How the run ended: succeeded, partial, failed, interrupted or cancelled."""
        return self._summary.state.value

    @property
    def summary(self) -> Mapping[str, Json]:
        """The document that ``headrace run --json`` prints."""
        return summary_json(self._summary)

    @property
    def errors(self) -> Mapping[str, int]:
        """The causes of failure, and how many tasks each has, most frequent first."""
        return {one.cause: one.tasks for one in self._summary.failures}

    @property
    def usage(self) -> Usage:
        """The billed tokens."""
        return self._summary.usage

    @property
    def cost(self) -> float | None:
        """The cost in US cost_text, at the configured or listed prices; None if no price is known.

        If some endpoints have a price and others have none, it lacks the answers of the others.
        """
        return self._summary.usage.known_cost(is_priced=self._summary.is_priced)

    def reports(self) -> Iterator[Mapping[str, Json]]:
        """Yield a row for each task that has ended, in order: see docs/results.md."""
        from cluster.report.tables.columns import TableName  # noqa: PLC0415 - loads pydantic

        return self._rows(TableName.REPORTS)

    def items(self) -> Iterator[Mapping[str, Json]]:
        """Yield a row for each item of each task that has ended, in order: see docs/results.md."""
        from cluster.report.tables.columns import TableName  # noqa: PLC0415 - loads pydantic

        return self._rows(TableName.ITEMS)

    def _rows(self, name: TableName) -> Iterator[Mapping[str, Json]]:
        from cluster.records.reading import all_ended  # noqa: PLC0415 - loads the stores
        from cluster.records.records import opened_store  # noqa: PLC0415 - same
        from cluster.report.tables.columns import InputColumns, Layout  # noqa: PLC0415 - loads pydantic
        from cluster.report.tables.kinds import table_of  # noqa: PLC0415 - loads pydantic

        with opened_store(self._config.store.settings()) as store:
            ended = partial(all_ended, store, self.id)
            inputs = InputColumns()
            for place, (task, _) in enumerate(ended()):
                inputs.add(place, task)
            table = table_of(name, Layout.of(self._config), inputs.types)
            for task, report in ended():
                yield from table.rows(task, report)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Store, RunView]]:
        """Open the store of the run, for `headrace.compare`."""
        from cluster.records.records import found_run, opened_store  # noqa: PLC0415 - loads the stores

        with opened_store(self._config.store.settings()) as store:
            yield store, found_run(store, self.id)

    def report(
        self, path: str | Path | None = None, *, redact: Sequence[str] = (), max_mb: float = MOST_MB
    ) -> Path:
        """Write the report page, one HTML file, and return its path. Default: RUN_ID.html.

        redact: columns of the input or of the answers whose values the page hides. max_mb: the largest file
        in MB; beyond it the page has the failures and a random sample.
        """
        from cluster.golden.file import golden_path  # noqa: PLC0415 - loads the stores
        from cluster.page.writing import write_page  # noqa: PLC0415 - loads numpy and jinja2
        from cluster.records.records import opened_store  # noqa: PLC0415 - loads the stores

        target = Path(path or f"{self.id}.html")
        settings = self._config.store.settings()
        options = PageOptions(tuple(redact), golden_path(settings, self.id), max_mb)
        with opened_store(settings) as store:
            write_page(store, self.id, target, time.time(), options)
        return target

    def golden(self, path: str | Path | None = None) -> list[Mapping[str, Json]]:
        """Return how the answers compare with the golden set of ``headrace review``, field by field.

        See docs/review.md. `path` names another golden set than that of the run.
        """
        from cluster.golden.figures import figures_document, golden_figures  # noqa: PLC0415 - loads numpy
        from cluster.golden.file import golden_path, read_golden  # noqa: PLC0415 - loads the stores
        from cluster.records.reading import all_ended  # noqa: PLC0415 - same
        from cluster.records.records import opened_store  # noqa: PLC0415 - same
        from cluster.report.item_columns import item_columns  # noqa: PLC0415 - loads pydantic

        settings = self._config.store.settings()
        golden = read_golden(Path(path) if path is not None else golden_path(settings, self.id))
        with opened_store(settings) as store:
            entries = all_ended(store, self.id)
            found = golden_figures(golden, entries, item_columns(self._config))
        return [figures_document(each) for each in found]

    def resume(self, *, progress: bool | None = None) -> Run:
        """Continue the run, and return it when it has ended. Only the missing calls are made."""
        path = self._origin.path
        return self._resume(self.id, None if path is None else Path(path), progress)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled or copied: the configuration of the run holds API keys and passwords."""
        opened = f"headrace.run(…, run_id={self.id!r}) returns it in another process"
        raise TypeError(f"a Run cannot be pickled, because its configuration holds secrets: {opened}")

    def __repr__(self) -> str:
        tasks = self._summary.tasks
        cost = cost_text(self._summary.usage, is_priced=self._summary.is_priced)
        cost = "of unknown cost" if cost == "unknown" else cost
        return f"<Run {self.id}: {self.state}, {tasks.ended:,} of {tasks.accepted:,} tasks, {cost}>"

    def _repr_html_(self) -> str:
        return summary_html(self._summary, self._timeline)

"""The contract of a sink of results: its rows become visible all at once, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.report.tables.columns import Column, Row
from cluster.report.tables.sinks import ResultSink
from cluster.report.tables.value_types import NUMBER, TEXT
from headrace.contracts.rules import check

COLUMNS = (Column("key", TEXT), Column("text", TEXT), Column("score", NUMBER))
ROWS: tuple[Row, ...] = (
    {"key": "a", "text": "plain", "score": 0.5},
    {"key": "b", "text": 'ünï "quoted",\nline', "score": None},
    {"key": "c", "text": "", "score": 1.0},
)
TABLE = "items"


class SinkContract:
    """Subclass it, and implement `sink` and `visible`. Nothing is visible when a test begins."""

    def sink(self) -> ResultSink:
        """Return a new sink, as the entry point does with the options of the configuration."""
        raise NotImplementedError

    def visible(self) -> Sequence[Row]:
        """Return the rows of the table that a reader sees now, in order."""
        raise NotImplementedError

    def test_no_row_is_visible_before_the_end(self) -> None:
        """The run may be taken over by another process, which writes all rows again."""
        sink = self._written(ROWS)
        check(not self.visible(), "no row is visible before `finish`", self.visible())
        sink.discard()

    def test_at_the_end_all_rows_are_visible_in_their_order(self) -> None:
        """Rows arrive in batches of any size."""
        self._written(ROWS[:1], ROWS[1:], ()).finish()
        self._check_visible(ROWS)

    def test_discarded_rows_are_never_visible(self) -> None:
        """A run that fails or is stopped discards its rows."""
        self._written(ROWS).discard()
        check(not self.visible(), "discarded rows are not visible", self.visible())

    def test_a_sink_that_was_not_opened_can_be_discarded(self) -> None:
        """A run may fail before its first row."""
        self.sink().discard()

    def test_rows_of_a_later_run_replace_those_of_an_earlier_one(self) -> None:
        """A resumed run writes all rows, also those that were visible before."""
        self._written(ROWS[:2]).finish()
        self._written(ROWS).finish()
        self._check_visible(ROWS)

    def test_rows_that_are_visible_stay_when_a_later_attempt_is_discarded(self) -> None:
        """A reader never sees a gap."""
        self._written(ROWS).finish()
        self._written(ROWS[:1]).discard()
        self._check_visible(ROWS)

    def test_a_table_without_rows_is_finished(self) -> None:
        """An input may be empty."""
        self._written().finish()
        self._check_visible(())

    def _written(self, *batches: Sequence[Row]) -> ResultSink:
        sink = self.sink()
        sink.open(TABLE, COLUMNS)
        for batch in batches:
            sink.write(batch)
        return sink

    def _check_visible(self, rows: Sequence[Row]) -> None:
        found = [dict(row) for row in self.visible()]
        check(found == [dict(row) for row in rows], "all rows are visible in their order", found)

"""Reads the rows of runs from a store in pages of a bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from actors.core.journal import keys
from actors.core.journal.batch import CheckedCodec, KeyReader, Reader, range_of
from actors.core.journal.rows import RunRow, load_run
from cluster.backup.file_format import Row
from cluster.records.records import CODEC

_FIRST_PAGE = 16
_MOST_ROWS = 200  # the next rows may be much larger
_PAGE_BYTES = 4 << 20


def rows_of_all_runs(reader: Reader) -> Iterator[RunRow]:
    """Yield the row of each run, also of those that lack other rows."""
    codec = CheckedCodec(CODEC)
    for _, value in paged(reader, *range_of(b"r")):
        yield load_run(codec, value)


def rows_of_runs(reader: KeyReader, run_ids: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of these runs, run by run, each beginning with the row of the run."""
    for run_id in run_ids:
        for kind in keys.OF_DATA:
            yield from paged(reader, *range_of(bytes((kind,)) + keys.part(run_id)))


def known_answers(reader: Reader) -> Iterator[Row]:
    """Yield the answers that all runs of a store share."""
    return paged(reader, *range_of(keys.KNOWN_ANSWERS))


def paged(reader: Reader, low: bytes, high: bytes) -> Iterator[Row]:
    """Yield the rows of [low, high). The number of rows in a page follows their size."""
    limit = _FIRST_PAGE
    while True:
        page = reader.scan(low, high, limit)
        yield from page
        if len(page) < limit:
            return
        low = page[-1][0] + b"\0"
        size = sum(len(key) + len(value) for key, value in page)
        limit = max(1, min(_MOST_ROWS, 4 * limit, limit * _PAGE_BYTES // size))

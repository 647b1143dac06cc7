"""Writes the reports of a run as a Parquet file with a fixed schema."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from actors.core.messages.values import Json
from cluster.report.result_part import ResultPart
from cluster.report.summary import COUNTS

ROW_GROUP_ROWS = 1_000

_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()
_DIMENSION = pa.struct(
    [
        ("name", _TEXT),
        ("score", _NUMBER),
        ("low", _NUMBER),
        ("high", _NUMBER),
        ("n", _COUNT),
        ("finding", _TEXT),
        ("evidence", pa.list_(_TEXT)),
        ("flags", pa.list_(_TEXT)),
    ]
)
# Rows instead of a column for each source: runs with different sources have the same schema.
_SOURCE = pa.struct([("name", _TEXT), ("items", _COUNT), ("error", _TEXT)])

PARQUET_SCHEMA = pa.schema(
    [
        pa.field("key", _TEXT, nullable=False),
        pa.field("state", _TEXT, nullable=False),
        ("overall", _NUMBER),
        ("dimensions", pa.list_(_DIMENSION)),
        ("sources", pa.list_(_SOURCE)),
        ("calls", pa.struct([(name, _COUNT) for name in COUNTS])),
        ("tokens", pa.struct([("input", _COUNT), ("output", _COUNT)])),
        ("cost_usd", _NUMBER),
        ("elapsed_s", _NUMBER),
        ("errors", pa.list_(_TEXT)),
    ]
)


class ParquetFile(ResultPart):
    """A Parquet file that is written one row group at a time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._rows: list[dict[str, Json]] = []
        self._writer: pq.ParquetWriter | None = pq.ParquetWriter(
            self.file, PARQUET_SCHEMA, compression="zstd"
        )

    def write(self, line: Mapping[str, Json]) -> None:
        """Add one report. Raises `OSError`, and `ValueError` for text that is not Unicode."""
        sources = [{"name": name, **outcome} for name, outcome in line["sources"].items()]
        self._rows.append({**line, "sources": sources})
        if len(self._rows) >= ROW_GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        if self._rows and self._writer is not None:
            self._writer.write_table(pa.Table.from_pylist(self._rows, PARQUET_SCHEMA))
            self._rows.clear()

    def finish(self) -> None:
        """Write the last row group and the footer, and sync the file. A second call has no effect."""
        if self._writer is not None:
            self._write_group()
            self._writer.close()
            self._writer = None
        super().finish()

    def discard(self) -> None:
        """Delete the temporary file. After `publish` this has no effect."""
        writer, self._writer = self._writer, None
        if writer is not None:
            # A second error from the same full disk would hide the first.
            with contextlib.suppress(OSError, pa.ArrowException):
                writer.close()
        super().discard()

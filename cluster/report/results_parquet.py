"""A run's reports as a Parquet file: its schema, and how it is written."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from actors.core.messages.values import Json
from cluster.report.result_part import ResultPart

ROW_GROUP_ROWS = 1_000

_COUNTS = ("planned", "billed", "reused", "in_doubt", "unusable", "refused", "estimated")

PARQUET_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("overall", pa.float64()),
        pa.field(
            "dimensions",
            pa.list_(
                pa.struct(
                    [
                        pa.field("name", pa.string()),
                        pa.field("score", pa.float64()),
                        pa.field("low", pa.float64()),
                        pa.field("high", pa.float64()),
                        pa.field("n", pa.int64()),
                        pa.field("finding", pa.string()),
                        pa.field("evidence", pa.list_(pa.string())),
                        pa.field("flags", pa.list_(pa.string())),
                    ]
                )
            ),
        ),
        # Rows rather than a column per source: runs with other sources have the same schema.
        pa.field(
            "sources",
            pa.list_(
                pa.struct(
                    [
                        pa.field("name", pa.string()),
                        pa.field("items", pa.int64()),
                        pa.field("error", pa.string()),
                    ]
                )
            ),
        ),
        pa.field("calls", pa.struct([pa.field(name, pa.int64()) for name in _COUNTS])),
        pa.field("tokens", pa.struct([pa.field("input", pa.int64()), pa.field("output", pa.int64())])),
        pa.field("cost_usd", pa.float64()),
        pa.field("elapsed_s", pa.float64()),
        pa.field("errors", pa.list_(pa.string())),
    ]
)


class ParquetFile:
    """Rows gather into row groups, in a file of a temporary name that takes its own name when complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = ResultPart(path)
        self._rows: list[dict[str, Json]] = []
        self._writer: pq.ParquetWriter | None = pq.ParquetWriter(
            self._part.file, PARQUET_SCHEMA, compression="zstd"
        )

    def write(self, line: Mapping[str, Json]) -> None:
        """Add one report. Raises `OSError`, as all but `discard` may, and ValueError on text that is none."""
        sources = [{"name": name, **outcome} for name, outcome in line["sources"].items()]
        self._rows.append({**line, "sources": sources})
        if len(self._rows) >= ROW_GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        if self._rows and self._writer is not None:
            self._writer.write_table(pa.Table.from_pylist(self._rows, PARQUET_SCHEMA))
            self._rows.clear()

    def finish(self) -> None:
        """Write the rest and the footer, and sync the file; finishing again changes nothing."""
        if self._writer is not None:
            self._write_group()
            self._writer.close()
            self._writer = None
            self._part.finish()

    def publish(self) -> None:
        """Give the file its own name."""
        self._part.publish()

    def discard(self) -> None:
        """Leave no file, whatever was written; after `publish` this changes nothing."""
        writer, self._writer = self._writer, None
        if writer is not None:
            # A failure is on its way already; a second one from the same full disk would hide it.
            with contextlib.suppress(OSError, pa.ArrowException):
                writer.close()
        self._part.discard()

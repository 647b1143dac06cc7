"""What a run leaves behind: result files under ``<directory>/<run_id>/``.

Rule 1: the journal is the truth and these files are copies of it, so nothing here is synced to disk, and a
resumed run writes them anew, whole.
Rule 2: memory does not grow with the number of reports: JSON lines go out in blocks, Parquet in row groups.
Rule 3: a name never stands for something half done that a reader could take for whole. ``results.jsonl`` can
be followed while it grows, a line being a whole report; ``results.parquet`` appears when it is complete.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, ClassVar, Protocol, Self

import orjson

from actors.core.errors import Blame, HeadraceError
from actors.core.messages import Json, Report
from actors.core.reports import report_line

FLUSH_LINES = 256
FLUSH_S = 1.0


class ResultsError(HeadraceError):
    """Results cannot be written: the disk is full, or the directory is not writable."""

    blame: ClassVar[Blame] = Blame.CONFIG


class _Sink(Protocol):
    """One result file being written. Every method may raise `OSError`."""

    path: Path

    def write(self, line: Mapping[str, Json]) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...


class ResultWriter:
    """Writes each report of a run as it comes, in one format or several.

    `formats` holds ``jsonl``, ``parquet`` or both. As a context manager it closes, or, where the block
    raised, abandons: then no Parquet file appears.
    """

    def __init__(
        self,
        directory: Path,
        run_id: str,
        formats: Collection[str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory / run_id
        self._sinks: list[_Sink] = []
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            for name in dict.fromkeys(formats):
                self._sinks.append(self._open(name, clock))
        except BaseException as error:
            self.abandon()
            if isinstance(error, OSError):
                raise _explained(error, self._directory) from error
            raise

    def _open(self, name: str, clock: Callable[[], float]) -> _Sink:
        if name == "jsonl":
            return _JsonLines(self._directory / "results.jsonl", clock)
        if name == "parquet":
            from cluster.results_parquet import ParquetFile  # noqa: PLC0415 - loads pyarrow, a tenth of a second

            return ParquetFile(self._directory / "results.parquet")
        raise ValueError(f"unknown result format {name!r}; known are jsonl and parquet")

    def write(self, report: Report) -> None:
        """Add one report. Raises `ResultsError`."""
        line = report_line(report)
        for sink in self._sinks:
            try:
                sink.write(line)
            except OSError as error:
                raise _explained(error, sink.path) from error
            except (TypeError, ValueError) as error:
                # Text that is not Unicode (a lone surrogate) is what no format can hold.
                problem = f"{sink.path}: the report of task {report.key!r} cannot be written: {error}"
                raise ResultsError(problem) from error

    def flush(self) -> None:
        """Let readers see every line so far; for quiet times, once a second. Raises `ResultsError`."""
        for sink in self._sinks:
            try:
                sink.flush()
            except OSError as error:
                raise _explained(error, sink.path) from error

    def close(self) -> tuple[Path, ...]:
        """Finish the files and return their paths. Raises `ResultsError`. Closing again changes nothing."""
        for sink in self._sinks:
            try:
                sink.close()
            except OSError as error:
                self.abandon()
                raise _explained(error, sink.path) from error
        return tuple(sink.path for sink in self._sinks)

    def abandon(self) -> None:
        """Let go of the files after a failure: lines that went out stay, no Parquet file appears."""
        for sink in self._sinks:
            sink.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()


class _JsonLines:
    """Lines gather and are written at 256, or with the first to come a second after the last writing."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.path = path
        self._clock = clock
        self._file: BinaryIO = path.open("wb", buffering=0)
        self._pending: list[bytes] = []
        self._flushed_at = clock()

    def write(self, line: Mapping[str, Json]) -> None:
        self._pending.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if len(self._pending) >= FLUSH_LINES or self._clock() - self._flushed_at >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        block = memoryview(b"".join(self._pending))
        self._pending.clear()
        self._flushed_at = self._clock()
        while block:  # an unbuffered write may take only a part, as when the disk is nearly full
            block = block[self._file.write(block) :]

    def close(self) -> None:
        if not self._file.closed:
            self.flush()
            self._file.close()

    def abandon(self) -> None:
        self._file.close()


_ADVICE = {
    errno.ENOSPC: "the disk is full; free space",
    errno.EDQUOT: "the disk quota is used up; free space",
    errno.EACCES: "writing is not permitted; permit it",
    errno.EPERM: "writing is not permitted; permit it",
    errno.EROFS: "the file system is read-only; make it writable",
    errno.ENOTDIR: "a file stands where a directory is needed; move it away",
    errno.EEXIST: "a file stands where a directory is needed; move it away",
}


def _explained(error: OSError, path: Path) -> ResultsError:
    what = _ADVICE.get(error.errno or 0) or f"{error.strerror or error}; mend that"
    return ResultsError(f"{path}: {what}, or set output.directory to another place, then resume the run")

"""Writes the result files of a run, under ``<directory>/<run_id>/``.

Rule 1: The journal is authoritative. A resumed run writes its files again, completely, from the journal.
Rule 2: Memory does not grow with the number of reports: JSON lines are written at once, Parquet in groups.
Rule 3: Only the owner of a run changes its files. The owner calls `open` once it holds the lease, and
    `publish` once the journal has confirmed that it still does.
Rule 4: A file appears complete or not at all. Until `publish`, an earlier file stays.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

import orjson

from actors.core.errors import Blame, HeadraceError, text_of
from actors.core.messages.tasks import Report
from actors.core.messages.values import Json
from actors.core.run_id import check_directory_name
from actors.core.task.reports import report_line
from cluster.report.result_part import ResultPart, remove_parts

if TYPE_CHECKING:
    from cluster.report.results_parquet import ParquetFile


class ResultsError(HeadraceError):
    """Results cannot be written: the disk is full, or the directory is not writable."""

    blame: ClassVar[Blame] = Blame.CONFIG


class ResultWriter:
    """Writes the reports of a run in one format or several.

    `formats` holds ``jsonl``, ``parquet`` or both; another raises `ValueError`. The order of calls is `open`,
    `write` for each report, `finish`, `publish`; each may raise `ResultsError`. As a context manager it
    discards the files that were not published.
    """

    def __init__(self, directory: Path, run_id: str, formats: Collection[str]) -> None:
        self._directory = directory / check_directory_name(run_id)
        for name in formats:
            if name not in ("jsonl", "parquet"):
                raise ValueError(f"unknown result format {name!r}; known are jsonl and parquet")
        self._paths = {name: self._directory / f"results.{name}" for name in dict.fromkeys(formats)}
        self._sinks: list[_JsonLines | ParquetFile] = []

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, which exist after `publish`."""
        return tuple(self._paths.values())

    def open(self) -> None:
        """Create the directory and the temporary files. Only the owner of the run may call this."""
        with self._discarding(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
            for name, path in self._paths.items():
                remove_parts(path)
                self._sinks.append(_sink(name, path))

    def write(self, report: Report) -> None:
        """Add one report."""
        line = report_line(report)
        for sink in self._sinks:
            try:
                sink.write(line)
            except OSError as error:
                raise _explained(error, sink.path) from error
            except (TypeError, ValueError) as error:
                # No format can hold text that is not Unicode, such as a lone surrogate.
                problem = (
                    f"{sink.path}: the report of task {report.key!r} cannot be written: {text_of(error)}"
                )
                raise ResultsError(problem) from error

    def finish(self) -> None:
        """Complete and sync the temporary files. A full disk raises here, not in `publish`."""
        for sink in self._sinks:
            with self._discarding(sink.path):
                sink.finish()

    def publish(self) -> None:
        """Rename the finished files to `paths`."""
        while self._sinks:
            with self._discarding(self._sinks[0].path):
                self._sinks[0].publish()
            del self._sinks[0]

    def discard(self) -> None:
        """Delete the files that are not published. Earlier files of the run stay."""
        for sink in self._sinks:
            sink.discard()
        self._sinks.clear()

    @contextlib.contextmanager
    def _discarding(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.discard()
            raise _explained(error, path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def _sink(name: str, path: Path) -> _JsonLines | ParquetFile:
    if name == "jsonl":
        return _JsonLines(path)
    from cluster.report.results_parquet import ParquetFile  # noqa: PLC0415 - loads pyarrow: 0.1 s

    return ParquetFile(path)


class _JsonLines(ResultPart):
    """A file with one report a line."""

    def write(self, line: Mapping[str, Json]) -> None:
        self.file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


_ADVICE = {
    errno.ENOSPC: "the disk is full; free space",
    errno.EDQUOT: "the disk quota is used up; free space",
    errno.EACCES: "writing is not permitted; permit it",
    errno.EPERM: "writing is not permitted; permit it",
    errno.EROFS: "the file system is read-only; make it writable",
    errno.ENOTDIR: "a file is in the place of a directory; move it away",
    errno.EEXIST: "a file is in the place of a directory; move it away",
}


def _explained(error: OSError, path: Path) -> ResultsError:
    what = _ADVICE.get(error.errno or 0) or f"{error.strerror or error}; correct that"
    return ResultsError(f"{path}: {what}, or set output.directory to another place, then resume the run")

"""What a run leaves behind: result files under ``<directory>/<run_id>/``.

Rule 1: the journal is the truth and these files are copies of it: a resumed run writes them anew, whole.
Rule 2: memory does not grow with the number of reports: JSON lines go out as they come, Parquet in groups.
Rule 3: only the owner of a run touches its files. A writer touches nothing before `open`, which the owner
    calls once it holds the lease, and replaces nothing before `publish`, which the owner calls once the
    journal has confirmed that the run is still its own.
Rule 4: a file appears whole or not at all; until `publish` an earlier one stays as it is.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol, Self

import orjson

from actors.core.errors import Blame, HeadraceError, text_of
from actors.core.messages.tasks import Report
from actors.core.messages.values import Json
from actors.core.run_id import check_directory_name
from actors.core.task.reports import report_line
from cluster.report.result_part import ResultPart, remove_parts


class ResultsError(HeadraceError):
    """Results cannot be written: the disk is full, or the directory is not writable."""

    blame: ClassVar[Blame] = Blame.CONFIG


class _Sink(Protocol):
    """One result file being written. Every method but `discard` may raise `OSError`."""

    path: Path

    def write(self, line: Mapping[str, Json]) -> None: ...
    def finish(self) -> None: ...
    def publish(self) -> None: ...
    def discard(self) -> None: ...


class ResultWriter:
    """Writes each report of a run as it comes, in one format or several.

    `formats` holds ``jsonl``, ``parquet`` or both. The order is `open`, `write`, `finish`, `publish`; each
    may raise `ResultsError`. As a context manager it discards what was not published.
    """

    def __init__(self, directory: Path, run_id: str, formats: Collection[str]) -> None:
        self._directory = directory / check_directory_name(run_id)
        kinds = {"jsonl": "results.jsonl", "parquet": "results.parquet"}
        for name in formats:
            if name not in kinds:
                raise ValueError(f"unknown result format {name!r}; known are jsonl and parquet")
        self._paths = {name: self._directory / kinds[name] for name in dict.fromkeys(formats)}
        self._sinks: list[_Sink] = []

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, which are there after `publish`."""
        return tuple(self._paths.values())

    def open(self) -> None:
        """Make the directory and the temporary files. To be called by the owner of the run."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            for name, path in self._paths.items():
                remove_parts(path)
                self._sinks.append(_sink(name, path))
        except OSError as error:
            self.discard()
            raise _explained(error, self._directory) from error

    def write(self, report: Report) -> None:
        """Add one report."""
        line = report_line(report)
        for sink in self._sinks:
            try:
                sink.write(line)
            except OSError as error:
                raise _explained(error, sink.path) from error
            except (TypeError, ValueError) as error:
                # Text that is not Unicode (a lone surrogate) is what no format can hold.
                problem = (
                    f"{sink.path}: the report of task {report.key!r} cannot be written: {text_of(error)}"
                )
                raise ResultsError(problem) from error

    def finish(self) -> None:
        """Complete the temporary files and sync them: what a full disk can prevent fails here."""
        for sink in self._sinks:
            try:
                sink.finish()
            except OSError as error:
                self.discard()
                raise _explained(error, sink.path) from error

    def publish(self) -> None:
        """Give the finished files their names."""
        while self._sinks:
            try:
                self._sinks[0].publish()
            except OSError as error:
                path = self._sinks[0].path
                self.discard()
                raise _explained(error, path) from error
            del self._sinks[0]

    def discard(self) -> None:
        """Remove what is not published. Earlier files of the run stay as they are."""
        for sink in self._sinks:
            sink.discard()
        self._sinks.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def _sink(name: str, path: Path) -> _Sink:
    if name == "jsonl":
        return _JsonLines(path)
    from cluster.report.results_parquet import ParquetFile  # noqa: PLC0415 - loads pyarrow: 0.1 s

    return ParquetFile(path)


class _JsonLines:
    """One report a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = ResultPart(path)

    def write(self, line: Mapping[str, Json]) -> None:
        self._part.file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def finish(self) -> None:
        self._part.finish()

    def publish(self) -> None:
        self._part.publish()

    def discard(self) -> None:
        self._part.discard()


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

"""Reports as lines on stdout: JSON for programs, comma-separated values for spreadsheets."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import orjson

from actors.core.errors import Blame, HeadraceError
from actors.core.messages.tasks import Report
from actors.core.messages.values import Json
from actors.core.task.reports import report_line

# What a spreadsheet takes for a formula where a cell begins with it, the full-width forms too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# White space, quotes and semicolons before such a character, each run of them once. Where a spreadsheet
# separates cells at semicolons or tabs, it begins a cell or a row within ours.
_BEFORE_FORMULA = re.compile('(?<![\\s";])[\\s";]++(?=[=+\\-@\uff1d\uff0b\uff0d\uff20])')
_SEPARATORS = frozenset("\t\r\n;")
# Control characters, line separators and what changes the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_CONTROLS_IN_JSON = re.compile(  # the same in UTF-8, but for those that JSON escapes itself
    rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)


class UnprintableError(HeadraceError):
    """A report holds text that no file of text can hold."""

    blame = Blame.TASK


def json_lines(reports: Iterable[Report]) -> Iterator[bytes]:
    """Yield each report with the values of a run's result file. Raises `UnprintableError`.

    What a terminal would obey is written as escapes, which a reader of JSON takes for the same text.
    """
    for report in reports:
        try:
            line = orjson.dumps(report_line(report), option=orjson.OPT_APPEND_NEWLINE)
        except TypeError as error:
            raise _unprintable(report, error) from error
        yield _CONTROLS_IN_JSON.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), line)


def csv_lines(reports: Iterable[Report], dimensions: Sequence[str]) -> Iterator[bytes]:
    """Yield a header and a row a report: scores and findings by dimension. Raises `UnprintableError`.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, also within a cell where one
    that separates cells at semicolons or tabs would begin another. Control characters, which a terminal would
    obey, are written as escapes. JSON has keys and findings unchanged.
    """
    scores = [column for name in dimensions for column in (name, f"{name} finding")]
    yield _row(["key", "state", "overall", *scores, "cost_usd", "errors"])
    for report in reports:
        line = report_line(report)
        found: Mapping[str, Mapping[str, Json]] = {one["name"]: one for one in line["dimensions"]}
        cells = [
            cell
            for name in dimensions
            for cell in (found.get(name, {}).get("score"), _inert(found.get(name, {}).get("finding", "")))
        ]
        errors = _inert(" | ".join(line["errors"]))
        row = [_inert(line["key"]), line["state"], line["overall"], *cells, line["cost_usd"], errors]
        try:
            yield _row(row)
        except UnicodeEncodeError as error:
            raise _unprintable(report, error) from error


def _row(cells: Sequence[Json]) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow(cells)
    return text.getvalue().encode()


def _inert(text: str) -> str:
    text = _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)
    text = _BEFORE_FORMULA.sub(
        lambda found: found[0] if _SEPARATORS.isdisjoint(found[0]) else f"{found[0]}'", text
    )
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _unprintable(report: Report, error: Exception) -> UnprintableError:
    return UnprintableError(f"the report of task {report.key!r} holds text that is not Unicode: {error}")

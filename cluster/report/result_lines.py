"""Formats reports as lines on stdout: JSON for programs, comma-separated values for spreadsheets."""

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

# A spreadsheet reads a cell that begins with one of these as a formula; the last four are full-width forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# White space, quotes and semicolons before such a character. A spreadsheet that separates cells at semicolons
# or tabs begins a new cell or row there.
_BEFORE_FORMULA = re.compile('(?<![\\s";])[\\s";]++(?=[=+\\-@\uff1d\uff0b\uff0d\uff20])')
_SEPARATORS = frozenset("\t\r\n;")
# Control characters, line separators and overrides of the writing direction.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_CONTROLS_IN_JSON = re.compile(  # the same in UTF-8, without those that JSON escapes itself
    rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)


class UnprintableError(HeadraceError):
    """A report contains text that cannot be encoded as UTF-8."""

    blame = Blame.TASK


def json_lines(reports: Iterable[Report]) -> Iterator[bytes]:
    """Yield each report as a line of the result file. Raises `UnprintableError`.

    Characters that a terminal obeys are written as JSON escapes, which decode to the same text.
    """
    for report in reports:
        try:
            line = orjson.dumps(report_line(report), option=orjson.OPT_APPEND_NEWLINE)
        except TypeError as error:
            raise _unprintable(report, error) from error
        yield _CONTROLS_IN_JSON.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), line)


def csv_lines(reports: Iterable[Report], dimensions: Sequence[str]) -> Iterator[bytes]:
    """Yield a header row, then a row for each report: scores and findings by dimension.

    An apostrophe precedes text that a spreadsheet would read as a formula, also within a cell at each place
    where a spreadsheet that separates cells at semicolons or tabs would begin a new one. Control characters
    are written as escapes. `json_lines` gives keys and findings unchanged. Raises `UnprintableError`.
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
    return UnprintableError(f"the report of task {report.key!r} contains text that is not Unicode: {error}")

"""Compares two runs or tables from Python, as the command ``compare`` does."""

from __future__ import annotations

import contextlib
import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from actors.core.errors import ConfigError
from headrace.handle import Run
from headrace.map_call import PathLike
from headrace.rows.tables import table_of
from headrace.wording import in_python_words, python_words

if TYPE_CHECKING:
    from actors.core.messages.values import Json
    from cluster.compare.comparison import ComparisonResult
    from cluster.compare.results import ColumnComparison
    from cluster.compare.sides import Side
    from cluster.compare.truth import Truth
    from cluster.input.formats import FileForm


class Comparison:
    """How B differs from A. All differences are B minus A. A notebook shows it, and `print` too."""

    def __init__(self, result: ComparisonResult) -> None:
        self._result = result

    @property
    def sentence(self) -> str:
        """Whether B is better than A, and how sure that is."""
        return self._result.sentence

    @property
    def columns(self) -> Mapping[str, ColumnComparison]:
        """The comparison of each column that both have, those with a truth first."""
        return self._result.columns

    def as_dict(self) -> dict[str, Json]:
        """Return the document that ``headrace compare --json`` prints."""
        return self._result.as_dict()

    def html(self, path: PathLike) -> Path:
        """Write the comparison as a page, one HTML file that needs no network, and return its path."""
        from cluster.compare.page import write_page  # noqa: PLC0415 - `import headrace` is quick

        return write_page(self._result, Path(path))

    def __str__(self) -> str:
        from cluster.compare.lines import comparison_lines  # noqa: PLC0415 - `import headrace` is quick

        return "\n".join(comparison_lines(self._result))

    def __repr__(self) -> str:
        return f"<Comparison: {self.sentence}>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def compare(
    a: Any,
    b: Any,
    *,
    key: str | None = None,
    truth: Any = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    config: PathLike | None = None,
) -> Comparison:
    """Say whether `b` is better than `a`, how sure that is, and what differs.

    a, b: each a table (a DataFrame of pandas or polars, a Table of pyarrow, a list of dicts), the path or URL
        of a file, the id of a run, or a `Run`.
    key: the column that identifies a row in both; by default ``key``, or else the number of the row.
    truth: ``"FILE:COLUMN"``, ``"FILE:TRUTH=COLUMN"``, the file of a golden set, or a list of these; or a
        table with the key, whose other columns hold the right values. By default the golden sets of the runs.
    delimiter, encoding: of files whose header has no comma, and that are no UTF-8: ``";"`` and ``"cp1252"``.
    config: a configuration that names the store of the runs.

    Raises the errors of the command line, see `headrace.errors`.
    """
    from cluster.compare.choice import preference_of  # noqa: PLC0415 - `import headrace` is quick
    from cluster.compare.comparison import compare_sides  # noqa: PLC0415 - same
    from cluster.input.formats import text_form  # noqa: PLC0415 - same

    place = None if config is None else Path(config)
    with contextlib.ExitStack() as stack, in_python_words():
        form = text_form(delimiter, encoding)
        sides = [_side(given, name, key, place, stack, form=form) for given, name in ((a, "a"), (b, "b"))]
        truths, notes = _truths(truth, sides, place, form)
        preference = preference_of(sides, place, os.environ)
        result = compare_sides(sides[0], sides[1], truths, notes=notes, preference=preference)
    result = replace(result, notes=tuple(map(python_words, result.notes)))
    is_known = any(each.accuracy or each.errors for each in result.columns.values())
    if truth is not None and not is_known:
        raise ConfigError(
            f"truth has no right value for the columns that are compared: {', '.join(result.columns)}; give "
            "it the same key and the same names"
        )
    return Comparison(result)


def _side(
    given: Any,
    name: str,
    key: str | None,
    config: Path | None,
    stack: contextlib.ExitStack,
    *,
    form: FileForm,
) -> Side:
    """Return one side. A store stays open as long as `stack`. Raises `HeadraceError`."""
    from cluster.compare.choice import sides_of  # noqa: PLC0415 - see `compare`
    from cluster.compare.sides import RunSide, TableSide  # noqa: PLC0415 - same

    if isinstance(given, Run):
        store, run = stack.enter_context(given._opened())  # noqa: SLF001 - it is no part of the public API
        return RunSide(store, run, key)
    if isinstance(given, str | os.PathLike):
        word = os.fspath(given)
        return stack.enter_context(sides_of((word,), config, os.environ, key, form))[0]
    return TableSide(name, table_of(given).rows, key=key)


def _truths(
    given: Any, sides: Sequence[Side], config: Path | None, form: FileForm
) -> tuple[dict[str, Truth], list[str]]:
    from cluster.compare.choice import truths_of  # noqa: PLC0415 - see `compare`
    from cluster.compare.pairing import truth_pairing  # noqa: PLC0415 - same
    from cluster.compare.sides import TableLevel, TableSide  # noqa: PLC0415 - same
    from cluster.compare.truth import table_truths  # noqa: PLC0415 - same

    if given is None or isinstance(given, str):
        return truths_of([] if given is None else [given], sides, config, os.environ, form)
    if isinstance(given, Sequence) and given and all(isinstance(each, str) for each in given):
        return truths_of(given, sides, config, os.environ, form)
    table = TableSide("truth", table_of(given).rows, key=sides[0].key)
    pairing = truth_pairing(table, sides[0], ())
    truths = table_truths(pairing, has_items=TableLevel.ITEMS in sides[0].levels)
    return truths, [pairing.note] if pairing.note else []

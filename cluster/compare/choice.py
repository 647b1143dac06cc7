"""Finds the sides of a comparison and their truth by the words of a command or a call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from actors.core.errors import ConfigError
from actors.journal.stores.base import Store
from cluster.compare.pairing import truth_pairing
from cluster.compare.results import Preference
from cluster.compare.sides import RunSide, Side, TableLevel, TableSide
from cluster.compare.truth import Truth, golden_truths, table_truth
from cluster.golden.figures import preferences
from cluster.golden.file import golden_path, read_golden
from cluster.golden.records import GoldenError
from cluster.golden.standing import GoldenSet
from cluster.input.formats import FORMATS, FileForm, format_of
from cluster.input.local_copy import is_url
from cluster.records.records import found_run, opened, store_settings
from cluster.statistics.intervals import wilson
from cluster.statistics.significance import mcnemar_mid_p

_PLAIN = FileForm()


def names_file(word: str) -> bool:
    """Return whether a word names a file or a URL; otherwise it is the id of a run."""
    return is_url(word) or format_of(word) is not None or "/" in word or Path(word).is_file()


@contextlib.contextmanager
def sides_of(
    words: Sequence[str],
    config: Path | None,
    env: Mapping[str, str],
    key: str | None,
    form: FileForm = _PLAIN,
) -> Iterator[list[Side]]:
    """Open the sides that words name, and their store if one is a run. Raises `HeadraceError`."""
    with contextlib.ExitStack() as stack:
        store: Store | None = None
        found: list[Side] = []
        for word in words:
            if names_file(word):
                found.append(TableSide.of_file(word, key, form))
                continue
            store = store or _opened(word, config, env, stack)
            found.append(_run_side(store, word, key))
        yield found


def _opened(word: str, config: Path | None, env: Mapping[str, str], stack: contextlib.ExitStack) -> Store:
    try:
        return stack.enter_context(opened(config, env))
    except ConfigError as error:
        raise ConfigError(f"{word} is no file, and no run can be found: {error}") from error


def _run_side(store: Store, word: str, key: str | None) -> RunSide:
    try:
        return RunSide(store, found_run(store, word), key)
    except ConfigError as error:
        suffixes = ", ".join(FORMATS)
        raise ConfigError(f"{error}. A file is named by its path and one of {suffixes}") from error


# ---- the truth -------------------------------------------------------------------------------------------


def truths_of(
    texts: Sequence[str],
    sides: Sequence[Side],
    config: Path | None,
    env: Mapping[str, str],
    form: FileForm = _PLAIN,
) -> tuple[dict[str, Truth], list[str]]:
    """Return the truth by column, and notes. Raises `ConfigError`.

    A text is ``FILE:COLUMN``, ``FILE:TRUTH=COLUMN``, or the file of a golden set. Without any, those of the
    runs are used.
    """
    has_items = TableLevel.ITEMS in sides[0].levels
    found: dict[str, Truth] = {}
    notes: list[str] = []
    for text in texts:
        if Path(text).is_file():
            found |= _golden_file(text, has_items=has_items)
            continue
        path, mark, column = text.rpartition(":")
        if not mark or not column or not path:
            raise ConfigError(f"--truth {text}: write FILE:COLUMN, or the file of a golden set, which exists")
        wanted, _, name = column.partition("=")
        table = TableSide.of_file(path, sides[0].key, form)
        pairing = truth_pairing(table, sides[0], (wanted, name or wanted))
        notes += [pairing.note] if pairing.note else []
        found[name or wanted] = table_truth(pairing, wanted, name or wanted, has_items=has_items)
    return (found, list(dict.fromkeys(notes))) if texts else _golden(sides, config, env, has_items=has_items)


def _golden_file(path: str, *, has_items: bool) -> dict[str, Truth]:
    column = f"for a column of a table write {path}:COLUMN"
    try:
        found = golden_truths(read_golden(Path(path)), path, has_items=has_items)
    except GoldenError as error:
        raise ConfigError(f"--truth: {error}; {column}") from error
    if not found:
        raise ConfigError(f"--truth {path}: the golden set has no decisions; {column}")
    return found


def preference_of(sides: Sequence[Side], config: Path | None, env: Mapping[str, str]) -> Preference | None:
    """Return the preferences of people who compared two runs blind, None if there are none."""
    runs = [side.name for side in sides if side.run is not None]
    if len(runs) < 2:
        return None
    a, b = runs
    in_a = in_b = neither = 0
    for run, other in ((a, b), (b, a)):
        golden = read_golden(golden_path(store_settings(config, env), run))
        for found in preferences(golden, run):
            if found.other == other:
                own, others = found.preferred, found.other_preferred
                in_a, in_b = (in_a + own, in_b + others) if run == a else (in_a + others, in_b + own)
                neither += found.neither
    if not in_a + in_b + neither:
        return None
    return Preference(in_a, in_b, neither, wilson(in_b, in_a + in_b), mcnemar_mid_p(in_a, in_b))


def _golden(
    sides: Sequence[Side], config: Path | None, env: Mapping[str, str], *, has_items: bool
) -> tuple[dict[str, Truth], list[str]]:
    """Return the truth of the golden sets of the runs that are compared."""
    golden, notes = GoldenSet(), []
    for side in sides:
        if side.run is not None and side.key is None:
            known = read_golden(golden_path(store_settings(config, env), side.name))
            for record in known:
                golden.add(record)
            if len(known):
                notes.append(f"the golden set of run {side.name} is the truth")
    return golden_truths(golden, "golden set", has_items=has_items, is_asked=False), notes

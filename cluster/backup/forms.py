"""The forms of rows: what each kind of row holds, in the present form and in those of earlier versions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec

from actors.core.errors import HeadraceError
from actors.core.journal.attempts import dump_account, dump_attempt, load_account, load_attempt
from actors.core.journal.batch import CheckedCodec
from actors.core.journal.rows import (
    INTERRUPTED,
    RUNNING,
    RunRow,
    dump_answer,
    dump_event,
    dump_fetched,
    dump_report,
    dump_run,
    dump_task,
    load_answer,
    load_event,
    load_fetched,
    load_report,
    load_run,
    load_task,
)
from actors.core.journal.turn import Totals
from actors.core.metrics.history_format import unpack
from actors.core.run_id import check_directory_name
from cluster.records.prune import FINISHED
from cluster.records.records import CODEC

_STATES = FINISHED | {RUNNING, INTERRUPTED}
_CODEC = CheckedCodec(CODEC)
# The errors that loading a row of another form raises.
WRONG = (HeadraceError, AttributeError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError)


def _attempt(codec: CheckedCodec, data: bytes) -> bytes:
    return dump_attempt(codec, *load_attempt(codec, data))


def _totals(codec: CheckedCodec, data: bytes) -> bytes:
    totals = Totals.load(codec, data)
    _ = totals.tally, totals.spent  # these raise for unknown counts
    return totals.dump(codec)


FORMS: Mapping[int, Callable[[CheckedCodec, bytes], bytes]] = {
    ord("r"): lambda codec, data: dump_run(codec, load_run(codec, data)),
    ord("u"): _totals,
    ord("t"): lambda codec, data: dump_task(codec, load_task(codec, data)),
    ord("e"): lambda codec, data: dump_event(codec, load_event(codec, data)),
    ord("p"): lambda codec, data: dump_report(codec, load_report(codec, data)),
    ord("f"): lambda codec, data: dump_fetched(codec, load_fetched(codec, data)),
    ord("c"): _attempt,
    ord("a"): lambda codec, data: dump_account(codec, load_account(codec, data)),
    ord("k"): lambda codec, data: dump_answer(codec, load_answer(codec, data)),
}  # the kinds whose rows are documents


def check_value(kind: int, value: bytes) -> None:
    """Raise one of `WRONG` if `value` is no row of this kind."""
    if kind in FORMS:
        FORMS[kind](_CODEC, value)
    elif kind == ord("m"):
        unpack(value)


def checked_run(run_id: str, value: bytes) -> RunRow:
    """Return the row of a run. Raises one of `WRONG` if it is not the row of run `run_id`."""
    check_directory_name(run_id)
    row = load_run(_CODEC, value)
    msgspec.convert(msgspec.to_builtins(row), RunRow)  # the types of the fields
    if row.run_id != run_id:
        raise ValueError(f"it has the row of run {row.run_id!r}")
    if not run_id.isprintable():
        raise ValueError("its id has control characters")
    if row.state not in _STATES:
        raise ValueError(f"its state {row.state!r} is unknown")
    if not all(math.isfinite(each) for each in (row.began_at, row.ended_at or 0.0)):
        raise ValueError("its times are no times")
    return row

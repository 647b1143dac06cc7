"""The ownership of runs, and its transfer.

Rule 1: a run has one writer: an owner (an application) in one of its lives. Every commit to a run has its
    writer as a fence, so that the next commit of a replaced writer fails and writes nothing.
Rule 2: clocks of hosts are not compared, and the time of day decides nothing. An owner is dead if its
    heartbeat did not change for a whole lease on the monotonic clock of the waiting process. If that process
    returns late, it was suspended or the store was away. The owner may have been suspended too, and gets
    another lease.
Rule 3: a life that has lost a run does not claim it again. Only `OpenRun` and a new life claim runs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from actors.core.errors import (
    ConfigChangedError,
    FencedError,
    InvalidTransitionError,
    InvariantError,
    RunTakenError,
    StoreError,
)
from actors.core.journal import keys
from actors.core.journal.batch import CheckedCodec, Reader, WriteBatch, range_of, scan_all
from actors.core.journal.config_values import is_reference, is_same_value
from actors.core.journal.format import OLDEST, VERSION
from actors.core.journal.rows import ACCEPTED, INCOMPLETE, RESTORING, RUNNING, RunRow, dump_run, load_run
from actors.core.journal.turn import Defer, Observed, OpenTurn, RunBook, Totals
from actors.core.liveness import is_gap
from actors.core.messages.journal import CloseRun, OpenRun, RunOpened
from actors.core.messages.values import Done, Json
from actors.core.run_id import check_run_id
from actors.core.texts import cut

_COMPLETE = ("succeeded", "partial")  # states that require that every task has ended
_MOST_DIFFERENCES = 20
_CHANGED_ADVICE = (
    "use that configuration, accept the changed one (--accept-config), or give the run another id"
)
_LONGEST_VALUE = 80
_ABSENT = object()


class Runs:
    """The runs of an owner in one of its lives."""

    def __init__(self, owner: str, life: str, lease_s: float, codec: CheckedCodec) -> None:
        if ":" in life:
            raise ValueError(f"the name of a life must not contain a colon: {life!r}")
        self.me = f"{owner}:{life}".encode("utf-8", "surrogatepass")
        self._owner = owner
        self._life = life
        self._lease_s = lease_s
        self._codec = codec
        self._books: dict[str, RunBook] = {}
        self._beating: set[str] = set()  # runs that this life has claimed and that are not closed

    def __len__(self) -> int:
        return len(self._beating)

    def forget(self) -> None:
        """Drop the cache. The claimed runs keep their heartbeat while this life is their writer."""
        self._books.clear()

    def check_invariants(self) -> None:
        """Raise InvariantError if the counts of a cached run are impossible."""
        for run_id, book in self._books.items():
            counts, tally = book.totals.account.counts, book.totals.tally
            if min(counts.values()) < 0 or tally.ended > tally.accepted:
                raise InvariantError(f"run {run_id} counts {counts} calls and {tally} tasks")

    def take_over(self, reader: Reader) -> WriteBatch:
        """Return the batch that claims the running runs of earlier lives of this owner."""
        puts: dict[bytes, bytes] = {}
        fences: dict[bytes, bytes | None] = {}
        for key, writer in scan_all(reader, *range_of(b"w")):
            run_id = keys.text(key[1:])
            if _owner_of(writer) != self._owner or self._stored(reader, run_id).state != RUNNING:
                continue
            self._beating.add(run_id)
            if writer != self.me:
                puts[key], fences[key] = self.me, writer
        return WriteBatch(puts, (), fences)

    def beat(self, reader: Reader) -> WriteBatch:
        """Return the batch of this owner's heartbeats. It omits runs that another writer has taken over."""
        puts: dict[bytes, bytes] = {}
        fences: dict[bytes, bytes | None] = {}
        for run_id in self._beating:
            writer = keys.writer(run_id)
            if reader.get(writer) != self.me:
                continue  # the claim is not committed yet, or the run is lost
            beats = int.from_bytes(reader.get(keys.heartbeat(run_id)) or b"", "big")
            puts[keys.heartbeat(run_id)] = keys.number(beats + 1)
            fences[writer] = self.me
        return WriteBatch(puts, (), fences)

    def cancel_requested(self, reader: Reader) -> tuple[str, ...]:
        """Return the runs of this life with a request for their cancellation."""
        return tuple(run_id for run_id in sorted(self._beating) if reader.get(keys.cancel_request(run_id)))

    def book(self, turn: OpenTurn, run_id: str, what: str) -> RunBook:
        """Return the run, whose writer is this life. `what` names the record in errors.

        Raises FencedError if the run has another writer, InvalidTransitionError if there is no such run.
        """
        book = self._books.get(run_id)
        if book is not None:
            turn.use(run_id)
            return book
        writer = turn.store.get(keys.writer(run_id))
        if writer is None:
            raise InvalidTransitionError(f"run {run_id}", "unknown", what)
        if writer != self.me:
            self._beating.discard(run_id)
            raise FencedError(
                f"run {run_id} is written by {_shown(writer)} now, not by {_shown(self.me)}; "
                f"this record ({what}) was not stored"
            )
        turn.use(run_id)
        return self._load(turn, run_id, self._stored(turn.store, run_id))

    def open(
        self, turn: OpenTurn, record: OpenRun, observed: Observed | None, late_s: float = 0.0
    ) -> RunOpened | Defer:
        """Claim a run, or return `Defer` to find out whether its owner is alive.

        `observed` is the owner's state when the record was deferred, and `late_s` is the delay of the retry.
        Raises ConfigChangedError, RunTakenError, and InvalidRunIdError for the id of a new run.
        """
        run_id = record.run_id
        config, origin = self._codec.normal(record.config), self._codec.normal(record.origin)
        writer = turn.store.get(keys.writer(run_id))
        if writer is None:
            check_run_id(run_id)  # only for a new run: older versions accepted other ids
            row = RunRow(
                run_id, record.name, RUNNING, turn.now, None, config, origin, {}, self._life, VERSION
            )
            _drop_cancel_request(turn, run_id)
            turn.store.put(keys.run(run_id), dump_run(self._codec, row))
            turn.claim(run_id, None)
            return self._opened(turn, RunBook(row, Totals()), origin)
        row = self._stored(turn.store, run_id)
        _refuse(row, record, config)
        if _owner_of(writer) != self._owner and row.state == RUNNING:
            seen = Observed(writer, turn.store.get(keys.heartbeat(run_id)))
            if observed is None or (observed == seen and is_gap(late_s, self._lease_s)):
                return Defer(self._lease_s, record, seen)
            if observed != seen:
                raise RunTakenError(_taken_text(row, writer))
        renewed = replace(
            row, state=RUNNING, ended_at=None, summary={} if row.state != RUNNING else row.summary
        )
        if row.config != config:
            renewed = replace(renewed, config=config, origin=origin, config_format=VERSION)
        if row.state != RUNNING:
            _drop_cancel_request(turn, run_id)  # else the resumed run would be cancelled at once
        if renewed != row:
            turn.store.put(keys.run(run_id), dump_run(self._codec, renewed))
        if writer != self.me:
            turn.claim(run_id, writer)
            self._books.pop(run_id, None)  # another writer may have changed the run since it was cached
        book = self._books.get(run_id) or self._load(turn, run_id, renewed)
        book.row = renewed
        return self._opened(turn, book, row.origin)

    def close(self, turn: OpenTurn, record: CloseRun) -> Done:
        """Close a run. A repeated record changes nothing."""
        book = self.book(turn, record.run_id, "close")
        summary = self._codec.normal(record.summary)
        tally = book.totals.tally
        open_tasks = tally.accepted - tally.ended
        if record.state in _COMPLETE and open_tasks:
            state, event = f"running with {open_tasks:,} open tasks", f"an end as {record.state}"
            raise InvalidTransitionError(f"run {record.run_id}", state, event)
        _drop_cancel_request(turn, record.run_id)
        ended_at = book.row.ended_at if book.row.state == record.state else turn.now
        row = replace(book.row, state=record.state, ended_at=ended_at, summary=summary)
        if row != book.row:
            turn.store.put(keys.run(record.run_id), dump_run(self._codec, row))
        turn.settle()  # else the counts in the cached run would be lost
        del self._books[record.run_id]
        self._beating.discard(record.run_id)
        return Done()

    def _opened(self, turn: OpenTurn, book: RunBook, origin: Mapping[str, Json]) -> RunOpened:
        self._books[book.run_id] = book
        self._beating.add(book.run_id)
        turn.use(book.run_id)
        turn.change(book)
        tally = book.totals.tally
        is_new = book.row.created_by == self._life and not book.totals.tasks[ACCEPTED]
        return RunOpened(book.run_id, is_new, book.row.began_at, tally, origin)

    def _load(self, turn: OpenTurn, run_id: str, row: RunRow) -> RunBook:
        totals = turn.store.get(keys.totals(run_id))
        book = RunBook(row, Totals() if totals is None else Totals.load(self._codec, totals))
        self._books[run_id] = book
        return book

    def _stored(self, reader: Reader, run_id: str) -> RunRow:
        row = reader.get(keys.run(run_id))
        if row is None:
            raise StoreError(f"the store is damaged: run {run_id} has a writer and no row")
        return load_run(self._codec, row)


def refuse_changed(
    reader: Reader, codec: CheckedCodec, record: OpenRun, advice: str = _CHANGED_ADVICE
) -> None:
    """Raise if no owner may resume the run of `record`. Does nothing for a new run.

    `advice` says what to do if its configuration was changed.
    """
    data = reader.get(keys.run(record.run_id))
    if data is not None:
        _refuse(load_run(codec, data), record, codec.normal(record.config), advice)


def _refuse(row: RunRow, record: OpenRun, config: Mapping[str, Json], changed: str = _CHANGED_ADVICE) -> None:
    """Raise if a run cannot be resumed by any owner. `changed`: the advice for another configuration."""
    if row.state in INCOMPLETE:
        did = "restore" if row.state == RESTORING else "removal"
        advice = "restore it again, or remove it with" if row.state == RESTORING else "finish it with"
        raise RunTakenError(
            f"run {row.run_id} lacks rows: its {did} is in progress or was interrupted. If it was "
            f"interrupted, {advice} `prune {row.run_id}`. Give your run another id"
        )
    if not record.accept_config and any(
        _differences("", row.config, config, in_clear=row.config_format == OLDEST)
    ):
        raise ConfigChangedError(_difference_text(row, config, changed))


def _drop_cancel_request(turn: OpenTurn, run_id: str) -> None:
    request = keys.cancel_request(run_id)
    if turn.store.get(request) is not None:
        turn.drop(request)


# ---- texts of errors -------------------------------------------------------------------------------------


def _owner_of(writer: bytes) -> str:
    return _shown(writer).rpartition(":")[0]


def _shown(writer: bytes) -> str:
    return writer.decode("utf-8", "surrogatepass")


def _taken_text(row: RunRow, writer: bytes) -> str:
    began = dt.datetime.fromtimestamp(row.began_at, dt.UTC).isoformat(" ", "seconds")
    return (
        f"run {row.run_id} (begun {began}) is run by {_owner_of(writer)}, which is alive; wait until it "
        f"ends, watch it with `status {row.run_id}`, or give your run another id"
    )


def _difference_text(row: RunRow, config: Mapping[str, Json], advice: str) -> str:
    lines = list(_differences("", row.config, config, in_clear=row.config_format == OLDEST))
    shown = lines[:_MOST_DIFFERENCES]
    if len(lines) > len(shown):
        shown.append(f"  and {len(lines) - len(shown)} more")
    return "\n".join([f"run {row.run_id} was begun with another configuration:", *shown, advice])


def _differences(path: str, before: Json, after: Json, *, in_clear: bool) -> Iterator[str]:
    """Yield a line for each difference between two JSON documents."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            inner = f"{path}.{name}" if path else name
            yield from _differences(
                inner, before.get(name, _ABSENT), after.get(name, _ABSENT), in_clear=in_clear
            )
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from _differences(
                f"{path}[{index}]", _at(before, index), _at(after, index), in_clear=in_clear
            )
    elif before is _ABSENT and after is None:
        return  # a key of a later version, which is not set
    elif not is_same_value(before, after, in_clear=in_clear):
        # Stores in the first format may contain the secret itself where `after` has a reference.
        same = _same_characters(before, after)
        was = "a value" if is_reference(after) and not is_reference(before) else _value_text(before, same)
        yield f"  {path}: was {was}, is {_value_text(after, same)} now"


def _at(values: list[Json], index: int) -> Json:
    return values[index] if index < len(values) else _ABSENT


def _same_characters(before: Json, after: Json) -> int:
    """Return how many characters two texts have in common at their beginnings."""
    if not isinstance(before, str) or not isinstance(after, str):
        return 0
    return next(
        (at for at, (one, other) in enumerate(zip(before, after, strict=False)) if one != other),
        min(len(before), len(after)),
    )


def _value_text(value: Json, same: int) -> str:
    """Return a value for a message. A long text is cut so that its part after `same` characters is shown."""
    if value is _ABSENT:
        return "not set"
    text = repr(value)
    if len(text) <= _LONGEST_VALUE:
        return text
    if isinstance(value, str) and same > _LONGEST_VALUE // 2:
        text = "…" + repr(value[same - _LONGEST_VALUE // 4 :])[1:]
    return cut(text, _LONGEST_VALUE)

"""The rules of the journal: they turn records into one batch and the replies.

Composes the ownership of runs (`runs.py`), tasks (`tasks.py`) and calls (`calls.py`). This module neither
waits nor writes.

Rule 1: a reply is valid only after its batch is committed. The shell sends none before.
Rule 2: memory holds only a cache of the store, which `forget` may drop at any time.
Rule 3: every record may be repeated, in another turn, in another life or after a lost commit. The repetition
    changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from actors.core.errors import (
    ConfigChangedError,
    FencedError,
    HeadraceError,
    InvalidRunIdError,
    InvalidTransitionError,
    InvariantError,
    RunTakenError,
    StoreError,
    StoreUnavailableError,
    TaskConflictError,
    UnprocessableError,
)
from actors.core.journal import keys
from actors.core.journal.batch import CheckedCodec, Codec, Overlay, Reader, WriteBatch
from actors.core.journal.bounds import check
from actors.core.journal.calls import on_intent, on_outcome
from actors.core.journal.format import raise_format
from actors.core.journal.runs import Runs
from actors.core.journal.tasks import Tasks
from actors.core.journal.turn import OpenTurn, Retried, RunBook, TaskBook, Turn
from actors.core.messages.journal import (
    Accept,
    AttemptOutcome,
    CloseRun,
    Collected,
    Finish,
    Intent,
    KeepHistory,
    Note,
    OpenRun,
    Record,
    Reopen,
)
from actors.core.messages.values import Done, Json

# Errors that a rule raises before it changes anything. They become the record's reply.
_REPLIES = (
    ConfigChangedError,
    FencedError,
    InvalidRunIdError,
    InvalidTransitionError,
    RunTakenError,
    TaskConflictError,
)
# Errors that concern all records of a turn.
_OF_ALL = (StoreUnavailableError, InvariantError)


class JournalStatistics(Struct, frozen=True):
    """A snapshot of a journal. `loads` counts tasks that were loaded from the store into the cache."""

    owner: str
    life: str
    runs: int
    cached_tasks: int
    loads: int
    turns: int
    records: int
    errors: int


class JournalState:
    """The state of a journal in one life of its owner.

    `owner` names the application and is the same in all its lives. `life` is unique and has no colon. `keep`
    says which data about calls remains after their task has a report: "reports" (their accounting), "calls"
    (also their answers) or "auto" (also their answers, unless the run is large). `lease_s` is the longest
    time between heartbeats: call `beat` several times within it. Raises ValueError for an invalid `life` or
    `keep`.
    """

    def __init__(
        self,
        owner: str,
        life: str,
        codec: Codec,
        *,
        keep: str = "auto",
        lease_s: float = 15.0,
        most_cached: int = 20_000,
    ) -> None:
        self._owner = owner
        self._life = life
        self._codec = CheckedCodec(codec)
        self._runs = Runs(owner, life, lease_s, self._codec)
        self._tasks = Tasks(self._codec, keep, most_cached)
        self._turns = 0
        self._records = 0
        self._errors = 0

    def take_over(self, reader: Reader) -> WriteBatch:
        """Return the batch that claims the running runs of earlier lives of this owner.

        Commit it before anything else: until then records for these runs get `FencedError`. If the commit
        raises `FencedError`, another life has begun and this one must end. Raises `StoreError` if a newer
        version has written to the store.
        """
        version, claims = raise_format(reader), self._runs.take_over(reader)
        return WriteBatch({**version.puts, **claims.puts}, (), claims.fences)

    def beat(self, reader: Reader) -> WriteBatch:
        """Return the batch with the owner's heartbeats for its open runs. It may be empty."""
        return self._runs.beat(reader)

    def cancel_requested(self, reader: Reader) -> tuple[str, ...]:
        """Return the open runs of this life with a request for their cancellation."""
        return self._runs.cancel_requested(reader)

    def handle(self, records: Sequence[Record | Retried], now: float, reader: Reader) -> Turn:
        """Decide `records` in order, each as if those before it were committed. `now` is seconds since 1970.

        All earlier turns must be committed in `reader`. If the commit of the returned batch fails, call
        `forget` and pass the same records again. A record that raises changes nothing, and its reply is the
        error. Raises StoreUnavailableError, InvariantError, and StoreError if every record met one; then the
        cache is dropped.
        """
        self._tasks.shrink()
        try:
            try:
                result = self._turn(records, now, reader)
            except StoreUnavailableError:
                raise
            except InvariantError:
                self.forget()  # a cache that is older than the writes of another life breaks an invariant too
                result = self._turn(records, now, reader)
            except Exception:  # noqa: BLE001 - the careful turn finds the record that raises it
                self.forget()  # the rule may have left a cached run or task partly changed
                result = self._careful_turn(records, now, reader)
        except BaseException:
            self.forget()
            raise
        self._turns += 1
        self._records += len(result.replies)
        self._errors += sum(isinstance(reply, Exception) for reply in result.replies)
        return result

    def _turn(self, records: Sequence[Record | Retried], now: float, reader: Reader) -> Turn:
        """Decide records without the means to undo changes. An error in the middle of a change propagates."""
        turn = OpenTurn(Overlay(reader), self._codec, now, self._runs.me)
        replies: list[Json] = []
        for record in records:
            try:
                replies.append(self._decide(turn, record))
            except _REPLIES as error:
                replies.append(error)
        return turn.close(replies)

    def _careful_turn(self, records: Sequence[Record | Retried], now: float, reader: Reader) -> Turn:
        """Decide records of which some raise. The changes of those are undone."""
        turn = OpenTurn(Overlay(reader), self._codec, now, self._runs.me)
        replies: list[Json] = []
        for record in records:
            try:
                with turn.whole():
                    replies.append(self._decide(turn, record))
            except _OF_ALL:
                raise
            except HeadraceError as error:
                self.forget()
                replies.append(error)
            except Exception as error:  # noqa: BLE001 - a defect; the shell logs it with its cause
                self.forget()
                replies.append(unprocessable(record, error))
        damage = next((reply for reply in replies if isinstance(reply, StoreError)), None)
        if damage is not None and all(isinstance(reply, StoreError) for reply in replies):
            raise damage  # the store itself is unusable
        return turn.close(replies)

    def forget(self) -> None:
        """Drop the cache, because the last turn was not committed or its commit is uncertain."""
        self._runs.forget()
        self._tasks.forget()

    def statistics(self) -> JournalStatistics:
        """Return a frozen snapshot."""
        return JournalStatistics(
            self._owner,
            self._life,
            len(self._runs),
            len(self._tasks),
            self._tasks.loads,
            self._turns,
            self._records,
            self._errors,
        )

    def check_invariants(self) -> None:
        """Raise InvariantError if a cache is inconsistent."""
        self._runs.check_invariants()
        self._tasks.check_invariants()

    # ---- one record --------------------------------------------------------------------------------------

    def _decide(self, turn: OpenTurn, record: Record | Retried) -> Json:
        reply: Json
        check(record)
        match record:
            case Intent():
                reply = on_intent(turn, self._task(turn, record.run_id, record.task, "a call"), record)
            case AttemptOutcome():
                reply = on_outcome(turn, self._task(turn, record.run_id, record.task, "an outcome"), record)
            case Accept():
                reply = self._tasks.accept(turn, self._running(turn, record), record)
            case Collected():
                reply = self._tasks.collect(
                    turn, self._task(turn, record.run_id, record.task, "items"), record
                )
            case Note():
                reply = self._tasks.note(
                    turn, self._task(turn, record.run_id, record.task, record.kind), record
                )
            case Finish():
                task = self._task(turn, record.run_id, record.report.key, "a report")
                reply = self._tasks.finish(turn, task, record)
            case Reopen():
                task = self._tasks.book(turn, self._running(turn, record), record.task, "reopening")
                reply = self._tasks.reopen(turn, task, record)
            case OpenRun() | Retried() | CloseRun() | KeepHistory():
                reply = self._about_run(turn, record)
            case _:
                raise TypeError(f"the journal does not accept {type(record).__name__}")
        return reply

    def _about_run(self, turn: OpenTurn, record: OpenRun | Retried | CloseRun | KeepHistory) -> Json:
        match record:
            case OpenRun():
                return self._runs.open(turn, record, None)
            case Retried(opening, observed, late_s):
                return self._runs.open(turn, opening, observed, late_s)
            case CloseRun():
                return self._runs.close(turn, record)
            case KeepHistory(run_id, packed):
                self._runs.book(turn, run_id, "its history")
                turn.store.put(keys.history(run_id), packed)
                return Done()

    def _task(self, turn: OpenTurn, run_id: str, key: str, what: str) -> TaskBook:
        return self._tasks.book(turn, self._runs.book(turn, run_id, what), key, what)

    def _running(self, turn: OpenTurn, record: Accept | Reopen) -> RunBook:
        run = self._runs.book(turn, record.run_id, "a task")
        if run.row.ended_at is not None:
            raise InvalidTransitionError(f"run {record.run_id}", run.row.state, "a task")
        return run


def unprocessable(asked: object, error: Exception) -> UnprocessableError:
    """Return the reply to a record or query that hit a defect. Its cause is `error`."""
    reply = UnprocessableError(
        f"the journal could not process {type(asked).__name__} ({type(error).__name__}: {error})"[:500]
        + "; nothing of it was stored. This is a defect of the program: see its log for details"
    )
    reply.__cause__ = error
    return reply

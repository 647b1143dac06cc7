"""The journal's rules: what is stored for a record, and what may be answered once it is.

Composes who may write (runs), what a task is (tasks) and what calls cost (calls). Records go in, one batch
and the replies come out; nothing is awaited and nothing is written here.

Rule 1: a reply is true only once its batch is committed: the shell gives none before.
Rule 2: the store is the truth. What is in memory is a cache of it: `forget` may drop it at any time.
Rule 3: every record may come again, in another turn, another life or after a lost commit, and changes nothing
    the second time.
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
    Note,
    OpenRun,
    Record,
    Reopen,
)
from actors.core.messages.values import Json

# What a rule raises before it changes anything: it becomes the record's reply.
_REPLIES = (
    ConfigChangedError,
    FencedError,
    InvalidRunIdError,
    InvalidTransitionError,
    RunTakenError,
    TaskConflictError,
)
# What concerns all records of a turn, whichever of them met it.
_OF_ALL = (StoreUnavailableError, InvariantError)


class JournalStatistics(Struct, frozen=True):
    """What a journal is doing. `loads` counts tasks that were read back from the store into the cache."""

    owner: str
    life: str
    runs: int
    cached_tasks: int
    loads: int
    turns: int
    records: int
    errors: int


class JournalState:
    """All that a journal knows, in one life of its owner.

    `owner` names the application, the same in all its lives; `life` is another in each, and has no colon.
    `keep` tells what stays of calls once their task has a report: "reports" (their accounting), "calls"
    (their answers, too), "auto" (answers, unless the run is large). `lease_s` is how long an owner may be
    silent: it has to `beat` several times within it. Raises ValueError for a `life` or `keep` that cannot be.
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
        """Return the batch that claims what earlier lives of this owner left running.

        To be committed before anything else; until then their records are refused as another's. FencedError
        at that commit: yet another life has begun, and this one is to end. Raises `StoreError` where a newer
        version wrote the store.
        """
        version, claims = raise_format(reader), self._runs.take_over(reader)
        return WriteBatch({**version.puts, **claims.puts}, (), claims.fences)

    def beat(self, reader: Reader) -> WriteBatch:
        """Return the batch that shows the owner of its open runs to be alive. May be empty."""
        return self._runs.beat(reader)

    def cancel_wished(self, reader: Reader) -> tuple[str, ...]:
        """Return the open runs of this life that somebody wants to be cancelled."""
        return self._runs.cancel_wished(reader)

    def handle(self, records: Sequence[Record | Retried], now: float, reader: Reader) -> Turn:
        """Decide `records` in order, each as if those before it were committed. `now` is seconds since 1970.

        `reader` must show every earlier turn committed. Where the commit of the returned batch fails, call
        `forget` and hand in the same records again. A record that raises changes nothing; its reply is the
        error. Raised, with all forgotten, are StoreUnavailableError, InvariantError, and StoreError where
        every record met one.
        """
        self._tasks.shrink()
        try:
            try:
                result = self._turn(records, now, reader)
            except _OF_ALL:
                raise
            except Exception:  # noqa: BLE001 - whatever it is, it concerns the record that is found next
                self.forget()  # the rule may have left a cached run or task half changed
                result = self._careful_turn(records, now, reader)
        except BaseException:
            self.forget()
            raise
        self._turns += 1
        self._records += len(result.replies)
        self._errors += sum(isinstance(reply, Exception) for reply in result.replies)
        return result

    def _turn(self, records: Sequence[Record | Retried], now: float, reader: Reader) -> Turn:
        """Decide records that are all in order; raises what a rule raises in the middle of a change."""
        turn = OpenTurn(Overlay(reader), self._codec, now, self._runs.me)
        replies: list[Json] = []
        for record in records:
            try:
                replies.append(self._decide(turn, record))
            except _REPLIES as error:
                replies.append(error)
        return turn.close(replies)

    def _careful_turn(self, records: Sequence[Record | Retried], now: float, reader: Reader) -> Turn:
        """Decide records of which some raise: what each has changed can be undone."""
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
            except Exception as error:  # noqa: BLE001 - a defect, which the shell logs with its cause
                self.forget()
                replies.append(unprocessable(record, error))
        damage = next((reply for reply in replies if isinstance(reply, StoreError)), None)
        if damage is not None and all(isinstance(reply, StoreError) for reply in replies):
            raise damage  # the store itself cannot be used
        return turn.close(replies)

    def forget(self) -> None:
        """Drop all that is cached: what was decided was not committed, or nobody knows."""
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
        """Raise InvariantError where the caches contradict themselves."""
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
                task = self._tasks.book(turn, self._running(turn, record), record.task, "another go")
                reply = self._tasks.reopen(turn, task, record)
            case OpenRun() | Retried():
                reply = self._open(turn, record)
            case CloseRun():
                reply = self._runs.close(turn, record)
            case _:
                raise TypeError(f"the journal has no rule for {type(record).__name__}")
        return reply

    def _open(self, turn: OpenTurn, record: OpenRun | Retried) -> Json:
        if isinstance(record, Retried):
            return self._runs.open(turn, record.record, record.observed, record.late_s)
        return self._runs.open(turn, record, None)

    def _task(self, turn: OpenTurn, run_id: str, key: str, what: str) -> TaskBook:
        return self._tasks.book(turn, self._runs.book(turn, run_id, what), key, what)

    def _running(self, turn: OpenTurn, record: Accept | Reopen) -> RunBook:
        run = self._runs.book(turn, record.run_id, "a task")
        if run.row.ended_at is not None:
            raise InvalidTransitionError(f"run {record.run_id}", run.row.state, "a task")
        return run


def unprocessable(asked: object, error: Exception) -> UnprocessableError:
    """Return what is answered to a record or query that met a defect, with the defect as its cause."""
    told = UnprocessableError(
        f"the journal could not process {type(asked).__name__} ({type(error).__name__}: {error})"[:500]
        + "; nothing of it was stored. This is a defect of the program: its log has more"
    )
    told.__cause__ = error
    return told

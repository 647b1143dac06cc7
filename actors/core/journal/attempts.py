"""One attempt as the journal keeps it, and what a number of attempts come to.

Rule 1: an attempt is in doubt from its intent on, until somebody tells its end. One that was superseded
    (another was cleared while its end was unknown) stays in doubt where it turns out to have been billed: the
    other one may be billed as well.
Rule 2: answers under one idempotency key are billed as the endpoint bills them: one that it repeated costs
    nothing if the one that it repeats is known, and is paid for in its place as long as that is not.
Rule 3: these sums depend on what was told, not on the order in which it was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from actors.core.errors import FailureKind
from actors.core.journal.batch import Codec
from actors.core.journal.bounds import bounded
from actors.core.limits.attempt_cost import IN_DOUBT, charged, counted_as, is_estimated
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.journal import Answer, AttemptView, Intent
from actors.core.messages.values import CallCounts, Json, Usage

ANSWERED = "answered"
REUSED = "reused"
_LONGEST_MESSAGE = 500

Attempts = dict[str, dict[int, "AttemptRow"]]  # by call key, by attempt


_STORED_FIELDS = 13  # of a row, before its flags, which the first stores do not have
_FLAGS = ("is_second", "is_estimated", "is_hedge", "is_superseded")
_OWN_ROW = (None, ANSWERED, REUSED, FailureKind.UNUSABLE.value)  # outcomes of which each attempt keeps a row
_ALIKE = ("outcome", "counts_as", "endpoint", "idempotency_key", "billed", *_FLAGS)


class AttemptRow(Struct):
    """An attempt. `counts_as` names the count of `CallCounts` it is in beside `billed` and `unusable`.

    `idempotency_key` is empty where it is the call's own key, which is a fifth of a row. The tokens and the
    cost are estimates until it has ended. They stay so where it is in doubt, or `is_estimated`: the endpoint
    did not report them. `is_second`: a first request failed, since the endpoint does not stream, or was asked
    otherwise before. `repeats`: so many attempts that ended alike are this row; the tokens are their sum.
    """

    number: int
    endpoint: str
    idempotency_key: str
    began_at: float
    ended_at: float | None = None
    outcome: str | None = None
    counts_as: str = IN_DOUBT
    billed: bool = False
    replayed: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    message: str = ""
    is_second: bool = False
    is_estimated: bool = False
    is_hedge: bool = False
    is_superseded: bool = False
    repeats: int = 1

    @classmethod
    def begun(cls, intent: Intent, now: float) -> AttemptRow:
        """Return an attempt that may be sent."""
        key = "" if intent.idempotency_key == intent.call_key else intent.idempotency_key
        row = cls(intent.number, intent.endpoint, key, now, is_hedge=intent.is_hedge)
        row._take(intent.estimate)
        return row

    @property
    def usage(self) -> Usage:
        """What it took."""
        return Usage(self.input_tokens, self.output_tokens, self.cost_usd)

    def reuse(self, answer: Answer, now: float) -> None:
        """Have the attempt end, unsent, with an answer that is there already."""
        self.ended_at, self.outcome, self.counts_as = now, REUSED, ""
        self._take(answer.usage)

    def end(self, ended: AttemptEnded, now: float) -> None:
        """Have the attempt end. What it cost, `bill` decides."""
        error = ended.error
        self.ended_at = now
        self.outcome = ANSWERED if error is None else error.kind.value
        self.counts_as = counted_as(ended)
        self.replayed = ended.replayed
        self.is_second = ended.is_second
        self.message = "" if error is None else error.message[:_LONGEST_MESSAGE]
        self.is_estimated = is_estimated(ended)
        self._take(charged(ended, self.usage))

    @property
    def is_answer_of_endpoint(self) -> bool:
        """Whether the endpoint answered it, fitting or not: what it may bill."""
        return self.outcome in (ANSWERED, FailureKind.UNUSABLE.value)

    def is_like(self, other: AttemptRow) -> bool:
        """Whether both ended alike, unbilled or in doubt for good, so that one row can stand for both."""
        return not (self.outcome in _OWN_ROW or self.billed or self.is_superseded) and all(
            getattr(self, name) == getattr(other, name) for name in _ALIKE
        )

    def absorb(self, earlier: AttemptRow) -> None:
        """Stand for an attempt that ended alike, too."""
        self.repeats += earlier.repeats
        self.began_at = earlier.began_at
        self._take(self.usage + earlier.usage)

    @property
    def is_in_doubt(self) -> bool:
        """Whether it counts as in doubt."""
        return self.counts_as == IN_DOUBT or (self.is_superseded and self.billed)

    def view(self, call_key: str, attempt: int) -> AttemptView:
        """Return the attempt for people."""
        return AttemptView(
            call_key,
            attempt,
            self.number,
            self.endpoint,
            self.began_at,
            self.ended_at,
            self.outcome,
            self.message,
            self.billed,
            self.usage if self.is_answer_of_endpoint or self.outcome == REUSED else Usage(),
            self.is_in_doubt,
            self.is_hedge,
            self.repeats,
        )

    def as_list(self) -> list[Json]:
        """Return the attempt as it is stored."""
        return [
            self.number,
            self.endpoint,
            self.idempotency_key,
            self.began_at,
            self.ended_at,
            self.outcome,
            self.counts_as,
            self.billed,
            self.replayed,
            self.input_tokens,
            self.output_tokens,
            self.cost_usd,
            self.message,
            sum(getattr(self, name) << place for place, name in enumerate(_FLAGS)),
            *([self.repeats] if self.repeats > 1 else ()),
        ]

    @classmethod
    def of_list(cls, stored: Sequence[Json]) -> AttemptRow:
        """Return an attempt that was stored."""
        row = cls(*stored[:_STORED_FIELDS])
        flags = stored[_STORED_FIELDS] if len(stored) > _STORED_FIELDS else 0
        for place, name in enumerate(_FLAGS):
            if flags >> place & 1:
                setattr(row, name, True)
        if len(stored) > _STORED_FIELDS + 1:
            row.repeats = stored[_STORED_FIELDS + 1]
        return row

    def _take(self, usage: Usage) -> None:
        usage = bounded(usage)
        self.input_tokens, self.output_tokens = usage.input_tokens, usage.output_tokens
        self.cost_usd = usage.cost_usd


def bill(row: AttemptRow, others: Iterable[AttemptRow]) -> AttemptRow | None:
    """Decide whether `row`, which has ended, is billed beside the `others` of its call.

    Returns the attempt that is to be billed no longer since `row` is, None where there is none.
    """
    if not row.is_answer_of_endpoint:
        return None
    paid = [other for other in others if other.billed and other.idempotency_key == row.idempotency_key]
    row.billed = not (row.replayed and paid)
    if row.replayed:
        return None
    # A repetition was heard of before the answer that it repeats, and was billed in its place.
    return next((other for other in paid if other.replayed), None)


class Account:
    """What attempts came to: counts by the names of `CallCounts`, and the usage of those that were billed.

    `in_doubt` is the estimate of what those in doubt took.
    """

    __slots__ = ("cost_usd", "counts", "in_doubt", "input_tokens", "output_tokens")

    def __init__(
        self,
        counts: Mapping[str, int] | None = None,
        usage: Usage | None = None,
        in_doubt: Usage | None = None,
    ) -> None:
        usage = usage or Usage()
        self.counts = dict.fromkeys(CallCounts.__struct_fields__, 0)
        self.counts.update(counts or {})
        self.input_tokens = usage.input_tokens
        self.output_tokens = usage.output_tokens
        self.cost_usd = usage.cost_usd
        self.in_doubt = in_doubt or Usage()

    def add(self, row: AttemptRow) -> None:
        """Count an attempt as it is now."""
        self._add(row, 1)

    def remove(self, row: AttemptRow) -> None:
        """Count it no longer: it is about to change."""
        self._add(row, -1)

    @property
    def call_counts(self) -> CallCounts:
        """The counts as a message."""
        return CallCounts(**self.counts)

    @property
    def usage(self) -> Usage:
        """The usage as a message."""
        return Usage(self.input_tokens, self.output_tokens, self.cost_usd)

    def _add(self, row: AttemptRow, sign: int) -> None:
        if row.counts_as:
            self.counts[row.counts_as] += sign * row.repeats
        if row.counts_as == IN_DOUBT:
            self.in_doubt = self.in_doubt + row.usage if sign > 0 else self.in_doubt.less(row.usage)
        if row.is_second:
            self.counts["failed"] += sign * row.repeats
        if row.outcome == FailureKind.UNUSABLE:
            self.counts["unusable"] += sign
        if row.billed:
            self.counts["billed"] += sign
            self.counts["estimated"] += sign * row.is_estimated
            self.counts["in_doubt"] += sign * row.is_superseded
            self.input_tokens += sign * row.input_tokens
            self.output_tokens += sign * row.output_tokens
            self.cost_usd += sign * row.cost_usd


def dump_attempt(codec: Codec, row: AttemptRow, values: Mapping[str, Json] | None) -> bytes:
    """Return the bytes of an attempt, together with its call's answer where it gave that."""
    fields = row.as_list()
    fields.append(values)
    return codec.dumps(fields)


def load_attempt(codec: Codec, data: bytes) -> tuple[AttemptRow, Mapping[str, Json] | None]:
    """Return an attempt, and its call's answer where it gave that."""
    *fields, values = codec.loads(data)
    return AttemptRow.of_list(fields), values


def dump_account(codec: Codec, attempts: Attempts) -> bytes:
    """Return the bytes of all attempts for an ended task, without the answers."""
    return codec.dumps(
        {
            call: [[attempt, *row.as_list()] for attempt, row in rows.items()]
            for call, rows in attempts.items()
        }
    )


def load_account(codec: Codec, data: bytes) -> Attempts:
    """Return all attempts for an ended task."""
    return {
        call: {attempt: AttemptRow.of_list(fields) for attempt, *fields in rows}
        for call, rows in codec.loads(data).items()
    }

"""The row of an attempt, and the sums over attempts.

Rule 1: an attempt is in doubt from its intent until its end is recorded. A superseded attempt (another was
    cleared while its end was unknown) stays in doubt even if it was billed: the other one may be billed too.
Rule 2: answers under one idempotency key are billed as the endpoint bills them. A replayed answer costs
    nothing if the answer that it repeats is recorded; until then it is billed in place of that answer.
Rule 3: the sums depend on the recorded ends, not on the order in which they were recorded.
Rule 4: the lines of a receipt add up to the usage of the run: a billed answer is entered when its end is
    recorded, and taken back if another answer turns out to be the one that is billed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import add, sub

from msgspec import Struct

from actors.core.errors import FailureKind
from actors.core.journal.batch import Codec
from actors.core.journal.bounds import bounded
from actors.core.limits.attempt_cost import IN_DOUBT, charged, counted_as, is_estimated
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.journal import Answer, AttemptOutcome, AttemptView, Intent, ReceiptLine
from actors.core.messages.values import CallCounts, Json, Usage

ANSWERED = "answered"
REUSED = "reused"
_LONGEST_MESSAGE = 2_000  # characters

_NOTHING = Usage()

Attempts = dict[str, dict[int, "AttemptRow"]]  # by call key and attempt id


_Line = list[Json]  # endpoint, model, form, calls, and the fields of the usage, as it is stored
_CALLS = 3  # the place of the calls in a line
_NO_FIGURES = (0, *Usage().fields)
_STORED_FIELDS = 13  # before the flags, which the first format lacks
_USAGE_AT, _MESSAGE_AT = 9, 12  # the places of the usage and of the message
_REPEATS_AT = _STORED_FIELDS + 1
_FLAGS = ("is_second", "is_estimated", "is_hedge", "is_superseded")
_OWN_ROW = (None, ANSWERED, REUSED, FailureKind.UNUSABLE.value)  # outcomes that are never folded
_ALIKE = ("outcome", "counts_as", "endpoint", "idempotency_key", "billed", *_FLAGS)


class AttemptRow(Struct):
    """The row of an attempt. `counts_as` names its count in `CallCounts`, besides `billed` and `unusable`.

    `idempotency_key` is empty if it is the call key: storing it would add a fifth to the row. Tokens and cost
    are estimates until the attempt has ended. They stay estimates if it is in doubt, and with `is_estimated`:
    the endpoint did not report them. `is_second`: a first request, in another form, failed.
    `repeats` is the number of attempts with the same outcome that are folded into this row; its tokens and
    cost are their sum.
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
    usage: Usage = _NOTHING
    message: str = ""
    is_second: bool = False
    is_estimated: bool = False
    is_hedge: bool = False
    is_superseded: bool = False
    repeats: int = 1

    @classmethod
    def begun(cls, intent: Intent, now: float) -> AttemptRow:
        """Return the row of an attempt that may be sent from now on."""
        key = "" if intent.idempotency_key == intent.call_key else intent.idempotency_key
        row = cls(intent.number, intent.endpoint, key, now, is_hedge=intent.is_hedge)
        row.usage = bounded(intent.estimate)
        return row

    def reuse(self, answer: Answer, now: float) -> None:
        """End the attempt, which was not sent, with a stored answer."""
        self.ended_at, self.outcome, self.counts_as = now, REUSED, ""
        self.usage = bounded(answer.usage)

    def end(self, ended: AttemptEnded, now: float) -> None:
        """Record the end of the attempt. `bill` decides whether it is billed."""
        error = ended.error
        self.ended_at = now
        self.outcome = ANSWERED if error is None else error.kind.value
        self.counts_as = counted_as(ended)
        self.replayed = ended.replayed
        self.is_second = ended.is_second
        self.message = "" if error is None else error.message[:_LONGEST_MESSAGE]
        self.is_estimated = is_estimated(ended)
        self.usage = bounded(charged(ended, self.usage))

    @property
    def is_answer_of_endpoint(self) -> bool:
        """Whether the endpoint answered it, with a usable answer or not, and may bill it."""
        return self.outcome in (ANSWERED, FailureKind.UNUSABLE.value)

    def is_like(self, other: AttemptRow) -> bool:
        """Return whether one row can represent both: they have the same outcome and will not be billed."""
        return not (self.outcome in _OWN_ROW or self.billed or self.is_superseded) and all(
            getattr(self, name) == getattr(other, name) for name in _ALIKE
        )

    def absorb(self, earlier: AttemptRow) -> None:
        """Fold an earlier attempt with the same outcome into this row."""
        self.repeats += earlier.repeats
        self.began_at = earlier.began_at
        self.usage = bounded(self.usage + earlier.usage)

    @property
    def is_in_doubt(self) -> bool:
        """Whether it counts as in doubt."""
        return self.counts_as == IN_DOUBT or (self.is_superseded and self.billed)

    @property
    def is_unended(self) -> bool:
        """Whether it may be in flight: it was sent, has no end, and was not superseded."""
        return self.outcome is None and self.counts_as == IN_DOUBT and not self.is_superseded

    def view(self, call_key: str, attempt: int) -> AttemptView:
        """Return the attempt as the answer to a query."""
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
            self.is_unended,
        )

    def as_list(self) -> list[Json]:
        """Return the attempt in its stored form."""
        tokens_in, tokens_out, usd, *details = self.usage.as_list()
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
            tokens_in,
            tokens_out,
            usd,
            self.message,
            sum(getattr(self, name) << place for place, name in enumerate(_FLAGS)),
            *([self.repeats, *details] if details or self.repeats > 1 else ()),
        ]

    @classmethod
    def of_list(cls, stored: Sequence[Json]) -> AttemptRow:
        """Return the attempt of a stored form."""
        row = cls(*stored[:_USAGE_AT])
        row.usage = Usage(*stored[_USAGE_AT:_MESSAGE_AT], *stored[_REPEATS_AT + 1 :])
        row.message = stored[_MESSAGE_AT]
        flags = stored[_STORED_FIELDS] if len(stored) > _STORED_FIELDS else 0
        for place, name in enumerate(_FLAGS):
            if flags >> place & 1:
                setattr(row, name, True)
        if len(stored) > _REPEATS_AT:
            row.repeats = stored[_REPEATS_AT]
        return row


def bill(row: AttemptRow, others: Iterable[AttemptRow]) -> AttemptRow | None:
    """Decide whether `row`, which has ended, is billed, given the `others` of its call.

    Returns the attempt that must not be billed any more because `row` is, None if there is none.
    """
    if not row.is_answer_of_endpoint:
        return None
    paid = [other for other in others if other.billed and other.idempotency_key == row.idempotency_key]
    row.billed = not (row.replayed and paid)
    if row.replayed:
        return None
    # A replayed answer that was recorded before this one was billed in its place.
    return next((other for other in paid if other.replayed), None)


class Account:
    """Sums over attempts: counts by the names of `CallCounts`, and the usage of the billed attempts.

    `in_doubt` is the estimated usage of the attempts in doubt.
    """

    __slots__ = ("counts", "in_doubt", "usage")

    def __init__(
        self,
        counts: Mapping[str, int] | None = None,
        usage: Usage = _NOTHING,
        in_doubt: Usage = _NOTHING,
    ) -> None:
        self.counts = dict.fromkeys(CallCounts.__struct_fields__, 0)
        self.counts.update(counts or {})
        self.usage = usage
        self.in_doubt = in_doubt

    def add(self, row: AttemptRow) -> None:
        """Add an attempt in its present state."""
        self._add(row, 1)

    def remove(self, row: AttemptRow) -> None:
        """Subtract an attempt. Call this before changing its row, and `add` after."""
        self._add(row, -1)

    @property
    def call_counts(self) -> CallCounts:
        """The counts as a message."""
        return CallCounts(**self.counts)

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
            self.usage = self.usage + row.usage if sign > 0 else self.usage.less(row.usage)


class Receipt:
    """The lines of a run's receipt. There are as many as its configurations have endpoints and steps."""

    __slots__ = ("_lines",)

    def __init__(self, stored: Iterable[_Line] = ()) -> None:
        self._lines: dict[tuple[str, str, str], _Line] = {
            (line[0], line[1], line[2]): line for line in stored
        }

    @property
    def lines(self) -> tuple[ReceiptLine, ...]:
        """The lines as messages, in order of their names."""
        lines = []
        for (endpoint, model, form), line in sorted(self._lines.items()):
            if calls := line[_CALLS]:
                lines.append(ReceiptLine(endpoint, model, form, calls, Usage(*line[_CALLS + 1 :])))
        return tuple(lines)

    def enter(self, row: AttemptRow, record: AttemptOutcome) -> None:
        """Enter the billed answer of `row`, whose end is `record`."""
        name = (row.endpoint, record.model, record.form)
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = [*name, *_NO_FIGURES]
        line[_CALLS:] = map(add, line[_CALLS:], (1, *row.usage.fields))

    def take_back(self, row: AttemptRow, record: AttemptOutcome) -> None:
        """Take back the answer of `row`. `record` is the end of another attempt at the same call."""
        # The configuration may have given the endpoint another model since.
        lines = [
            line
            for (endpoint, _, form), line in self._lines.items()
            if (endpoint, form) == (row.endpoint, record.form) and line[_CALLS]
        ]
        if lines:  # the version that recorded the answer may have had no receipt
            line = max(lines, key=lambda line: line[1] == record.model)
            line[_CALLS:] = (max(0, left) for left in map(sub, line[_CALLS:], (1, *row.usage.fields)))

    def as_list(self) -> list[_Line]:
        """Return the receipt in its stored form."""
        return list(self._lines.values())


def dump_attempt(codec: Codec, row: AttemptRow, values: Mapping[str, Json] | None) -> bytes:
    """Return the bytes of an attempt, with the answer to its call if this attempt obtained it."""
    fields = row.as_list()
    fields.append(values)
    return codec.dumps(fields)


def load_attempt(codec: Codec, data: bytes) -> tuple[AttemptRow, Mapping[str, Json] | None]:
    """Return an attempt, and the answer to its call if this attempt obtained it."""
    *fields, values = codec.loads(data)
    return AttemptRow.of_list(fields), values


def dump_account(codec: Codec, attempts: Attempts) -> bytes:
    """Return the bytes of all attempts of an ended task, without the answers."""
    return codec.dumps(
        {
            call: [[attempt, *row.as_list()] for attempt, row in rows.items()]
            for call, rows in attempts.items()
        }
    )


def load_account(codec: Codec, data: bytes) -> Attempts:
    """Return all attempts of an ended task."""
    return {
        call: {attempt: AttemptRow.of_list(fields) for attempt, *fields in rows}
        for call, rows in codec.loads(data).items()
    }

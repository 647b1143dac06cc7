"""Has the journal know of every attempt: before it is sent, and when it has ended.

Rule 1: an attempt is sent only once its intent is durable, so that one that a crash interrupts is known to be
in doubt. Intents are told when an attempt arrives: those that wait for a slot wait for the journal meanwhile.
Rule 2: an end is told on only once it is durable: an answer that somebody has used is never asked for again.
"""

from __future__ import annotations

import asyncio
from typing import TypeAlias

from msgspec.structs import replace

from actors.core.errors import (
    Blame,
    Failure,
    FailureKind,
    FencedError,
    HeadraceError,
    OverloadedError,
    PeerLostError,
    StoreError,
    text_of,
)
from actors.core.message_size import weight
from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.journal import Answer, AttemptOutcome, Cleared, Intent
from actors.core.messages.protocols import FromJournal, ToJournal
from actors.core.messages.values import Done
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.linger import AdaptiveLinger

_ToJournal: TypeAlias = Courier[ToJournal, FromJournal]

_CLEARED = Cleared()
_UNSTORED = "what became of this attempt could not be stored: "


class CallRecorder:
    """Tells `journal` of attempts; without one, every attempt is cleared at once."""

    def __init__(
        self, journal: Address[ToJournal, FromJournal] | None, linger: AdaptiveLinger | None = None
    ) -> None:
        self._courier: _ToJournal | None = None
        if journal is not None:
            settings = CourierSettings(
                # What is in flight is the bound: each attempt has one message at a time here.
                max_outstanding=1_000_000,
                max_outstanding_bytes=1 << 30,
                on_restart=OnRestart.RESEND,
            )
            self._courier = Courier(journal, settings=settings, size_of=_size, linger=linger)

    def intend(self, attempt: Attempt) -> asyncio.Future[Cleared | Answer | Done]:
        """Tell that `attempt` will be sent. The future resolves to `Cleared`, or to the answer there is."""
        if self._courier is None:
            return _resolved(_CLEARED)
        intent = Intent(
            attempt.run_id,
            attempt.task,
            attempt.call_key,
            attempt.id,
            attempt.endpoint,
            attempt.number,
            attempt.content,
            attempt.idempotency_key,
            attempt.estimate,
            attempt.is_hedge,
        )
        clearance = self._hand_over(self._courier, intent)
        clearance.add_done_callback(_retrieve)  # an attempt may be withdrawn before it looks
        return clearance

    def record(
        self, attempt: Attempt, outcome: AttemptEnded, *, urgent: bool
    ) -> asyncio.Future[AttemptEnded]:
        """Tell how `attempt` ended. The future resolves to what may be told on, once that is durable."""
        if self._courier is None:
            return _resolved(outcome)
        told: asyncio.Future[AttemptEnded] = asyncio.get_running_loop().create_future()

        def on_stored(stored: asyncio.Future[Cleared | Answer | Done]) -> None:
            error = stored.exception()
            if not told.done():
                told.set_result(outcome if error is None else _unstored(outcome, error))

        kept = outcome if outcome.headers is None else replace(outcome, headers=None)
        message = AttemptOutcome(attempt.run_id, attempt.task, attempt.call_key, kept, attempt.content)
        self._hand_over(self._courier, message, urgent=urgent).add_done_callback(on_stored)
        return told

    def _hand_over(
        self, courier: _ToJournal, message: Intent | AttemptOutcome, *, urgent: bool = False
    ) -> asyncio.Future[Cleared | Answer | Done]:
        """Send `message`, now or once there is room: an end must not be lost for want of it."""
        try:
            return courier.post(message, urgent=urgent)
        except OverloadedError:
            return asyncio.ensure_future(courier.call(message))

    async def close(self) -> None:
        """Stop telling. What nobody confirmed stays unconfirmed."""
        if self._courier is not None:
            await self._courier.close()


def not_cleared(attempt: Attempt, error: HeadraceError) -> AttemptEnded:
    """Return the end of an attempt that the journal did not clear: it was not sent."""
    text = f"the journal did not clear this attempt: {error}"
    return AttemptEnded(attempt.id, error=Failure(_kind(error), error.blame, text), sent=False)


def _unstored(outcome: AttemptEnded, error: BaseException) -> AttemptEnded:
    """Return the end that is told in place of one that could not be stored."""
    if outcome.error is not None and outcome.error.kind is FailureKind.REFUSED:
        # Nothing is lost by it. The client has stopped for the refusal: a dispatcher that did not hear of it
        # would not tell the client to go on.
        return outcome
    blame = error.blame if isinstance(error, HeadraceError) else Blame.UNKNOWN
    failure = Failure(_kind(error), blame, f"{_UNSTORED}{text_of(error)}"[:500])
    return replace(outcome, values=None, correction=None, error=failure)


def _kind(error: BaseException) -> FailureKind:
    # As a failure of the call it would end the task, in a store that may be back by then, without an answer
    # that there is or could be.
    is_journals = isinstance(error, StoreError | FencedError | PeerLostError)
    return FailureKind.UNSTORED if is_journals else FailureKind.PERMANENT


def _size(message: ToJournal) -> int:
    return weight(message) if isinstance(message, AttemptOutcome) else 256


def _resolved(value: AttemptEnded | Cleared) -> asyncio.Future:  # type: ignore[type-arg] # of either
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


def _retrieve(future: asyncio.Future[Cleared | Answer | Done]) -> None:
    if not future.cancelled():
        future.exception()

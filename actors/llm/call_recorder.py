"""Records every attempt in the journal, before it is sent and when it has ended.

Rule 1: An attempt is sent only once its intent is durable, so that an attempt interrupted by a crash is known
    to be in doubt. The intent is recorded when the attempt arrives, so it becomes durable while the attempt
    waits for a slot.
Rule 2: An outcome is reported only once it is durable: an answer that has been used is never requested again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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
from actors.runtime.futures import retrieve
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.linger import AdaptiveLinger

_ToJournal: TypeAlias = Courier[ToJournal, FromJournal]

_CLEARED = Cleared()
_UNSTORED = "the outcome of this attempt could not be stored: "


class CallRecorder:
    """Sends records of attempts to `journal`. Without a journal every attempt is cleared at once.

    `models` has the model of each endpoint.
    """

    def __init__(
        self,
        journal: Address[ToJournal, FromJournal] | None,
        linger: AdaptiveLinger | None = None,
        models: Mapping[str, str] = {},
    ) -> None:
        self._models = models
        self._courier: _ToJournal | None = None
        if journal is not None:
            settings = CourierSettings(
                # The attempts in flight are the bound: each has one message at a time here.
                max_outstanding=1_000_000,
                max_outstanding_bytes=1 << 30,
                on_restart=OnRestart.RESEND,
            )
            self._courier = Courier(journal, settings=settings, size_of=_size, linger=linger)

    def intend(self, attempt: Attempt) -> asyncio.Future[Cleared | Answer | Done]:
        """Record that `attempt` will be sent. The future resolves to `Cleared`, or to an existing answer."""
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
        clearance = self._send(self._courier, intent)
        clearance.add_done_callback(retrieve)  # the attempt may be withdrawn before it awaits the future
        return clearance

    def record(
        self, attempt: Attempt, outcome: AttemptEnded, *, urgent: bool
    ) -> asyncio.Future[AttemptEnded]:
        """Record the outcome of `attempt`. Once it is durable, the future resolves to the outcome to report.

        If it cannot be stored, the future resolves to a failure.
        """
        if self._courier is None:
            return _resolved(outcome)
        reportable: asyncio.Future[AttemptEnded] = asyncio.get_running_loop().create_future()

        def on_stored(stored: asyncio.Future[Cleared | Answer | Done]) -> None:
            error = stored.exception()
            if not reportable.done():
                reportable.set_result(outcome if error is None else _unstored(outcome, error))

        kept = outcome if outcome.headers is None else replace(outcome, headers=None)
        message = AttemptOutcome(
            attempt.run_id,
            attempt.task,
            attempt.call_key,
            kept,
            attempt.content,
            attempt.form,
            self._models.get(attempt.endpoint, ""),
        )
        self._send(self._courier, message, urgent=urgent).add_done_callback(on_stored)
        return reportable

    def _send(
        self, courier: _ToJournal, message: Intent | AttemptOutcome, *, urgent: bool = False
    ) -> asyncio.Future[Cleared | Answer | Done]:
        """Send `message` at once, or as soon as there is room: an outcome must not be lost."""
        try:
            return courier.post(message, urgent=urgent)
        except OverloadedError:
            return asyncio.ensure_future(courier.call(message))

    async def close(self) -> None:
        """Close the courier. Unconfirmed records may or may not be stored."""
        if self._courier is not None:
            await self._courier.close()


def not_cleared(attempt: Attempt, error: HeadraceError) -> AttemptEnded:
    """Return the outcome of an attempt that the journal did not clear. It was not sent."""
    text = f"the journal did not clear this attempt: {error}"
    return AttemptEnded(attempt.id, error=Failure(_kind(error), error.blame, text), sent=False)


def _unstored(outcome: AttemptEnded, error: BaseException) -> AttemptEnded:
    """Return the outcome to report in place of one that could not be stored."""
    if outcome.error is not None and outcome.error.kind is FailureKind.REFUSED:
        # Nothing is lost. The client has stopped after the refusal, and the dispatcher must learn of the
        # refusal to send it a share again.
        return outcome
    blame = error.blame if isinstance(error, HeadraceError) else Blame.UNKNOWN
    failure = Failure(_kind(error), blame, f"{_UNSTORED}{text_of(error)}"[:500])
    return replace(outcome, values=None, correction=None, error=failure)


def _kind(error: BaseException) -> FailureKind:
    # A permanent failure would end the task although the store may recover and the answer may exist.
    is_of_journal = isinstance(error, StoreError | FencedError | PeerLostError)
    return FailureKind.UNSTORED if is_of_journal else FailureKind.PERMANENT


def _size(message: ToJournal) -> int:
    return weight(message) if isinstance(message, AttemptOutcome) else 256


def _resolved(value: AttemptEnded | Cleared) -> asyncio.Future:  # type: ignore[type-arg] # of either
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future

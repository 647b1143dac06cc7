"""Has the journal know of a task: when it is accepted, how far it has come, and how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from actors.core.message_size import weight
from actors.core.messages.journal import Accept, Accepted, Collected, Finish, Note, ReadTasks, TaskView
from actors.core.messages.protocols import FromJournal, ToJournal
from actors.core.messages.tasks import Fetched, Report, Submit
from actors.core.messages.values import Json
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, CourierStatistics, OnRestart

_WINDOW = 100_000
_WINDOW_BYTES = 256 << 20


class TaskRecorder:
    """Tells `journal` of tasks; without one, every task is new and every report stands.

    Every method may raise what the journal answers with: `TaskConflictError`, `FencedError`, `StoreError`, or
    `PeerLostError` once it is gone.
    """

    def __init__(self, journal: Address[ToJournal, FromJournal] | None) -> None:
        self._courier: Courier[ToJournal, FromJournal] | None = None
        if journal is not None:
            settings = CourierSettings(
                max_outstanding=_WINDOW, max_outstanding_bytes=_WINDOW_BYTES, on_restart=OnRestart.RESEND
            )
            self._courier = Courier(journal, settings=settings, size_of=weight)

    async def accept(self, submit: Submit, expires_in_s: float) -> Accepted:
        """Return once the task's row is durable, with what is known of it from before."""
        if self._courier is None:
            return Accepted(submit.task.key, is_new=True, accepted_at=time.time())
        accepted: Accepted = await self._courier.call(
            Accept(
                submit.run_id,
                submit.task,
                submit.tenant,
                submit.priority,
                expires_in_s,
                submit.group,
                submit.idempotency,
                submit.digest,
            )
        )
        return accepted

    async def collected(self, run_id: str, task: str, fetched: tuple[Fetched, ...]) -> None:
        """Return once what the sources gave is durable: a later life asks the model the same questions."""
        if self._courier is not None:
            await self._courier.call(Collected(run_id, task, fetched))

    async def note(self, run_id: str, task: str, kind: str, data: Mapping[str, Json]) -> None:
        """Have an event written, without waiting for it."""
        if self._courier is not None:
            (await self._courier.send(Note(run_id, task, kind, data))).add_done_callback(_retrieve)

    async def finish(self, run_id: str, report: Report) -> Report:
        """Return the report that stands, once it is durable."""
        if self._courier is None:
            return report
        stands: Report = await self._courier.call(Finish(run_id, report))
        return stands

    async def unfinished(self, run_id: str, after: int, limit: int) -> tuple[TaskView, ...]:
        """Return accepted tasks without a report, in order of acceptance, after the ordinal `after`."""
        if self._courier is None:
            return ()
        views: tuple[TaskView, ...] = await self._courier.call(ReadTasks(run_id, "accepted", after, limit))
        return views

    async def close(self) -> None:
        """Let go of the courier. What the journal has not confirmed stays unconfirmed."""
        if self._courier is not None:
            await self._courier.close()

    def statistics(self) -> CourierStatistics | None:
        """Return a frozen snapshot of the way to the journal."""
        return None if self._courier is None else self._courier.statistics()


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()  # whatever ails the journal is told by what waits for it

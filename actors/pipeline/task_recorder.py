"""Records the acceptance, the progress and the report of tasks in the journal."""

from __future__ import annotations

import time
from collections.abc import Mapping

from actors.core.message_size import weight
from actors.core.messages.journal import Accept, Accepted, Collected, Finish, Note, ReadTasks, TaskView
from actors.core.messages.protocols import FromJournal, ToJournal
from actors.core.messages.tasks import Fetched, Report, Submit
from actors.core.messages.values import Json
from actors.runtime.futures import retrieve
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, CourierStatistics, OnRestart

_WINDOW = 100_000
_WINDOW_BYTES = 256 << 20


class TaskRecorder:
    """Sends records of tasks to `journal`. Without a journal every task is new and every report is final.

    Each method may raise the errors of the journal: `TaskConflictError`, `FencedError`, `StoreError`, or
    `PeerLostError` when it is away.
    """

    def __init__(self, journal: Address[ToJournal, FromJournal] | None) -> None:
        self._courier: Courier[ToJournal, FromJournal] | None = None
        if journal is not None:
            settings = CourierSettings(
                max_outstanding=_WINDOW, max_outstanding_bytes=_WINDOW_BYTES, on_restart=OnRestart.RESEND
            )
            self._courier = Courier(journal, settings=settings, size_of=weight)

    async def accept(self, submit: Submit, expires_in_s: float) -> Accepted:
        """Return once the task is durable, with its state from earlier runs of the pipeline."""
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
        """Return once the fetched items are durable. A restarted pipeline then asks the same questions."""
        if self._courier is not None:
            await self._courier.call(Collected(run_id, task, fetched))

    async def note(self, run_id: str, task: str, kind: str, data: Mapping[str, Json]) -> None:
        """Record an event without waiting for it to be durable."""
        if self._courier is not None:
            noted = await self._courier.send(Note(run_id, task, kind, data))
            noted.add_done_callback(retrieve)  # the calls that wait for the journal report its errors

    async def finish(self, run_id: str, report: Report) -> Report:
        """Return the final report once it is durable. An earlier report of the task takes precedence."""
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
        """Close the courier. Unconfirmed records may or may not be stored."""
        if self._courier is not None:
            await self._courier.close()

    def statistics(self) -> CourierStatistics | None:
        """Return a frozen snapshot of the courier to the journal, None without a journal."""
        return None if self._courier is None else self._courier.statistics()

"""Keeps the history of the endpoints with the run: reads it at the start, stores it at intervals.

Rule: the history is not stored before the earlier one was read, which it would replace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from actors.core.dispatch.state import DispatchState
from actors.core.errors import HeadraceError, text_of
from actors.core.messages.journal import KeepHistory, ReadHistory
from actors.core.messages.protocols import FromJournal, ToJournal
from actors.core.metrics.history_format import MOST_PACKED_BYTES, pack, unpack
from actors.dispatcher.journal_query import ask_journal
from actors.runtime.defects import end_loudly
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart

_log = logging.getLogger(__name__)

_SAVE_EVERY_S = 5.0  # a killed process loses this much of its history
_SAVE_WITHIN_S = 2.0  # the end of a run waits for it


class HistoryKeeper:
    """Observes `state` for its history. Without a journal, the history begins with this dispatcher."""

    def __init__(
        self,
        state: DispatchState,
        journal: Address[ToJournal, FromJournal] | None,
        run_id: str,
        clock: Callable[[], float],
        date: Callable[[], float],
    ) -> None:
        self._state = state
        self._clock, self._date = clock, date
        self._run_id = run_id
        self._saved: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._saving: asyncio.Future[Any] | None = None
        self._courier: Courier[ToJournal, FromJournal] | None = None
        self._reading: asyncio.Task[None] | None = None
        if journal is not None and run_id:
            settings = CourierSettings(
                max_outstanding=2, max_outstanding_bytes=4 * MOST_PACKED_BYTES, on_restart=OnRestart.RESEND
            )
            self._courier = Courier(journal, settings=settings, size_of=_size)
            self._reading = asyncio.create_task(self._read(journal))

    def observe(self, *, always: bool = False) -> None:
        """Record the present state of the dispatcher, if the last record is old enough or `always`."""
        if self._reading is not None:
            return  # a history without the earlier one would replace it
        self._state.observe(self._clock(), self._date(), always=always)
        if self._courier is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SAVE_EVERY_S, self._on_timer)

    async def save(self) -> None:
        """Store the history up to now, and return when it is stored, or after 2 s."""
        try:
            async with asyncio.timeout(_SAVE_WITHIN_S):
                if self._saving is not None:
                    await asyncio.wait([self._saving])
                self._save()
                if self._saving is not None:
                    await asyncio.wait([self._saving])
        except TimeoutError:
            _log.info("the history of run %s is not stored up to its end", self._run_id)

    async def close(self) -> None:
        """Stop. Records that are not stored yet are lost."""
        if self._timer is not None:
            self._timer.cancel()
        if self._reading is not None:
            self._reading.cancel()
        if self._courier is not None:
            await self._courier.close()

    async def _read(self, journal: Address[ToJournal, FromJournal]) -> None:
        try:
            packed = await ask_journal(journal, ReadHistory(self._run_id))
            if packed is not None:
                self._state.continue_history(unpack(packed))
        except (HeadraceError, ValueError) as error:  # the run matters more than its history
            _log.warning("the history of run %s begins anew: %s", self._run_id, text_of(error))
        except Exception:  # noqa: BLE001 - a defect
            end_loudly("the history of the dispatcher")
        self._reading = None
        self.observe(always=True)

    def _on_timer(self) -> None:
        self._timer = None
        if self._saving is None:  # while the store is away, one record waits for it
            self._save()

    def _save(self) -> None:
        if self._courier is None or self._reading is not None:
            return
        self._state.observe(self._clock(), self._date(), always=True)
        packed = pack(self._state.statistics().history)
        if packed == self._saved:
            return
        self._saved = packed
        self._saving = self._courier.post(KeepHistory(self._run_id, packed))
        self._saving.add_done_callback(self._on_saved)

    def _on_saved(self, answer: asyncio.Future[Any]) -> None:
        self._saving = None
        if answer.cancelled():
            return
        error = answer.exception()
        if error is not None:  # the next one replaces it
            self._saved = None
            _log.debug("the history of run %s was not stored: %s", self._run_id, text_of(error))


def _size(message: ToJournal) -> int:
    return len(message.packed) if isinstance(message, KeepHistory) else 0

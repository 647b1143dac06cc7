"""Asks the journal for what a dispatcher needs to know of earlier lives of its run."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from actors.core.errors import StoreUnavailableError
from actors.core.messages.journal import ReadHistory, ReadSpent
from actors.core.messages.protocols import FromJournal, ToJournal
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart

_log = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 30.0  # between queries to an unavailable store


async def ask_journal(journal: Address[ToJournal, FromJournal], query: ReadSpent | ReadHistory) -> Any:
    """Return the answer to `query`. While the store is unavailable, ask again."""
    settings = CourierSettings(max_outstanding=1, max_outstanding_bytes=1 << 20, on_restart=OnRestart.RESEND)
    courier = Courier(journal, settings=settings)
    pause_s = 1.0
    try:
        while True:
            try:
                return await courier.call(query)
            except StoreUnavailableError as error:
                what = "has spent" if isinstance(query, ReadSpent) else "has recorded"
                _log.warning("the dispatcher cannot read what the run %s; retrying: %s", what, error)
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
    finally:
        await courier.close()

"""Connects a replica of the HTTP API to the actors: one courier for each, and their statistics.

Rule 1: a replica holds no state. A fact that was answered to a caller is in the journal by then.
Rule 2: every message may be sent again: a task is accepted once, and a query changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from actors.core.errors import HeadraceError, StoreUnavailableError
from actors.core.message_size import weight
from actors.core.messages.journal import Accept, Accepted, Query
from actors.core.messages.tasks import Cancel, Report, Submit
from actors.core.task.shards import shard
from actors.runtime.log_guard import guard_logs
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.discovery import RayAddress
from cluster.assembly.service import NAMESPACE, attach
from cluster.assembly.topology import Topology, TopologyStatistics
from cluster.config.model import HeadraceConfig
from cluster.http.guard import limits

_log = logging.getLogger(__name__)

_SETTINGS = CourierSettings(
    max_outstanding=20_000,
    max_outstanding_bytes=128 << 20,
    on_restart=OnRestart.RESEND,
    interval_s=0.005,  # a caller waits for each message
)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 15.0


class Gateway:
    """Exchanges messages with the actors of one service. Create it on a running event loop; close it."""

    def __init__(self, config: HeadraceConfig, namespace: str = NAMESPACE) -> None:
        self.config = config
        self.run_id = config.name
        self._namespace = namespace
        self._censor = config.censor()
        guard_logs(self._censor)
        self._ways: dict[str, Courier[Any, Any]] = {}
        self._topology: Topology | None = None
        self._trouble = "the actors are being started"
        self._statistics: TopologyStatistics | None = None
        self._looked_at = 0.0
        self._looking: asyncio.Task[TopologyStatistics] | None = None
        self._opening = asyncio.create_task(self._open())

    async def opened(self, within_s: float) -> bool:
        """Return whether the actors exist, after waiting `within_s` for them at most."""
        await asyncio.wait({self._opening}, timeout=within_s)
        return self._topology is not None

    async def close(self) -> None:
        """Close the couriers. The actors stay."""
        self._opening.cancel()
        ways, self._ways = self._ways, {}
        await asyncio.gather(*(way.close() for way in ways.values()), return_exceptions=True)

    async def accept(self, submit: Submit) -> Accepted:
        """Return once the task is durable. Raises `HeadraceError` or TimeoutError."""
        accepted: Accepted = await self._call(self._pipeline_of(submit.task.key), submit)
        return accepted

    async def ask(self, query: Query | Accept, wait_s: float = 0.0) -> Any:
        """Return the journal's answer, `wait_s` later at most. Raises `HeadraceError` or TimeoutError."""
        return await self._call("journal", query, limits.ANSWER_WITHIN_S + wait_s)

    async def cancel(self, key: str) -> Report | None:
        """Cancel a task; return its report once it has ended, None if its pipeline has no such task."""
        report: Report | None = await self._call(self._pipeline_of(key), Cancel(key, self.run_id))
        return report

    async def statistics(self) -> TopologyStatistics:
        """Return the statistics of the actors, half a second old at most. Raises `HeadraceError`."""
        if self._statistics is not None and time.monotonic() - self._looked_at < limits.STATISTICS_AGE_S:
            return self._statistics
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(self._required()))
        return await asyncio.shield(self._looking)  # the first caller may leave; the others still wait

    @property
    def trouble(self) -> str:
        """Why no request can be served; empty once the actors exist."""
        return self._trouble

    # ---- ways --------------------------------------------------------------------------------------------

    async def _call(self, name: str, message: Any, within_s: float = limits.ANSWER_WITHIN_S) -> Any:
        self._required()
        way = self._ways.get(name)
        if way is None:
            way = self._ways[name] = Courier(
                RayAddress(name, self._namespace), settings=_SETTINGS, size_of=weight
            )
        # A caller does not wait longer for an actor that does not answer; its message is dropped.
        async with asyncio.timeout(within_s):
            return await way.call(message)

    def _pipeline_of(self, key: str) -> str:
        return f"pipeline:{shard(key, self.config.cluster.pipelines)}"

    def _required(self) -> Topology:
        if self._topology is None:
            raise StoreUnavailableError(self._trouble)
        return self._topology

    async def _look(self, topology: Topology) -> TopologyStatistics:
        self._statistics = await topology.statistics()
        self._looked_at = time.monotonic()
        return self._statistics

    async def _open(self) -> None:
        """Find or create the actors, however long the cluster or the store take to start."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                self._topology, view = await attach(self.config, self._namespace)
            except HeadraceError as error:
                self._trouble = self._censor(str(error))
                _log.warning("the actors of %s: %s", self.run_id, error)
            except Exception as error:  # noqa: BLE001 - the API reports any error and tries again
                self._trouble = self._censor(f"{type(error).__name__}: {error}")[:300]
                _log.exception("the actors of %s could not be had", self.run_id)
            else:
                self._trouble = ""
                for note in view.notes:
                    _log.warning("%s", note)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

"""The interface between a driver and the actors of an application, for all engines."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, Protocol

from actors.core.dispatch.settings import DispatchStatistics
from actors.core.errors import HeadraceError
from actors.core.message_size import weight
from actors.core.messages.calls import Drain, SaveHistory
from actors.core.messages.protocols import (
    FromDispatcher,
    FromJournal,
    FromPipeline,
    ToDispatcher,
    ToJournal,
    ToPipeline,
)
from actors.journal.actor import JournalActorStatistics
from actors.pipeline.actor import PipelineStatistics
from actors.runtime.telemetry.tracer import Tracer
from actors.sources.actor import SourceStatistics
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.inbox import Inbox
from cluster.config.model import HeadraceConfig

_SAVED_WITHIN_S = 3.0


class Actor(Protocol):
    """A plain class with an inbox."""

    inbox: Inbox

    def statistics(self) -> Any:
        """Return a frozen snapshot."""
        ...

    async def close(self) -> None:
        """Close connections and files, and cancel tasks."""
        ...


@dataclass(frozen=True, slots=True)
class TopologyStatistics:
    """Snapshots of all actors that answered in time."""

    journal: JournalActorStatistics | None
    dispatcher: DispatchStatistics | None
    pipelines: tuple[PipelineStatistics, ...]
    sources: tuple[SourceStatistics, ...]


class Topology(Protocol):
    """The actors of one application. `tracer` exports the span of the run, None without traces."""

    @property
    def tracer(self) -> Tracer | None:
        """Return the tracer of this process."""

    async def ready(self) -> None:
        """Return when every actor answers."""
        ...

    async def drain(self) -> None:
        """Begin no more attempts, and return once none is in flight. Raises `PeerLostError`."""
        ...

    async def save_history(self) -> None:
        """Have the dispatcher store the history of the run. Takes 3 s at most, and does not raise."""
        ...

    async def stop_asking(self) -> None:
        """Close the clients: their attempts in flight end as in doubt. Takes at most a second."""
        ...

    async def close(self) -> None:
        """Close the connections of the actors, and the store."""
        ...

    def couriers(self, *, window: int) -> tuple[Courier[ToPipeline, FromPipeline], ...]:
        """Return a courier to each pipeline, with at most `window` tasks outstanding at each."""
        ...

    def journal_courier(self) -> Courier[ToJournal, FromJournal]:
        """Return a courier to the journal."""
        ...

    async def statistics(self) -> TopologyStatistics:
        """Return snapshots of the actors that answer within a few seconds."""
        ...


def pipeline_names(config: HeadraceConfig) -> tuple[str, ...]:
    """Return the names of the pipelines."""
    return tuple(f"pipeline:{index}" for index in range(config.cluster.pipelines))


CLIENT_PREFIX = "llm-client:"


def client_names(config: HeadraceConfig) -> tuple[str, ...]:
    """Return the names of the LLM clients."""
    return tuple(f"{CLIENT_PREFIX}{index}" for index in range(config.llm.clients))


def source_name(source: str) -> str:
    """Return the name of the actor of the source called `source`."""
    return f"source:{source}"


def pipeline_courier(
    address: Address[ToPipeline, FromPipeline], window: int
) -> Courier[ToPipeline, FromPipeline]:
    """Return a courier to a pipeline, with at most `window` tasks outstanding."""
    settings = CourierSettings(
        max_outstanding=window,
        max_outstanding_bytes=64 << 20,
        on_restart=OnRestart.RESEND,
        interval_s=0.05,
    )
    return Courier(address, settings=settings, size_of=weight)


async def drain(address: Address[ToDispatcher, FromDispatcher]) -> None:
    """Have a dispatcher begin no more attempts, and return once none is in flight."""
    await _ask_dispatcher(address, Drain())


async def save_history(address: Address[ToDispatcher, FromDispatcher]) -> None:
    """Have a dispatcher store the history of its run. Return after 3 s at most; does not raise."""
    with contextlib.suppress(HeadraceError, TimeoutError):  # the results matter more
        async with asyncio.timeout(_SAVED_WITHIN_S):
            await _ask_dispatcher(address, SaveHistory())


async def _ask_dispatcher(
    address: Address[ToDispatcher, FromDispatcher], message: Drain | SaveHistory
) -> None:
    settings = CourierSettings(max_outstanding=1, max_outstanding_bytes=1024, on_restart=OnRestart.RESEND)
    courier = Courier(address, settings=settings)
    try:
        await courier.call(message)
    finally:
        await courier.close()


def journal_courier(address: Address[ToJournal, FromJournal]) -> Courier[ToJournal, FromJournal]:
    """Return a courier to the journal."""
    settings = CourierSettings(
        max_outstanding=10_000, max_outstanding_bytes=64 << 20, on_restart=OnRestart.RESEND
    )
    return Courier(address, settings=settings, size_of=weight)

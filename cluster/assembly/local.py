"""Builds the actors in this process: on one event loop, with threads for the store and the pure steps."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Iterable

from actors.core.messages.protocols import FromJournal, FromPipeline, ToJournal, ToPipeline
from actors.dispatcher.actor import Dispatcher
from actors.journal.actor import Journal
from actors.llm.client import LLMClient
from actors.pipeline.actor import Pipeline
from actors.pipeline.steps import ThreadSteps
from actors.sources.actor import GuardedSource
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.inbox import Inbox
from actors.transport.memory_link import LocalAddress
from cluster.assembly.actor_settings import (
    answer_forms,
    dispatch_settings,
    journal_settings,
    pipeline_settings,
)
from cluster.assembly.telemetry import open_tracer, trace_settings
from cluster.assembly.topology import (
    Actor,
    TopologyStatistics,
    drain,
    journal_courier,
    pipeline_courier,
    save_history,
    source_name,
)
from cluster.config.model import HeadraceConfig

_CLOSE_WITHIN_S = 1.0
_INSTANCE = "local"
_JOURNAL, _DISPATCHER, _CLIENT, _PIPELINE = "journal", "dispatcher", "llm-client:0", "pipeline:0"


class LocalTopology:
    """The `Topology` of actors in this process. It is created, used and closed on one running event loop.

    It has one pipeline and one LLM client, because more would share the same event loop.
    """

    def __init__(self, config: HeadraceConfig, run_id: str) -> None:
        self.inboxes: dict[str, Inbox] = {}
        journal_at: Address[ToJournal, FromJournal] = LocalAddress(_JOURNAL, self.inboxes)
        censor, llm = config.censor(), config.llm
        # One for all actors of the process. Only a resumed run needs other ids than before.
        self.tracer = tracer = open_tracer(trace_settings(config, secrets.token_hex(4)), _INSTANCE)
        self._journal = Journal(journal_settings(config))
        self._sources = {one.name: GuardedSource(one, censor=censor) for one in config.sources}
        self._client = LLMClient(
            *(_CLIENT, llm.endpoints, answer_forms(config), llm.timeout_s, journal_at),
            censor=censor,
            attachments=llm.attachments,
            tracer=tracer,
        )
        self._dispatcher = Dispatcher(
            dispatch_settings(config),
            [LocalAddress(_CLIENT, self.inboxes)],
            journal_at,
            run_id,
            tracer=tracer,
        )
        self._steps = ThreadSteps(config.dimension_settings())
        self._pipeline = Pipeline(
            _PIPELINE,
            pipeline_settings(config, began_at=time.time()),
            LocalAddress(_DISPATCHER, self.inboxes),
            {name: LocalAddress(source_name(name), self.inboxes) for name in self._sources},
            self._steps,
            journal=journal_at,
            tracer=tracer,
        )
        # The actors send nothing before the event loop runs, so each finds all others.
        self.inboxes |= {
            _JOURNAL: self._journal.inbox,
            _CLIENT: self._client.inbox,
            _DISPATCHER: self._dispatcher.inbox,
            _PIPELINE: self._pipeline.inbox,
            **{source_name(name): source.inbox for name, source in self._sources.items()},
        }

    async def ready(self) -> None:
        """Return immediately: the constructor raises every error of an actor's start."""

    async def drain(self) -> None:
        """Begin no more attempts, and return once none is in flight."""
        await drain(LocalAddress(_DISPATCHER, self.inboxes))

    async def save_history(self) -> None:
        """Have the dispatcher store the history of the run. Takes 3 s at most, and does not raise."""
        await save_history(LocalAddress(_DISPATCHER, self.inboxes))

    async def stop_asking(self) -> None:
        """Close the client: its attempts in flight end as in doubt. Takes at most a second."""
        await _within_a_second([self._client.close()])

    async def close(self) -> None:
        """Close all actors, the journal last: it may have to commit messages of the others."""
        others: tuple[Actor, ...] = (self._pipeline, self._dispatcher, self._client, *self._sources.values())
        await _within_a_second([actor.close() for actor in others])
        self._steps.close()
        await _within_a_second([self._journal.close()])
        if self.tracer is not None:
            await self.tracer.close()

    def couriers(self, *, window: int) -> tuple[Courier[ToPipeline, FromPipeline], ...]:
        """Return a courier to the pipeline, with at most `window` tasks outstanding."""
        return (pipeline_courier(LocalAddress(_PIPELINE, self.inboxes), window),)

    def journal_courier(self) -> Courier[ToJournal, FromJournal]:
        """Return a courier to the journal."""
        return journal_courier(LocalAddress(_JOURNAL, self.inboxes))

    async def statistics(self) -> TopologyStatistics:
        """Return snapshots of all actors."""
        return TopologyStatistics(
            self._journal.statistics(),
            self._dispatcher.statistics(),
            (self._pipeline.statistics(),),
            tuple(source.statistics() for source in self._sources.values()),
        )


def build(config: HeadraceConfig, run_id: str) -> LocalTopology:
    """Create the actors of `config` for the run `run_id`. Needs a running event loop."""
    return LocalTopology(config, run_id)


async def _within_a_second(closing: Iterable[Awaitable[None]]) -> None:
    tasks = [asyncio.ensure_future(each) for each in closing]
    _, late = await asyncio.wait(tasks, timeout=_CLOSE_WITHIN_S)
    for task in late:
        task.cancel()

"""Wraps the plain actor classes as Ray actors.

A wrapper adds what a separate process needs: a TCP server for the inbox, Ray's metrics, a low priority and a
tuned garbage collector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import ray

from actors.core.metrics.measures import MeasureReading
from actors.dispatcher.actor import Dispatcher
from actors.dispatcher.actor import readings as dispatcher_readings
from actors.journal.actor import Journal
from actors.journal.actor import readings as journal_readings
from actors.llm.client import LLMClient
from actors.pipeline.actor import Pipeline, PipelineSettings
from actors.pipeline.actor import readings as pipeline_readings
from actors.runtime.ray_metrics import MetricsFeed
from actors.runtime.startup import give_way, settle_in
from actors.runtime.telemetry.settings import NO_TELEMETRY, ActorTelemetry
from actors.runtime.telemetry.tracer import Tracer, span_readings
from actors.sources.actor import GuardedSource
from actors.sources.actor import readings as source_readings
from actors.transport.discovery import Reachable
from cluster.assembly.ray_steps import RaySteps
from cluster.assembly.telemetry import set_up
from cluster.assembly.topology import Actor

ActorT = TypeVar("ActorT", bound=Actor)


class RayShell(Reachable, Generic[ActorT]):
    """Runs one plain actor. Other processes can call its methods through Ray."""

    def __init__(
        self,
        actor: ActorT,
        readings: Callable[[Any], Iterable[MeasureReading]] | None = None,
        *,
        gives_way: bool = True,
        tracer: Tracer | None = None,
    ) -> None:
        super().__init__(actor.inbox)
        self._actor = actor
        self._tracer = tracer

        def read() -> Iterator[MeasureReading]:
            if readings is not None:
                yield from readings(actor.statistics())
            if tracer is not None:
                yield from span_readings(tracer.statistics())

        self._metrics = MetricsFeed(read)
        settle_in()
        if gives_way:
            give_way()

    async def statistics(self) -> Any:
        """Return a frozen snapshot."""
        return self._actor.statistics()

    async def close(self) -> None:
        """Close the connections and files of the actor, and cancel its tasks."""
        await self._actor.close()
        await self.flush()

    async def flush(self) -> None:
        """Export the last spans. Later ones are dropped."""
        if self._tracer is not None:
            await self._tracer.close()

    def __repr__(self) -> str:
        # Ray's dashboard and logs read this once, when the actor starts; counts would be out of date.
        return repr(self._actor)


@ray.remote
class JournalActor(RayShell[Journal]):
    """The journal. It keeps the normal priority, because all others wait for it."""

    def __init__(self, *arguments: Any, telemetry: ActorTelemetry = NO_TELEMETRY, **named: Any) -> None:
        set_up(telemetry, "journal")
        super().__init__(Journal(*arguments, **named), journal_readings, gives_way=False)


@ray.remote
class SourceActor(RayShell[GuardedSource]):
    """One source."""

    def __init__(self, *arguments: Any, telemetry: ActorTelemetry = NO_TELEMETRY, **named: Any) -> None:
        set_up(telemetry, "source")
        super().__init__(GuardedSource(*arguments, **named), source_readings)


@ray.remote
class LLMClientActor(RayShell[LLMClient]):
    """One client of the endpoints."""

    def __init__(
        self, name: str, *arguments: Any, telemetry: ActorTelemetry = NO_TELEMETRY, **named: Any
    ) -> None:
        tracer = set_up(telemetry, name)
        super().__init__(LLMClient(name, *arguments, **named, tracer=tracer), tracer=tracer)

    async def leave(self, node: str) -> bool:
        """Hand the shares back if this is the node `node`. Return whether it is, once no attempt is left."""
        if node != ray.get_runtime_context().get_node_id():
            return False
        await self._actor.leave()
        return True

    async def node(self) -> str:
        """Return the id of the node on which the client runs."""
        return str(ray.get_runtime_context().get_node_id())


@ray.remote
class DispatcherActor(RayShell[Dispatcher]):
    """The dispatcher."""

    def __init__(self, *arguments: Any, telemetry: ActorTelemetry = NO_TELEMETRY) -> None:
        tracer = set_up(telemetry, "dispatcher")
        super().__init__(Dispatcher(*arguments, tracer=tracer), dispatcher_readings, tracer=tracer)


@ray.remote
class PipelineActor(RayShell[Pipeline]):
    """One pipeline. Its steps run in Ray tasks, at most `parallel` at once."""

    def __init__(
        self,
        name: str,
        settings: PipelineSettings,
        dispatcher: Any,
        sources: Any,
        *,
        parallel: int,
        journal: Any = None,
        telemetry: ActorTelemetry = NO_TELEMETRY,
    ) -> None:
        steps = RaySteps(settings.rules.dimensions, parallel)
        tracer = set_up(telemetry, name)
        super().__init__(
            Pipeline(name, settings, dispatcher, sources, steps, journal=journal, tracer=tracer),
            pipeline_readings,
            tracer=tracer,
        )

"""Builds the actors as Ray actors, in order, and gives each the addresses of its peers."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.core.errors import Blame, HeadraceError
from actors.core.messages.protocols import FromJournal, FromPipeline, ToJournal, ToPipeline
from actors.runtime.futures import retrieve
from actors.runtime.telemetry.settings import ActorTelemetry
from actors.runtime.telemetry.tracer import Tracer
from actors.transport.courier import Courier
from actors.transport.discovery import RayAddress
from cluster.assembly.actor_settings import (
    answer_forms,
    dispatch_settings,
    journal_settings,
    pipeline_settings,
)
from cluster.assembly.following import ClientFollower, Make, look_at, moved
from cluster.assembly.places import Nodes, options
from cluster.assembly.ray_actors import (
    DispatcherActor,
    JournalActor,
    LLMClientActor,
    PipelineActor,
    SourceActor,
)
from cluster.assembly.ray_steps import warm_up
from cluster.assembly.telemetry import actor_telemetry, open_tracer
from cluster.assembly.topology import (
    TopologyStatistics,
    client_names,
    drain,
    journal_courier,
    pipeline_courier,
    pipeline_names,
    save_history,
    source_name,
)
from cluster.config.kinds.store import SqliteSection
from cluster.config.model import HeadraceConfig, NodeChoice

_READY_WITHIN_S = 120.0  # Ray takes a minute to detect that a process died before it registered
_LOOK_AGAIN_S = 0.1
_STATISTICS_WITHIN_S = 5.0
_CLOSE_WITHIN_S = 1.0

_MORE = "See its logs (`ray logs`, or Ray's session directory)"

AnswerT = TypeVar("AnswerT")


class NotReadyError(HeadraceError):
    """Some actors did not start."""

    blame = Blame.CLUSTER


@dataclass(frozen=True, slots=True)
class RayTopology:
    """The `Topology` of Ray actors. Ray ends an actor without a handle, so the handles keep them alive."""

    namespace: str
    journal: ActorHandle[Any]
    sources: dict[str, ActorHandle[Any]]
    clients: dict[str, ActorHandle[Any]]
    dispatcher: ActorHandle[Any]
    pipelines: dict[str, ActorHandle[Any]]
    tracer: Tracer | None = None
    follower: ClientFollower | None = None

    async def ready(self) -> None:
        """Return when every actor answers. Raises `NotReadyError` if one cannot start, or is late."""
        actors = {source_name(name): actor for name, actor in self.sources.items()}
        actors |= self.clients | {"journal": self.journal, "dispatcher": self.dispatcher} | self.pipelines
        asked: dict[str, asyncio.Future[Any]] = {
            name: asyncio.ensure_future(_answered(actor)) for name, actor in actors.items()
        }
        _retrieve_all(asked.values())
        _, late = await asyncio.wait(
            asked.values(), timeout=_READY_WITHIN_S, return_when=asyncio.FIRST_EXCEPTION
        )
        for question in late:
            question.cancel()
        for name, question in asked.items():
            error = None if question in late else question.exception()
            if error is not None:
                raise NotReadyError(f"{name} cannot start: {_cause(error)}. {_MORE}") from error
        unready = [name for name, question in asked.items() if question in late]
        if unready:
            raise NotReadyError(
                f"no answer from {', '.join(unready)} within {_READY_WITHIN_S:.0f} s: the cluster may be "
                f"full, or no node is as `cluster.place` says. {_MORE}"
            )
        if self.follower is not None:
            self.follower.start()

    async def drain(self) -> None:
        """Begin no more attempts, and return once none is in flight."""
        await drain(RayAddress("dispatcher", self.namespace))

    async def save_history(self) -> None:
        """Have the dispatcher store the history of the run. Takes 3 s at most, and does not raise."""
        await save_history(RayAddress("dispatcher", self.namespace))

    async def stop_asking(self) -> None:
        """Close the clients: their attempts in flight end as in doubt. Takes at most a second."""
        self._follow_no_more()
        await _closed(self.clients.values())

    async def close(self) -> None:
        """Close the connections of the actors, and the store. Takes at most a second, with traces three."""
        self._follow_no_more()
        if self.tracer is not None:  # their last spans would be lost with their processes
            await asyncio.gather(
                _ended([actor.flush.remote() for actor in (self.dispatcher, *self.pipelines.values())]),
                self.tracer.close(),
            )
        await _closed([*self.sources.values(), *self.clients.values(), self.journal])

    def _follow_no_more(self) -> None:
        if self.follower is not None:
            self.follower.stop()

    def couriers(self, *, window: int) -> tuple[Courier[ToPipeline, FromPipeline], ...]:
        """Return a courier to each pipeline, with at most `window` tasks outstanding at each."""
        return tuple(pipeline_courier(RayAddress(name, self.namespace), window) for name in self.pipelines)

    def journal_courier(self) -> Courier[ToJournal, FromJournal]:
        """Return a courier to the journal."""
        return journal_courier(RayAddress("journal", self.namespace))

    async def statistics(self) -> TopologyStatistics:
        """Return snapshots of all actors that answer within 5 s."""
        journal, dispatcher, pipelines, sources = await asyncio.gather(
            _answers([self.journal]),
            _answers([self.dispatcher]),
            _answers(list(self.pipelines.values())),
            _answers(list(self.sources.values())),
        )
        return TopologyStatistics(
            journal[0] if journal else None,
            dispatcher[0] if dispatcher else None,
            tuple(pipelines),
            tuple(sources),
        )


class Maker:
    """Creates the actors of one namespace.

    If `shared`, the actors outlive the process that creates them, and an existing actor is reused.
    """

    def __init__(self, namespace: str, *, shared: bool) -> None:
        self.namespace = namespace
        self.nodes = Nodes.now()
        self._lifetime: dict[str, Any] = {"lifetime": "detached", "get_if_exists": True} if shared else {}

    def actor(
        self, kind: Any, name: str, *arguments: Any, named: Mapping[str, Any] = {}, **options: Any
    ) -> ActorHandle[Any]:
        """Return the actor `name`: a new one of this `kind`, or the existing one if `shared`."""
        made = kind.options(
            name=name,
            namespace=self.namespace,
            num_cpus=0,  # actors mostly wait; the cores are for the dimension tasks
            max_restarts=-1,
            enable_task_events=False,  # Ray would record an event for every message
            max_task_retries=0,  # only the courier knows which messages may be repeated
            **self._lifetime,
            **options,
        ).remote(*arguments, **named)
        return cast("ActorHandle[Any]", made)

    def journal(self, config: HeadraceConfig, telemetry: ActorTelemetry) -> ActorHandle[Any]:
        """Return the journal."""
        where = options(self.nodes, config.cluster.place.journal)
        if isinstance(config.store, SqliteSection):  # a restart on another node would not find the file
            node = ray.get_runtime_context().get_node_id()
            where = {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}
        return self.actor(
            JournalActor, "journal", journal_settings(config), named={"telemetry": telemetry}, **where
        )


def build(
    config: HeadraceConfig, namespace: str, run_id: str = "", *, lifetime: Literal["detached"] | None = None
) -> RayTopology:
    """Create the actors of `config`, which must have addresses in place of simulators.

    They belong to the calling driver and end with it. "detached" actors outlive it, continue the open tasks
    of the run `run_id`, and are reused if they exist. A budget applies to the run `run_id`.
    """
    shared = lifetime == "detached"
    maker = Maker(namespace, shared=shared)
    journal_at: RayAddress[ToJournal, FromJournal] = RayAddress("journal", namespace)
    # Replicas of a service build the same actors, each with what the first of them gave.
    telemetry = actor_telemetry(config, run_id, "" if shared else secrets.token_hex(4))
    journal = maker.journal(config, telemetry)
    sources = _sources(config, maker, telemetry)
    make = client_maker(config, maker, telemetry)
    clients = {name: make(name, maker.nodes, "") for name in client_names(config)}
    dispatcher = maker.actor(
        DispatcherActor,
        "dispatcher",
        dispatch_settings(config),
        tuple(RayAddress(name, namespace) for name in clients),
        journal_at,
        run_id,
        named={"telemetry": telemetry},
        **options(maker.nodes, config.cluster.place.dispatcher),
    )
    pipelines = _pipelines(config, maker, telemetry, journal_at, recovers=run_id if shared else None)
    warm_up()
    tracer = None if shared else open_tracer(telemetry.traces, "driver")
    topology = RayTopology(namespace, journal, sources, clients, dispatcher, pipelines, tracer)
    if shared:
        return topology

    def move(name: str, node: str) -> None:
        clients[name] = moved(namespace, name, node, make)

    look = partial(look_at, namespace, config)
    return replace(topology, follower=ClientFollower(config, look, move))


def _sources(config: HeadraceConfig, maker: Maker, telemetry: ActorTelemetry) -> dict[str, ActorHandle[Any]]:
    named = {"censor": config.censor(), "telemetry": telemetry}
    chosen = config.cluster.place.sources
    return {
        one.name: maker.actor(
            SourceActor,
            source_name(one.name),
            one,
            named=named,
            **options(maker.nodes, chosen.get(one.name, NodeChoice())),
        )
        for one in config.sources
    }


def _pipelines(
    config: HeadraceConfig,
    maker: Maker,
    telemetry: ActorTelemetry,
    journal: RayAddress[ToJournal, FromJournal],
    *,
    recovers: str | None,
) -> dict[str, ActorHandle[Any]]:
    settings = partial(
        pipeline_settings,
        config,
        began_at=time.time(),  # a pipeline that Ray restarts receives the same value
        recovers=recovers,
        pipelines=config.cluster.pipelines,
    )
    namespace = journal.namespace
    sources: dict[str, RayAddress[Any, Any]] = {
        one.name: RayAddress(source_name(one.name), namespace) for one in config.sources
    }
    return {
        name: maker.actor(
            PipelineActor,
            name,
            *(name, settings(index=index)),
            RayAddress("dispatcher", namespace),
            sources,
            named={"journal": journal, "parallel": _cores(), "telemetry": telemetry},
            **options(maker.nodes),  # each host adds its ports and cores
        )
        for index, name in enumerate(pipeline_names(config))
    }


def client_maker(config: HeadraceConfig, maker: Maker, telemetry: ActorTelemetry) -> Make:
    """Return the function that creates an LLM client, at first on the node that it prefers."""
    forms, llm = answer_forms(config), config.llm
    journal_at: RayAddress[ToJournal, FromJournal] = RayAddress("journal", maker.namespace)
    named = {"censor": config.censor(), "attachments": llm.attachments, "telemetry": telemetry}

    def make(name: str, nodes: Nodes, prefer: str) -> ActorHandle[Any]:
        arguments = (name, llm.endpoints, forms, llm.timeout_s, journal_at)
        return maker.actor(LLMClientActor, name, *arguments, named=named, **options(nodes, prefer=prefer))

    return make


async def _closed(actors: Iterable[ActorHandle[Any]]) -> None:
    await _ended([actor.close.remote() for actor in actors])


async def _ended(calls: Sequence[Awaitable[Any]]) -> None:
    """Wait a second for the ends of these calls."""
    closing: list[asyncio.Future[Any]] = [asyncio.ensure_future(_awaited(call)) for call in calls]
    _retrieve_all(closing)
    await asyncio.wait(closing, timeout=_CLOSE_WITHIN_S)


async def _answers(actors: Sequence[ActorHandle[Any]]) -> list[Any]:
    if not actors:  # a run without sources has none
        return []
    asked: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(_awaited(actor.statistics.remote())) for actor in actors
    ]
    _retrieve_all(asked)
    done, late = await asyncio.wait(asked, timeout=_STATISTICS_WITHIN_S)
    for question in late:
        question.cancel()
    return [question.result() for question in asked if question in done and question.exception() is None]


def _retrieve_all(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Have the late errors of actors on dead nodes read."""
    for future in futures:
        future.add_done_callback(retrieve)


def _cause(error: BaseException) -> str:
    """Return the last line of Ray's message about a failed constructor, which is the error itself."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), repr(error))


async def _answered(actor: ActorHandle[Any]) -> None:
    """Return once an actor answers. Ray restarts an actor that is killed in the meantime."""
    known: Any = None
    while known is None:
        try:
            known = await actor.statistics.remote()
        except ActorUnavailableError:
            await asyncio.sleep(_LOOK_AGAIN_S)


async def _awaited(ref: Awaitable[AnswerT]) -> AnswerT:
    return await ref


def _cores() -> int:
    resources = cast("dict[str, float]", ray.cluster_resources())  # type: ignore[no-untyped-call] # Ray's
    return int(resources.get("CPU", 1))

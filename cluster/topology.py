"""Builds the actors in order and hands each the handles of those it talks to."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import ray
from pydantic import TypeAdapter
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError

from actors.core.dimensions import SYNTHESIS_FIELDS
from actors.core.dispatch_settings import DispatchSettings, DispatchStatistics, EndpointRules
from actors.core.endpoint_state import Price
from actors.core.errors import Blame, HeadraceError
from actors.core.limiter import LimiterSettings
from actors.core.messages import Cancel, Report, Submit
from actors.courier import Courier
from actors.courier_settings import CourierSettings, OnRestart
from actors.dispatcher_actor import DispatcherActor
from actors.endpoints.base import EndpointSettings
from actors.endpoints.forms import AnswerForm, FieldSpec
from actors.journal_actor import JournalActor, JournalActorStatistics, JournalSettings
from actors.llm_client_actor import LLMClientActor
from actors.meeting import Address
from actors.pipeline_actor import PipelineActor, PipelineSettings, PipelineStatistics
from actors.socket_link import SocketLink
from actors.source_actor import SourceActor, SourceStatistics
from actors.task_run import EVALUATE, SYNTHESIZE, TaskRules
from cluster.config import HeadraceConfig
from cluster.store_choice import store_settings

_READY_WITHIN_S = 60.0
_LOOK_AGAIN_S = 0.1
_STATISTICS_WITHIN_S = 5.0
_CLOSE_WITHIN_S = 1.0
_SYNTHESIS_TOKENS = 300  # a finding of a few sentences, and ids

AnswerT = TypeVar("AnswerT")


class NotReadyError(HeadraceError):
    """Some actors did not come up."""

    blame = Blame.CLUSTER


@dataclass(frozen=True, slots=True)
class TopologyStatistics:
    """Snapshots of all actors that answered in time."""

    journal: JournalActorStatistics | None
    dispatcher: DispatchStatistics | None
    pipelines: tuple[PipelineStatistics, ...]
    sources: tuple[SourceStatistics, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """The actors of one application. The handles keep them alive: without one, Ray ends an actor."""

    namespace: str
    journal: ActorHandle[Any]
    sources: dict[str, ActorHandle[Any]]
    clients: dict[str, ActorHandle[Any]]
    dispatcher: ActorHandle[Any]
    pipelines: dict[str, ActorHandle[Any]]

    async def ready(self) -> None:
        """Return when every actor answers. Raises `NotReadyError` after a minute."""
        fleet = {f"source:{name}": actor for name, actor in self.sources.items()}
        fleet |= self.clients | {"journal": self.journal, "dispatcher": self.dispatcher} | self.pipelines
        asked: dict[str, asyncio.Future[Any]] = {
            name: asyncio.ensure_future(_up(actor)) for name, actor in fleet.items()
        }
        _, late = await asyncio.wait(asked.values(), timeout=_READY_WITHIN_S)
        for question in late:
            question.cancel()
        unready = [name for name, question in asked.items() if question in late or question.exception()]
        if unready:
            raise NotReadyError(
                f"no answer from {', '.join(unready)} within {_READY_WITHIN_S:.0f} s: the cluster may be "
                "full; its logs (`ray logs`, or Ray's session directory) tell more"
            )

    async def close(self) -> None:
        """Have actors let go of their connections and the store; give them a second for it, no more."""
        closing: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(_awaited(actor.close.remote()))
            for actor in (*self.sources.values(), *self.clients.values(), self.journal)
        ]
        await asyncio.wait(closing, timeout=_CLOSE_WITHIN_S)

    def couriers(self, *, window: int) -> tuple[Courier[Submit | Cancel, Report], ...]:
        """Return a courier to each pipeline, with at most `window` tasks outstanding at each."""
        settings = CourierSettings(
            max_outstanding=window,
            max_outstanding_bytes=64 << 20,
            on_restart=OnRestart.RESEND,
            interval_s=0.05,
        )
        return tuple(
            Courier(SocketLink(Address(name, self.namespace)), peer=name, settings=settings)
            for name in self.pipelines
        )

    def journal_courier(self) -> Courier[Any, Any]:
        """Return a courier to the journal."""
        settings = CourierSettings(
            max_outstanding=10_000, max_outstanding_bytes=64 << 20, on_restart=OnRestart.RESEND
        )
        return Courier(SocketLink(Address("journal", self.namespace)), peer="journal", settings=settings)

    async def statistics(self) -> TopologyStatistics:
        """Return snapshots of all actors; those that do not answer within 5 s are left out."""
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


def build(config: HeadraceConfig, namespace: str, run_id: str = "") -> Topology:
    """Create the actors that `config` describes, under names that read well in Ray's dashboard.

    They belong to the calling driver and end with it. `config` names its endpoints: see `simulation`. A
    budget is that of the run `run_id`.
    """

    def actor(
        kind: Any, name: str, *arguments: Any, named: Mapping[str, Any] = {}, **options: Any
    ) -> ActorHandle[Any]:
        made = kind.options(
            name=name,
            namespace=namespace,
            num_cpus=0,  # they wait far more than they work; the cores are for the dimension tasks
            max_restarts=-1,
            enable_task_events=False,  # a record of every message would say nothing, and cost
            max_task_retries=0,  # only the courier knows what may be repeated
            **options,
        ).remote(*arguments, **named)
        return cast("ActorHandle[Any]", made)

    journal_at = Address("journal", namespace)
    journal = actor(JournalActor, "journal", _journal_settings(config))
    sources = {one.name: actor(SourceActor, f"source:{one.name}", one) for one in config.sources}
    forms, llm = _forms(config), config.llm
    clients = {
        name: actor(
            LLMClientActor,
            name,
            *(name, llm.endpoints, forms, llm.timeout_s, journal_at),
            scheduling_strategy="SPREAD",  # each host has its own ports and its own cores
        )
        for name in (f"llm-client:{index}" for index in range(llm.clients))
    }
    dispatcher = actor(
        DispatcherActor,
        "dispatcher",
        _dispatch_settings(config),
        tuple(Address(name, namespace) for name in clients),
        journal_at,
        run_id,
    )
    pipelines = {
        name: actor(
            PipelineActor,
            name,
            *(name, _pipeline_settings(config, index), Address("dispatcher", namespace)),
            {source: Address(f"source:{source}", namespace) for source in sources},
            named={"journal": journal_at},
        )
        for index, name in enumerate(f"pipeline:{index}" for index in range(config.cluster.pipelines))
    }
    return Topology(namespace, journal, sources, clients, dispatcher, pipelines)


def _journal_settings(config: HeadraceConfig) -> JournalSettings:
    return JournalSettings(
        store=store_settings(config.store),
        owner=f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}",
        keep=config.store.keep,
        lease_s=config.store.lease_s,
    )


def _forms(config: HeadraceConfig) -> tuple[AnswerForm, ...]:
    fields = {name: _FIELD.validate_python(spec) for name, spec in SYNTHESIS_FIELDS.items()}
    return (
        AnswerForm(EVALUATE, config.evaluate.output, config.evaluate.max_tokens),
        AnswerForm(SYNTHESIZE, fields, _SYNTHESIS_TOKENS),
    )


_FIELD: TypeAdapter[FieldSpec] = TypeAdapter(FieldSpec)


def _dispatch_settings(config: HeadraceConfig) -> DispatchSettings:
    return DispatchSettings(
        endpoints=tuple(_endpoint_rules(endpoint) for endpoint in config.llm.endpoints),
        retry=config.llm.retry.settings(),
        reasks=config.evaluate.reask,
        budget_usd=config.limits.budget_usd,
        budget_tokens=config.limits.budget_tokens,
        hedge=None if config.llm.hedge is None else config.llm.hedge.settings(),
        tenant_weights=config.limits.tenant_weights,
    )


def _endpoint_rules(endpoint: EndpointSettings) -> EndpointRules:
    return EndpointRules(
        name=endpoint.name,
        limiter=LimiterSettings(
            max_in_flight=endpoint.max_in_flight,
            requests_per_minute=endpoint.requests_per_minute,
            tokens_per_minute=endpoint.tokens_per_minute,
        ),
        price=Price(endpoint.price.input_usd_per_mtok, endpoint.price.output_usd_per_mtok),
    )


def _pipeline_settings(config: HeadraceConfig, index: int) -> PipelineSettings:
    pipelines = config.cluster.pipelines
    return PipelineSettings(
        rules=_task_rules(config),
        active_tasks=-(-config.limits.active_tasks // pipelines),
        accepted_tasks=-(-config.limits.accepted_tasks // pipelines),
        index=index,
        count=pipelines,
    )


def _task_rules(config: HeadraceConfig) -> TaskRules:
    return TaskRules(
        dimensions=config.dimension_settings(),
        evaluate_prompt=config.evaluate.prompt,
        evaluate_tokens=config.evaluate.max_tokens,
        synthesize_tokens=_SYNTHESIS_TOKENS,
        model="+".join(sorted({endpoint.model for endpoint in config.llm.endpoints})),
        call_parameters={
            "output": {name: spec.model_dump(mode="json") for name, spec in config.evaluate.output.items()},
            "max_tokens": config.evaluate.max_tokens,
        },
        required_sources=frozenset(source.name for source in config.sources if source.required),
        task_deadline_s=config.limits.task_deadline_s,
        parallel=_cores(),
        share_answers=config.llm.cache,
    )


def _cores() -> int:
    resources = cast("dict[str, float]", ray.cluster_resources())  # type: ignore[no-untyped-call] # Ray's
    return int(resources.get("CPU", 1))


async def _answers(actors: Sequence[ActorHandle[Any]]) -> list[Any]:
    asked: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(_awaited(actor.statistics.remote())) for actor in actors
    ]
    done, late = await asyncio.wait(asked, timeout=_STATISTICS_WITHIN_S)
    for question in late:
        question.cancel()
    return [question.result() for question in asked if question in done and question.exception() is None]


async def _up(actor: ActorHandle[Any]) -> None:
    """Return once an actor answers; one that is killed meanwhile is started anew by Ray."""
    known: Any = None
    while known is None:
        try:
            known = await actor.statistics.remote()
        except ActorUnavailableError:
            await asyncio.sleep(_LOOK_AGAIN_S)


async def _awaited(ref: Awaitable[AnswerT]) -> AnswerT:
    return await ref

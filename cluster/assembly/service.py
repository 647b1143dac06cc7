"""The actors of a service: they outlive whoever builds them, and are taken as they are by whoever comes next.

An actor called ``fleet`` remembers which configuration the others were made for, and runs the simulators that
stand in for what it leaves out. Under a changed configuration all are made anew but the journal, which has
everything that matters in its store.

Rule 1: only the fleet ends the others, and nobody makes new ones before it is gone itself: so of several that
    build at once none ends what another has made.
Rule 2: the service's run is opened before its pipelines are made: they go on with it the moment they begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeVar

import orjson
import ray
from pydantic import SecretStr
from ray.exceptions import RayActorError

from actors.core.errors import Blame, HeadraceError, text_of
from actors.runtime.log_guard import guard_logs
from actors.transport.discovery import RayAddress
from cluster.assembly.ray import Maker, build
from cluster.assembly.stand_ins import stand_in
from cluster.assembly.topology import Topology, client_names, journal_courier, pipeline_names, source_name
from cluster.config.model import HeadraceConfig
from cluster.records.run_journal import RunJournal, RunOrigin

_log = logging.getLogger(__name__)

NAMESPACE = "headrace"
_ANSWER_WITHIN_S = 60.0
_TRIES = 5
_PAUSE_S = 0.5

AnswerT = TypeVar("AnswerT")


class FleetError(HeadraceError):
    """The actors of the service could not be had."""

    blame = Blame.CLUSTER
    retry = True


@dataclass(frozen=True, slots=True)
class FleetView:
    """What a fleet was made for. `config` has the addresses of what stands in, or `problem` says why not."""

    fingerprint: str
    config: HeadraceConfig
    notes: tuple[str, ...]
    problem: str


class ServiceActors:
    """Knows what the other actors were made for. One method runs at a time, on the thread that began."""

    def __init__(
        self, fingerprint: str, config: HeadraceConfig, ports: Mapping[str, int], namespace: str
    ) -> None:
        guard_logs(config.censor())
        self._fingerprint = fingerprint
        self._config = config
        self._ports = ports
        self._namespace = namespace
        self._stand_ins = contextlib.ExitStack()
        self._view: FleetView | None = None
        self.view()  # also where nobody asks: after a restart the others still need what stands in

    def view(self) -> FleetView:
        """Return what this fleet was made for, once what stands in is there."""
        if self._view is None or self._view.problem:
            try:
                stand_ins = self._stand_ins.enter_context(stand_in(self._config, self._ports))
                config, notes = stand_ins.addressed()
                self._view = FleetView(self._fingerprint, config, notes, "")
            except Exception as error:  # noqa: BLE001 - an actor whose __init__ raises is gone, with the reason
                _log.exception("nothing stands in")
                self._view = FleetView(
                    self._fingerprint, self._config, (), f"{type(error).__name__}: {error}"
                )
        return self._view

    def retire(self, *, journal: bool) -> None:
        """End the other actors, and the simulators. The journal stays, unless it is to have another store."""
        for name in (*fleet_names(self._config), *(("journal",) if journal else ())):
            with contextlib.suppress(ValueError):  # nobody has that name
                ray.kill(ray.get_actor(name, self._namespace), no_restart=True)
        self._stand_ins.close()
        self._view = None

    def __repr__(self) -> str:
        return f"fleet({self._config.name})"  # no fingerprint: who sees it could try guesses at a secret


FleetActor = ray.remote(ServiceActors)


def fleet_names(config: HeadraceConfig) -> tuple[str, ...]:
    """Return the names of all actors that `build` makes for `config`, but for the journal."""
    return (
        *pipeline_names(config),
        "dispatcher",
        *client_names(config),
        *(source_name(source.name) for source in config.sources),
    )


async def attach(config: HeadraceConfig, namespace: str = NAMESPACE) -> tuple[Topology, FleetView]:
    """Return the actors of the service that `config` describes, made where they are not there yet.

    The run is named as the configuration is, and is open by then. Raises `FleetError` where an actor does not
    come up, and what keeps the journal from opening the run.
    """
    maker = Maker(namespace, shared=True)
    tries = 0
    while True:
        tries += 1
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                view = await _agreed(maker, config)
            await asyncio.to_thread(maker.journal, config)
            await _open_run(config, namespace)
            topology = await asyncio.to_thread(
                lambda: build(view.config, namespace, config.name, lifetime="detached")  # noqa: B023 - awaited
            )
            await topology.ready()
        except (RayActorError, TimeoutError, FleetError) as error:
            if tries == _TRIES:
                raise FleetError(f"the actors of {config.name} could not be had: {text_of(error)}") from error
            _log.warning("trying once more to have the actors of %s: %s", config.name, error)
            await asyncio.sleep(_PAUSE_S)
        else:
            return topology, view


async def _agreed(maker: Maker, config: HeadraceConfig) -> FleetView:
    """Return the fleet's view once it is that of `config`; one made for another is ended first."""
    mine = fingerprint(config)
    while True:
        ports = {name: _free_port() for name in ("llm", "sources")}
        actor: Any = await asyncio.to_thread(
            maker.actor, FleetActor, "fleet", mine, config, ports, maker.namespace
        )
        view: FleetView = await _answer(actor.view.remote())
        if view.fingerprint != mine:
            _log.warning("the configuration has changed: the actors are made anew")
            await _answer(actor.retire.remote(journal=view.config.store != config.store))
            ray.kill(actor, no_restart=True)
        elif view.problem:
            raise FleetError(view.problem)
        else:
            return view


async def _open_run(config: HeadraceConfig, namespace: str) -> None:
    """Have the run be this service's. Its configuration may change: whoever deploys another means it."""
    journal = RunJournal(journal_courier(RayAddress("journal", namespace)), config.name)
    try:
        await journal.open(config.name, RunOrigin.of(config, accept_config=True))
    finally:
        await journal.close()


def fingerprint(config: HeadraceConfig) -> str:
    """Return what differs where the actors have to: the configuration, secrets included, and this version."""
    told = config.model_dump(mode="python", exclude={"tasks", "output"})
    shown = orjson.dumps(told, default=_revealed, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(metadata.version("headrace").encode() + b"\0" + shown).hexdigest()


def _revealed(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    raise TypeError(f"{type(value).__name__} in a configuration")


def _free_port() -> int:
    """Return a port that is free now. A simulator that is started anew has to be where it was."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _answer(ref: Awaitable[AnswerT]) -> AnswerT:
    return await ref

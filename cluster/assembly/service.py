"""Builds the actors of a service. They outlive the process that builds them, and later processes reuse them.

An actor called ``fleet`` stores the configuration for which the others were created, and runs the simulators
of missing endpoints and sources. A changed configuration replaces all actors except the journal, whose state
is in its store. Another version of this program replaces the journal too.

Rule 1: Only the fleet ends or moves the other actors, and new ones are created only after the fleet has
    ended. Otherwise concurrent builders could end each other's actors.
Rule 2: The run of the service is opened before its pipelines are created: they continue it immediately.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import orjson
import ray
from pydantic import SecretStr
from ray.exceptions import RayActorError

from actors.core.errors import Blame, HeadraceError, text_of
from actors.runtime.log_guard import guard_logs
from actors.transport.discovery import RayAddress
from cluster.assembly.following import ClientFollower, look_at, moved
from cluster.assembly.ray import Maker, build, client_maker
from cluster.assembly.stand_ins import stand_in
from cluster.assembly.telemetry import actor_telemetry
from cluster.assembly.topology import Topology, client_names, journal_courier, pipeline_names, source_name
from cluster.config.model import HeadraceConfig
from cluster.program import VERSION
from cluster.records.run_journal import RunJournal, RunOrigin

_log = logging.getLogger(__name__)

NAMESPACE = "headrace"
_ANSWER_WITHIN_S = 60.0
_TRIES = 5
_PAUSE_S = 0.5

AnswerT = TypeVar("AnswerT")


class FleetError(HeadraceError):
    """The actors of the service could not be created or reached."""

    blame = Blame.CLUSTER
    retry = True


@dataclass(frozen=True, slots=True)
class FleetView:
    """The state of a fleet. `config` has the addresses of its simulators; `problem` is the error, if any.

    `version` is that of the code that its actors run.
    """

    fingerprint: str
    config: HeadraceConfig
    notes: tuple[str, ...]
    problem: str
    version: str = VERSION


class ServiceActors:
    """The fleet actor. Its methods run one at a time, on the thread that created it."""

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
        self.view()  # after a restart the other actors need the simulators again

    def view(self) -> FleetView:
        """Start the simulators if they do not run, and return the state."""
        if self._view is None or self._view.problem:
            try:
                stand_ins = self._stand_ins.enter_context(stand_in(self._config, self._ports))
                config, notes = stand_ins.addressed()
                self._view = FleetView(self._fingerprint, config, notes, "")
            except Exception as error:  # noqa: BLE001 - an error in __init__ would end the actor and be lost
                _log.exception("the simulators cannot start")
                self._view = FleetView(
                    self._fingerprint, self._config, (), f"{type(error).__name__}: {error}"
                )
        return self._view

    def retire(self, *, journal: bool) -> None:
        """End the simulators and the other actors; the journal only if `journal`."""
        for name in (*fleet_names(self._config), *(("journal",) if journal else ())):
            with contextlib.suppress(ValueError):  # there is no actor of that name
                ray.kill(ray.get_actor(name, self._namespace), no_restart=True)
        self._stand_ins.close()
        self._view = None

    def move(self, client: str, node: str) -> None:
        """Make an LLM client that has left anew on `node`."""
        config, maker = self.view().config, Maker(self._namespace, shared=True)
        make = client_maker(config, maker, actor_telemetry(config, config.name, ""))
        moved(self._namespace, client, node, make)

    def __repr__(self) -> str:
        return f"fleet({self._config.name})"  # without the fingerprint, from which secrets could be guessed


FleetActor = ray.remote(ServiceActors)


def fleet_names(config: HeadraceConfig) -> tuple[str, ...]:
    """Return the names of all actors that `build` creates for `config`, except the journal."""
    return (
        *pipeline_names(config),
        "dispatcher",
        *client_names(config),
        *(source_name(source.name) for source in config.sources),
    )


async def attach(config: HeadraceConfig, namespace: str = NAMESPACE) -> tuple[Topology, FleetView]:
    """Return the actors of the service of `config`, and create those that do not exist.

    The run has the name of the configuration, and is open on return. Raises `FleetError` if an actor does not
    start, and the errors with which the journal refuses to open the run.
    """
    maker = Maker(namespace, shared=True)
    tries = 0
    while True:
        tries += 1
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                view = await _agreed(maker, config)
            await asyncio.to_thread(maker.journal, config, actor_telemetry(config, config.name, ""))
            await _open_run(config, namespace)
            topology = await asyncio.to_thread(
                lambda: build(view.config, namespace, config.name, lifetime="detached")  # noqa: B023 - awaited
            )
            followed = replace(topology, follower=_follower(view.config, namespace))
            await followed.ready()
        except (RayActorError, TimeoutError, FleetError) as error:
            if tries == _TRIES:
                raise FleetError(f"the actors of {config.name} could not start: {text_of(error)}") from error
            _log.warning("trying again to start the actors of %s: %s", config.name, error)
            await asyncio.sleep(_PAUSE_S)
        else:
            return followed, view


def _follower(config: HeadraceConfig, namespace: str) -> ClientFollower:
    """Return what has the fleet move clients. Each replica has one, and the fleet moves a client once."""

    def move(client: str, node: str) -> None:
        fleet: Any = ray.get_actor("fleet", namespace)
        ray.get(fleet.move.remote(client, node), timeout=_ANSWER_WITHIN_S)

    return ClientFollower(config, partial(look_at, namespace, config), move)


async def _agreed(maker: Maker, config: HeadraceConfig) -> FleetView:
    """Return the view of the fleet of `config`. A fleet of another configuration is ended first."""
    mine = fingerprint(config)
    while True:
        ports = {name: _free_port() for name in ("llm", "sources")}
        actor: Any = await asyncio.to_thread(
            maker.actor, FleetActor, "fleet", mine, config, ports, maker.namespace
        )
        view: FleetView = await _answer(actor.view.remote())
        if view.fingerprint != mine:
            _log.warning("the configuration has changed: the actors are replaced")
            is_other_version = getattr(view, "version", "") != VERSION  # an earlier version sends none
            await _answer(actor.retire.remote(journal=is_other_version or view.config.store != config.store))
            ray.kill(actor, no_restart=True)
        elif view.problem:
            raise FleetError(view.problem)
        else:
            return view


async def _open_run(config: HeadraceConfig, namespace: str) -> None:
    """Open the run of the service. Its configuration may change, because a deployment is deliberate."""
    journal = RunJournal(journal_courier(RayAddress("journal", namespace)), config.name)
    try:
        await journal.open(config.name, RunOrigin.of(config, accept_config=True))
    finally:
        await journal.close()


def fingerprint(config: HeadraceConfig) -> str:
    """Return a digest of the configuration, secrets included, and the version. Equal digests share actors."""
    document = config.model_dump(mode="python", exclude={"tasks", "output"})
    encoded = orjson.dumps(document, default=_revealed, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(VERSION.encode() + b"\0" + encoded).hexdigest()


def _revealed(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    raise TypeError(f"{type(value).__name__} in a configuration")


def _free_port() -> int:
    """Return a free port. The fleet fixes it, so that a restarted simulator has the same address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _answer(ref: Awaitable[AnswerT]) -> AnswerT:
    return await ref

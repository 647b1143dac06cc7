"""One Ray cluster for all tests here: the one that `--address local` starts, so the same flags hold.

Only the shells are tested here. What they decide is core's, and tested without Ray.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import aiohttp
import pytest
import ray
from pydantic import TypeAdapter

from actors.llm.endpoint import EndpointSettings
from actors.llm.fields import FieldSpec
from actors.llm.forms import AnswerForm
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.discovery import RayAddress, RayLocator
from actors.transport.tcp.link import LinkSettings, SocketLink
from cluster.ray.session import session
from simulators.process import SimulatorProcess

StateT = TypeVar("StateT")

# For whatever has to come: far beyond what it takes, also on a machine that others use too.
WITHIN_S = 100.0
# What must be noticed at once would otherwise be found out long after that, and fail its test.
PATIENCE_S = 3600.0
PATIENT = LinkSettings(ping_after_s=PATIENCE_S, lost_after_s=PATIENCE_S)


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    with session("local"):
        yield


class PatientAddress(RayAddress[Any, Any], frozen=True):
    """An address whose links have settings of a test's own."""

    settings: LinkSettings

    def link(self) -> SocketLink:
        return SocketLink(RayLocator(self), self.settings)


class Cluster:
    """Named actors in a namespace of this test's own, and couriers to them."""

    def __init__(self) -> None:
        self.namespace = f"test-{secrets.token_hex(4)}"
        self.couriers: list[Courier[Any, Any]] = []
        self.actors: list[Any] = []

    def actor(self, kind: Any, name: str, *arguments: Any) -> Any:
        """Create an actor under the options that the topology gives its actors."""
        made = kind.options(
            name=name, namespace=self.namespace, num_cpus=0, max_restarts=-1, max_task_retries=0
        ).remote(*arguments)
        self.actors.append(made)
        return made

    def address(self, name: str, settings: LinkSettings = LinkSettings()) -> RayAddress[Any, Any]:
        return PatientAddress(name, self.namespace, settings)

    def courier(
        self, name: str, mode: OnRestart = OnRestart.RESEND, *, fail_after_s: float = PATIENCE_S, **more: Any
    ) -> Courier[Any, Any]:
        settings = CourierSettings(10_000, 64 << 20, mode, fail_after_s=fail_after_s)
        made: Courier[Any, Any] = Courier(self.address(name, PATIENT), settings=settings, **more)
        self.couriers.append(made)
        return made

    async def answer(self, ref: Awaitable[Any]) -> Any:
        """Return what an actor's method returns, within the deadline."""
        async with asyncio.timeout(WITHIN_S):
            return await ref

    async def until(self, actor: Any, condition: Callable[[Any], bool]) -> Any:
        """Return an actor's statistics as soon as they meet `condition`."""
        return await until(lambda: self.statistics(actor), condition)

    async def statistics(self, actor: Any) -> Any:
        return await self.answer(actor.statistics.remote())

    async def kill_process(self, actor: Any) -> None:
        """End the actor's process as a crash would: SIGKILL, of which it learns nothing."""
        pid = await self.answer(actor.__ray_call__.remote(lambda _: os.getpid()))
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
async def fleet(cluster: None) -> AsyncIterator[Cluster]:
    made = Cluster()
    yield made
    for courier in made.couriers:
        await courier.close()
    for actor in made.actors:
        ray.kill(actor)


async def until(look: Callable[[], Awaitable[StateT]], condition: Callable[[StateT], bool]) -> StateT:
    """Return what another process shows as soon as it meets `condition`: there is no event to wait for."""
    async with asyncio.timeout(WITHIN_S):
        while not condition(state := await look()):
            await asyncio.sleep(0.01)
    return state


class LlmSimulator:
    """A simulated endpoint in a process of its own: its settings, and its books."""

    def __init__(self, url: str, *, max_in_flight: int) -> None:
        self.settings = EndpointSettings(name="sim", base_url=url, model="sim", max_in_flight=max_in_flight)
        self._base = url.removesuffix("/v1")

    async def stats(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as http, http.get(f"{self._base}/stats") as answer:
            return dict(await answer.json())

    async def control(self, **changes: Any) -> None:
        """Have it be otherwise from now on; `hold` has those that come wait until it is 0 again."""
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self._base}/control", json=changes) as answer,
        ):
            assert answer.status == 200, await answer.text()

    async def until(self, requests: int) -> dict[str, Any]:
        """Return the books once so many requests have come."""
        return await until(self.stats, lambda stats: stats["requests"] + stats["in_flight"] >= requests)


@pytest.fixture
def llm() -> Iterator[Any]:
    with contextlib.ExitStack() as running:

        def start(*arguments: str, max_in_flight: int = 1000) -> LlmSimulator:
            process = running.enter_context(SimulatorProcess("llm", arguments))
            return LlmSimulator(process.url, max_in_flight=max_in_flight)

        yield start


@pytest.fixture(scope="session")
def form() -> AnswerForm:
    fields = TypeAdapter(dict[str, FieldSpec]).validate_python(
        {"quality": {"type": "number", "min": 0, "max": 1}, "note": {"type": "string"}}
    )
    return AnswerForm("evaluate", fields, 60)

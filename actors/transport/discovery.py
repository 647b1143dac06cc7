"""Finds actors through Ray, which knows them by name and carries the secret of each.

Messages travel over TCP connections of their own. Only this module translates Ray's errors.
"""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayActorError, RayError

from actors.transport.address import Address, ReplyT, RequestT
from actors.transport.inbox import Inbox
from actors.transport.link import LinkError
from actors.transport.tcp.authentication import Meeting
from actors.transport.tcp.link import SocketLink
from actors.transport.tcp.server import SocketServer

_LOOPBACK = "127.0.0.1"
MEET_WITHIN_S = 30.0  # an actor may still be starting; a stopped process never answers


class RayAddress(Address[RequestT, ReplyT], frozen=True):
    """The address of an actor that runs in a Ray actor.

    Actors get addresses, not handles: Ray keeps an argument that holds a handle in its object store, and
    cannot restart the actor once that is lost (ray-project/ray#53727).
    """

    namespace: str

    def link(self) -> SocketLink:
        """Return a link over TCP."""
        return SocketLink(Introduction(self))


class Reachable:
    """The part of a Ray actor that lets others reach its inbox."""

    def __init__(self, inbox: Inbox) -> None:
        self._server = SocketServer(inbox)

    async def meet(self, caller_host: str) -> Meeting:
        """Return where a caller on `caller_host` reaches the inbox.

        A caller on the same host gets a loopback address: a cluster of one host opens no port to the network.
        """
        host = own_host()
        return await self._server.meeting(_LOOPBACK if host == caller_host else host)


class Introduction:
    """Asks the actor at an address where to meet it."""

    def __init__(self, address: RayAddress[Any, Any]) -> None:
        self._address = address
        self._handle: ActorHandle[Any] | None = None
        self._looking: asyncio.Future[ActorHandle[Any] | None] | None = None

    async def meeting(self) -> Meeting:
        """Return where the actor is to be met in its present life. Raises `LinkError`."""
        if self._handle is None:
            self._handle = await self._look_up()
        handle = self._handle
        if handle is None:  # it may be about to be made
            raise LinkError(f"no actor is named {self._address.name}")
        try:
            return await _answer(handle.meet.remote(own_host()), MEET_WITHIN_S)
        except ActorDiedError as error:
            self._handle = None  # another may be made under its name
            raise LinkError(f"the actor has died: {_first_line(error)}") from error
        except RayActorError as error:
            raise LinkError(f"the actor is away: {_first_line(error)}") from error
        except RayError as error:
            self._handle = None
            raise LinkError(f"the actor cannot tell where to meet it: {_first_line(error)}") from error

    async def _look_up(self) -> ActorHandle[Any] | None:
        """Find the actor by its name. On a thread: while Ray's head is away this takes minutes."""
        if self._looking is None:  # else one that came to no end in time is waited for again
            loop = asyncio.get_running_loop()
            self._looking = loop.run_in_executor(None, _find, self._address)
        done, _ = await asyncio.wait({self._looking}, timeout=MEET_WITHIN_S)
        if not done:
            raise LinkError(f"Ray did not find the actor within {MEET_WITHIN_S:.0f} s")
        found, self._looking = self._looking, None
        return found.result()


def _find(address: RayAddress[Any, Any]) -> ActorHandle[Any] | None:
    try:
        return ray.get_actor(address.name, address.namespace)
    except ValueError:
        return None
    except (RayError, RuntimeError) as error:  # no connection to Ray's head
        raise LinkError(f"Ray cannot look the actor up: {_first_line(error)}") from error


def own_host() -> str:
    """Return the address of this host, as Ray knows it."""
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call] # Ray's


async def _answer(ref: ObjectRef[Meeting], within_s: float) -> Meeting:
    future = asyncio.wrap_future(ref.future())
    future.add_done_callback(_ignore)  # whoever waits may be gone by then: a courier that was closed
    # Not wait_for: cancelling a reference's future leaves one behind in Ray for as long as the call lasts.
    done, _ = await asyncio.wait({future}, timeout=within_s)
    if not done:
        raise LinkError(f"no answer within {within_s:.0f} s")
    return future.result()


def _ignore(future: asyncio.Future[Meeting]) -> None:
    if not future.cancelled():
        future.exception()  # retrieved, so that asyncio does not report a failure that was dealt with


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

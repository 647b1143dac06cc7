"""Finds actors through Ray, which knows their names and transfers the secret of each.

The messages themselves travel over separate TCP connections. Only this module translates Ray's errors.
"""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayActorError, RayError

from actors.runtime.futures import retrieve
from actors.transport.address import Address, ReplyT, RequestT
from actors.transport.inbox import Inbox
from actors.transport.link import LinkError
from actors.transport.tcp.authentication import Location
from actors.transport.tcp.link import SocketLink
from actors.transport.tcp.server import SocketServer

_LOOPBACK = "127.0.0.1"
LOCATE_WITHIN_S = 30.0  # leaves time for an actor to start; a stopped process never answers


class RayAddress(Address[RequestT, ReplyT], frozen=True):
    """The address of an actor that runs in a Ray actor.

    Actors receive addresses, not handles: Ray keeps an argument that contains a handle in its object store,
    and cannot restart the actor once that object is lost (ray-project/ray#53727).
    """

    namespace: str

    def link(self) -> SocketLink:
        """Return a link over TCP."""
        return SocketLink(RayLocator(self))


class Reachable:
    """The base of a Ray actor whose inbox others can reach."""

    def __init__(self, inbox: Inbox) -> None:
        self._server = SocketServer(inbox)

    async def locate(self, caller_host: str) -> Location:
        """Return the location of the inbox for a caller on `caller_host`.

        A caller on the same host gets a loopback address, so a cluster of one host opens no port to the
        network.
        """
        host = own_host()
        return await self._server.location(_LOOPBACK if host == caller_host else host)


class RayLocator:
    """Asks the actor at an address for its location."""

    def __init__(self, address: RayAddress[Any, Any]) -> None:
        self._address = address
        self._handle: ActorHandle[Any] | None = None
        self._lookup: asyncio.Future[ActorHandle[Any] | None] | None = None

    async def location(self) -> Location:
        """Return the current location of the actor. Raises `LinkError`."""
        if self._handle is None:
            self._handle = await self._look_up()
        handle = self._handle
        if handle is None:  # the actor may not exist yet
            raise LinkError(f"no actor is named {self._address.name}")
        try:
            return await _answer(handle.locate.remote(own_host()), LOCATE_WITHIN_S)
        except ActorDiedError as error:
            self._handle = None  # another actor may be created under this name
            raise LinkError(f"the actor has died: {_first_line(error)}") from error
        except RayActorError as error:
            raise LinkError(f"the actor is away: {_first_line(error)}") from error
        except RayError as error:
            self._handle = None
            raise LinkError(f"the actor does not state its location: {_first_line(error)}") from error

    async def _look_up(self) -> ActorHandle[Any] | None:
        """Find the actor by its name, on a thread: while Ray's head is away the call blocks for minutes."""
        if self._lookup is None:  # else an earlier lookup is still running
            loop = asyncio.get_running_loop()
            self._lookup = loop.run_in_executor(None, _find, self._address)
        done, _ = await asyncio.wait({self._lookup}, timeout=LOCATE_WITHIN_S)
        if not done:
            raise LinkError(f"Ray did not find the actor within {LOCATE_WITHIN_S:.0f} s")
        found, self._lookup = self._lookup, None
        return found.result()


def _find(address: RayAddress[Any, Any]) -> ActorHandle[Any] | None:
    try:
        return ray.get_actor(address.name, address.namespace)
    except ValueError:
        return None
    except (RayError, RuntimeError) as error:  # no connection to Ray's head
        raise LinkError(f"Ray cannot look up the actor: {_first_line(error)}") from error


def own_host() -> str:
    """Return the address under which Ray knows this host."""
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call] # Ray's


async def _answer(ref: ObjectRef[Location], within_s: float) -> Location:
    future = asyncio.wrap_future(ref.future())
    future.add_done_callback(retrieve)  # the waiting courier may be closed before the answer arrives
    # Not `wait_for`: if it cancels the future of a reference, Ray keeps another one until the call ends.
    done, _ = await asyncio.wait({future}, timeout=within_s)
    if not done:
        raise LinkError(f"no answer within {within_s:.0f} s")
    return future.result()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

"""How actors are introduced to each other: Ray knows them by name, and carries the secret of each.

What they then say travels over connections of their own. Ray's errors are translated here and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import ray
from msgspec import Struct
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayActorError, RayError

from actors.handshake import Meeting
from actors.inbox import Inbox
from actors.link import LinkError
from actors.socket_server import SocketServer

_log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
MEET_WITHIN_S = 30.0  # an actor may still be starting; a stopped process never answers


class Reachable:
    """An actor with an inbox. Its constructor makes `_inbox`."""

    _inbox: Inbox
    _server: SocketServer | None = None

    async def meet(self, caller_host: str) -> Meeting:
        """Return where a caller on `caller_host` reaches the inbox, from now on if not before.

        Callers on the same host are met on loopback: a cluster of one host opens no port to the network.
        """
        if self._server is None:
            self._server = SocketServer(self._inbox)
        host = _own_host()
        return await self._server.meeting(_LOOPBACK if host == caller_host else host)


class Address(Struct, frozen=True):
    """Where an actor is found: by its name, which outlives any one handle.

    Actors are told addresses, not handles: Ray keeps an argument that holds a handle in its object store,
    and cannot restart the actor once that is lost (ray-project/ray#53727).
    """

    name: str
    namespace: str


class Introduction:
    """Asks the actor at an address where to meet it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._handle: ActorHandle[Any] | None = None

    async def meeting(self) -> Meeting:
        """Return where the actor is to be met in its present life. Raises `LinkError`."""
        if self._handle is None:
            self._handle = self._look_up()
        handle = self._handle
        if handle is None:  # it may be about to be made
            raise LinkError(f"no actor is named {self._address.name}", False)
        try:
            return await _answer(handle.meet.remote(_own_host()), MEET_WITHIN_S)
        except ActorDiedError as error:
            self._handle = self._look_up()  # another may have been made under its name
            gone = self._handle is None or self._handle == handle
            if gone:
                self._handle = None
            raise LinkError(f"the actor has died: {_first_line(error)}", gone) from error
        except RayActorError as error:
            raise LinkError(f"the actor is away: {_first_line(error)}", False) from error
        except RayError as error:
            _log.exception("an actor could not tell where to meet it")
            raise LinkError(f"a defect in the actor: {_first_line(error)}", True) from error

    def _look_up(self) -> ActorHandle[Any] | None:
        try:
            return ray.get_actor(self._address.name, self._address.namespace)
        except ValueError:
            return None


def _own_host() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call] # Ray's


async def _answer(ref: ObjectRef[Meeting], within_s: float) -> Meeting:
    future = asyncio.wrap_future(ref.future())
    future.add_done_callback(_ignore)  # whoever waits may be gone by then: a courier that was closed
    # Not wait_for: cancelling a reference's future leaves one behind in Ray for as long as the call lasts.
    done, _ = await asyncio.wait({future}, timeout=within_s)
    if not done:
        raise LinkError(f"no answer within {within_s:.0f} s", False)
    return future.result()


def _ignore(future: asyncio.Future[Meeting]) -> None:
    if not future.cancelled():
        future.exception()  # retrieved, so that asyncio does not report a failure that was dealt with


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

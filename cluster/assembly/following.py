"""Has LLM clients follow the nodes of a cluster: one moves to a node that joined, and none stays on the head.

Rule 1: a client moves only after it has left: its attempts have ended, and its share is with the others.
Rule 2: one client moves at a time, and only while all of them answer. Otherwise Ray is restarting some.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayError

from actors.core.errors import text_of
from actors.runtime.futures import retrieve
from cluster.assembly.places import Nodes, next_move
from cluster.assembly.topology import client_names
from cluster.config.model import HeadraceConfig

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 5.0  # Ray does not announce new nodes
_ANSWER_WITHIN_S = 5.0
_GONE_WITHIN_S = 10.0
_LOOK_AGAIN_S = 0.05

Make = Callable[[str, Nodes, str], "ActorHandle[Any]"]
# The nodes, and the handle and the node of each client that answers.
Look = Callable[[], tuple[Nodes, dict[str, Any], dict[str, str]]]


class ClientFollower:
    """Moves the LLM clients as nodes come and go. `move` makes a client anew on a node; see `moved`."""

    def __init__(
        self,
        config: HeadraceConfig,
        look: Look,
        move: Callable[[str, str], object],
        *,
        every_s: float = _LOOK_EVERY_S,
    ) -> None:
        self._clients = config.llm.clients
        self._look = look
        self._move = move
        self._every_s = every_s
        self._leave_within_s = config.llm.timeout_s + _ANSWER_WITHIN_S  # the longest attempt, and its record
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow, if it has not begun."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow())

    def stop(self) -> None:
        """Move no further client."""
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        unfinished: tuple[str, str] | None = None  # a client that was ended must be made again
        while True:
            await asyncio.sleep(self._every_s)
            try:
                unfinished = unfinished or await self._left()
                if unfinished is not None:
                    await asyncio.to_thread(self._move, *unfinished)
                    _log.info("%s has moved to another node", unfinished[0])
                unfinished = None
            except Exception as error:  # noqa: BLE001 - Ray's head may be away: try again
                _log.warning("the LLM clients cannot follow the nodes now: %s", text_of(error))

    async def _left(self) -> tuple[str, str] | None:
        """Have the client leave that should move, if there is one. Return it and the node to which."""
        nodes, handles, places = await asyncio.to_thread(self._look)
        move = next_move(nodes, places) if len(places) == self._clients else None
        if move is not None:
            name, at = move[0], places[move[0]]
            leaving: asyncio.Future[bool] = asyncio.wrap_future(handles[name].leave.remote(at).future())
            leaving.add_done_callback(retrieve)
            await asyncio.wait([leaving], timeout=self._leave_within_s)
        return move


def look_at(namespace: str, config: HeadraceConfig) -> tuple[Nodes, dict[str, Any], dict[str, str]]:
    """Return the nodes, and the handle and the node of each client that answers."""
    nodes = Nodes.now()
    handles: dict[str, Any] = {}
    asked: dict[str, Any] = {}
    for name in client_names(config) if nodes.workers else ():
        with contextlib.suppress(ValueError):  # there is no actor of that name
            handles[name] = ray.get_actor(name, namespace)
            asked[name] = handles[name].node.remote()
    places = {}
    for name, answer in asked.items():
        with contextlib.suppress(RayError):
            places[name] = ray.get(answer, timeout=_ANSWER_WITHIN_S)
    return nodes, handles, places


def moved(namespace: str, name: str, node: str, make: Make) -> ActorHandle[Any]:
    """End the client `name`, which has left, and make it anew on `node`, unless it is there already."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    with contextlib.suppress(ValueError):  # it has ended
        before: Any = ray.get_actor(name, namespace)
        with contextlib.suppress(RayError):
            if ray.get(before.node.remote(), timeout=_ANSWER_WITHIN_S) == node:
                return cast("ActorHandle[Any]", before)
        ray.kill(before, no_restart=True)
        while True:  # its name is taken until then
            ray.get_actor(name, namespace)
            if time.monotonic() > deadline:
                raise GetTimeoutError(f"{name} does not end within {_GONE_WITHIN_S:.0f} s")
            time.sleep(_LOOK_AGAIN_S)
    return make(name, Nodes.now(), node)

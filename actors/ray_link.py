"""The way to an actor through Ray, and what makes an actor reachable by it.

An actor is called with ``max_task_retries=0``: a call that failed may have run, and only the courier knows
what may be repeated. Ray's errors are translated here and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayActorError, RayError

from actors.core.messages import Delivery, Poll, Receipt
from actors.inbox import Inbox
from actors.link import LinkError

_log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 30.0  # beyond what the call itself may wait for; a stopped process never answers


class Reachable:
    """An actor with an inbox. Its constructor makes `_inbox`."""

    _inbox: Inbox

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Take items in; see `Inbox.deliver`."""
        return self._inbox.deliver(delivery)

    async def collect(self, poll: Poll) -> Receipt:
        """Wait for replies; see `Inbox.collect`."""
        return await self._inbox.collect(poll)


@dataclass(frozen=True, slots=True)
class Address:
    """Where an actor is found: by its name, which outlives any one handle.

    Actors are told addresses, not handles: Ray keeps an argument that holds a handle in its object store,
    and cannot restart the actor once that is lost (ray-project/ray#53727).
    """

    name: str
    namespace: str


class RayLink:
    """The `Link` to the actor at `address`, which is `Reachable`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._handle: ActorHandle[Any] | None = None

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Hand over items. Raises `LinkError`."""
        return await _answer(self._actor().deliver.remote(delivery), ANSWER_WITHIN_S)

    async def collect(self, poll: Poll) -> Receipt:
        """Wait for replies. Raises `LinkError`."""
        return await _answer(self._actor().collect.remote(poll), poll.wait_s + ANSWER_WITHIN_S)

    def _actor(self) -> ActorHandle[Any]:
        if self._handle is None:
            try:
                self._handle = ray.get_actor(self._address.name, self._address.namespace)
            except ValueError as error:  # it may be about to be made
                raise LinkError(f"no actor is named {self._address.name}", False) from error
        return self._handle


async def _answer(ref: ObjectRef[Receipt], within_s: float) -> Receipt:
    future = asyncio.wrap_future(ref.future())
    future.add_done_callback(_ignore)  # whoever waits may be gone by then: a courier that was closed
    # Not wait_for: cancelling a reference's future leaves one behind in Ray for as long as the call lasts.
    done, _ = await asyncio.wait({future}, timeout=within_s)
    if not done:
        raise LinkError(f"no answer within {within_s:.0f} s", False)
    try:
        return future.result()
    except ActorDiedError as error:
        raise LinkError(f"the actor has died: {_first_line(error)}", True) from error
    except RayActorError as error:
        raise LinkError(f"the actor is away: {_first_line(error)}", False) from error
    except RayError as error:
        _log.exception("a message failed inside the actor it went to")
        raise LinkError(f"a defect in the actor: {_first_line(error)}", True) from error


def _ignore(future: asyncio.Future[Receipt]) -> None:
    if not future.cancelled():
        future.exception()  # retrieved, so that asyncio does not report a failure that was dealt with


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

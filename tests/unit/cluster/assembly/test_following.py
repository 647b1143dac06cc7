"""What has clients follow nodes: one moves at a time, and one that was ended is made again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from cluster.assembly.following import ClientFollower
from cluster.assembly.places import Nodes


class Client:
    """A client that leaves at once, as Ray shows it."""

    def __init__(self, events, name):
        self.leave = SimpleNamespace(remote=lambda node: self._left(events, name, node))

    def _left(self, events, name, node):
        events.append(("left", name, node))
        future = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), asyncio.get_running_loop())
        return SimpleNamespace(future=lambda: future)


@pytest.fixture
def config():
    return SimpleNamespace(llm=SimpleNamespace(clients=2, timeout_s=60.0))


async def followed(config, places, *, failures=0):
    """Return what happens until nothing has happened for some looks. Moving fails `failures` times."""
    events, places, looks = [], dict(places), []

    def move(name, node):
        events.append(("moved", name, node))
        if sum(event[0] == "moved" for event in events) <= failures:
            places.pop(name, None)  # it was ended, and not made
            raise TimeoutError("no head")
        places[name] = node

    handles = {name: Client(events, name) for name in places}

    def look():
        looks.append(len(events))
        return Nodes("h", ("w1", "w2")), handles, dict(places)

    follower = ClientFollower(config, look, move, every_s=0)
    follower.start()
    async with asyncio.timeout(5):
        while len(looks) < 6 or looks[-4] != len(events):
            await asyncio.sleep(0)
    follower.stop()
    return events


async def test_a_client_leaves_before_it_moves_and_the_moves_end(config):
    events = await followed(config, {"llm-client:0": "w1", "llm-client:1": "w1"})
    assert events == [("left", "llm-client:0", "w1"), ("moved", "llm-client:0", "w2")]


async def test_a_client_that_was_ended_and_not_made_is_made_at_the_next_look(config):
    places = {"llm-client:0": "h", "llm-client:1": "w2"}
    events = await followed(config, places, failures=2)
    assert events == [("left", "llm-client:0", "h"), *[("moved", "llm-client:0", "w1")] * 3]


async def test_no_client_moves_while_another_does_not_answer(config):
    assert await followed(config, {"llm-client:0": "h"}) == []

"""Which options place an actor, and which client moves when nodes come and go."""

from __future__ import annotations

import pytest

from cluster.assembly.places import Nodes, next_move, options
from cluster.config.model import NodeChoice

OFF_HEAD, ON_W1 = {"ray.io/node-id": "!h"}, {"ray.io/node-id": "w1"}
DISK = {"disk": "ssd"}


def selectors(options):
    first, fallback = options.get("label_selector", {}), options.get("fallback_strategy", [])
    return [first, *(each["label_selector"] for each in fallback)]


@pytest.mark.parametrize(
    ("workers", "labels", "prefer", "expected"),
    [
        ((), {}, "", [{}]),
        ((), DISK, "", [DISK]),
        (("w1",), {}, "", [OFF_HEAD, {}]),
        (("w1",), {}, "w1", [ON_W1, OFF_HEAD, {}]),
        (("w1",), DISK, "", [OFF_HEAD | DISK, DISK]),
        (("w1",), {"ray.io/node-id": "h"}, "", [{"ray.io/node-id": "h"}]),
    ],
)
def test_an_actor_is_on_the_head_only_where_no_other_node_has_what_it_asks_for(
    workers, labels, prefer, expected
):
    choice = NodeChoice(labels=labels, resources={"vpn": 0.5})
    made = options(Nodes("h", workers), choice, prefer=prefer)
    assert selectors(made) == expected
    assert made["scheduling_strategy"] == "SPREAD"
    assert made["memory"] > 0  # without a resource Ray would not spread it
    assert made["resources"] == {"vpn": 0.5}


@pytest.mark.parametrize(
    ("workers", "places", "expected"),
    [
        (("w1", "w2"), {"c0": "w1", "c1": "w2"}, None),
        (("w1", "w2"), {"c0": "w1", "c1": "w1"}, ("c0", "w2")),  # w2 has joined
        (("w1", "w2"), {"c0": "w1", "c1": "w1", "c2": "w2"}, None),  # a move would change nothing
        (("w1",), {"c0": "h", "c1": "w1"}, ("c0", "w1")),  # the first worker has joined
        ((), {"c0": "h", "c1": "h"}, None),
        (("w1", "w2"), {"c0": "gone", "c1": "w1"}, None),  # Ray restarts the other
    ],
)
def test_a_client_moves_to_a_node_that_joined_only_if_that_spreads_them(workers, places, expected):
    assert next_move(Nodes("h", workers), places) == expected


def test_moves_end_with_an_even_spread():
    nodes, places = Nodes("h", ("w1", "w2", "w3")), {f"c{i}": "h" for i in range(8)}
    for _ in range(8):
        move = next_move(nodes, places)
        assert move is not None
        places[move[0]] = move[1]
    assert next_move(nodes, places) is None
    assert sorted(list(places.values()).count(node) for node in nodes.workers) == [2, 3, 3]


def test_dead_nodes_are_not_counted_and_the_head_is_known_by_its_resource():
    listed = [
        {"NodeID": "h", "Alive": True, "Resources": {"CPU": 1.0, "node:__internal_head__": 1.0}},
        {"NodeID": "w2", "Alive": True, "Resources": {}},
        {"NodeID": "w1", "Alive": False, "Resources": {}},
    ]
    assert Nodes.of(listed) == Nodes("h", ("w2",))

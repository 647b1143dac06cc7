"""Chooses the options with which Ray places an actor.

By default the actors are spread over the nodes, and stay off the head where there are others: its loss would
end them together with Ray's own processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ray

from cluster.config.model import NodeChoice

NODE_LABEL = "ray.io/node-id"  # Ray gives it to every node
_HEAD = "node:__internal_head__"  # a resource that only the head has
_ANYWHERE = NodeChoice()

# Ray 2.60 ignores the scheduling strategy of an actor that requests no resource, so this requests a byte.
_SPREAD: Mapping[str, Any] = {"scheduling_strategy": "SPREAD", "memory": 1}


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that are up: the id of the head, and those of the others."""

    head: str
    workers: tuple[str, ...]

    @classmethod
    def now(cls) -> Nodes:
        """Ask Ray. The call blocks while Ray's head is away."""
        return cls.of(ray.nodes())  # type: ignore[no-untyped-call] # Ray's

    @classmethod
    def of(cls, listed: Iterable[Mapping[str, Any]]) -> Nodes:
        """Return the nodes in a list of Ray."""
        up = [node for node in listed if node["Alive"]]
        heads = [node["NodeID"] for node in up if _HEAD in node["Resources"]]
        others = sorted(node["NodeID"] for node in up if _HEAD not in node["Resources"])
        return cls(heads[0] if heads else "", tuple(others))


def options(nodes: Nodes, choice: NodeChoice = _ANYWHERE, *, prefer: str = "") -> dict[str, Any]:
    """Return the options of an actor on one of the nodes of `choice`, at first on the node `prefer`.

    The actor runs on the head if no other node fits, also after a restart. What `choice` asks for is never
    given up: without such a node the actor waits for one.
    """
    chosen: dict[str, Any] = {**_SPREAD}
    if choice.resources:
        chosen["resources"] = dict(choice.resources)
    labels = dict(choice.labels)
    wanted = []
    if NODE_LABEL not in labels:
        if prefer:
            wanted.append({**labels, NODE_LABEL: prefer})
        if nodes.head and nodes.workers:
            wanted.append({**labels, NODE_LABEL: f"!{nodes.head}"})
    first, *others = [*wanted, labels]
    if first:
        chosen["label_selector"] = first
    if others:
        chosen["fallback_strategy"] = [{"label_selector": each} for each in others]
    return chosen


def next_move(nodes: Nodes, places: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the actor that should move, and the node to which; None if the actors are spread evenly.

    `places` has the node of each actor. An actor leaves the head as soon as there is another node. Between
    two of the others it moves if that makes them more equal.
    """
    if not nodes.workers:
        return None
    count = Counter(dict.fromkeys(nodes.workers, 0))
    count.update(node for node in places.values() if node in count)
    least = min(nodes.workers, key=lambda node: count[node])
    for actor, node in sorted(places.items()):
        if node == nodes.head or count[node] > count[least] + 1:
            return actor, least
    return None

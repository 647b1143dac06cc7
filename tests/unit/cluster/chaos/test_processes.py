"""A strike finds the process of an actor by the title that Ray gives it: the name of the actor's class."""

from __future__ import annotations

import ast
from pathlib import Path

from cluster.chaos.processes import TITLES

ROOT = Path(__file__).parents[4]


def test_every_title_of_an_actor_is_the_name_of_a_ray_actor():
    # Parsed, because importing it loads Ray.
    module = ast.parse((ROOT / "cluster/assembly/ray_actors.py").read_text(encoding="utf-8"))
    actors = {node.name for node in module.body if isinstance(node, ast.ClassDef) and node.decorator_list}
    titles = {title.removeprefix("ray::") for of_target in TITLES.values() for title in of_target}
    assert titles - actors == {"IDLE", "aggregate", "verify"}  # workers
    assert actors <= titles

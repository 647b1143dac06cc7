"""The input of a run: what has changed in it is named, and what cannot be done with it is refused."""

from __future__ import annotations

import pytest

from actors.core.messages.journal import TaskView
from actors.core.messages.tasks import Task
from actors.core.messages.values import Priority
from cluster.records.input_digest import InputChangedError, RunInput, refuse_changed


def view(key, params=None):
    return TaskView(key, 0, "accepted", params or {}, "", Priority.BATCH, 0.0, None, 60.0)


async def known(*views):
    for one in views:
        yield one


def of(*tasks):
    return RunInput(lambda: iter(tasks))


def test_the_order_of_the_tasks_does_not_matter_and_everything_else_does():
    first = of(Task("a", {"x": 1, "y": [1.5, None]}), Task("b"))
    assert first.stored() == of(Task("b"), Task("a", {"y": [1.5, None], "x": 1})).stored()
    others = [
        of(Task("a", {"x": 1, "y": [1.5, None]})),
        of(Task("a", {"x": 2, "y": [1.5, None]}), Task("b")),
        of(Task("a", {"x": 1, "y": [1.5, None]}), Task("c")),
        of(Task("b", {"x": 1, "y": [1.5, None]}), Task("a")),
    ]
    assert first.stored() not in [other.stored() for other in others]


async def test_what_was_removed_and_added_is_counted_and_the_first_are_named():
    before = of(*(Task(f"t{number}") for number in range(9)))
    now = of(Task("t0"), Task("new"))
    views = [view(f"t{number}") for number in range(9)]
    changes = await now.changes(before.stored(), known(*views))
    assert changes.text("r1") == (
        "the input has changed since run r1 was started, from 9 to 2 tasks: 8 removed (t1, t2, t3, t4, t5, …)"
        "; 1 that the run has not accepted (new)"
    )
    refuse_changed(changes, "r1")


async def test_params_that_changed_are_refused_before_anything_is_asked():
    now = of(Task("a", {"x": 2}), Task("b"))
    changes = await now.changes(of(Task("a", {"x": 1})).stored(), known(view("a", {"x": 1}), view("b")))
    with pytest.raises(InputChangedError, match=r"1 with other params \(a\)\. A task keeps the params"):
        refuse_changed(changes, "r1")


async def test_params_are_compared_as_they_are_stored():
    odd = {"nan": float("nan"), "big": 2**70, "text": "a\udc80", "pair": (1, 2)}
    stored = {"pair": [1, 2], "text": "a\udc80", "big": 2**70, "nan": None}
    changes = await of(Task("a", odd)).changes({}, known(view("a", stored)))
    assert changes.changed.count == 0

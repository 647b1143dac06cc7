"""A run's results are read in the order of its input, also if it began with a sample."""

from __future__ import annotations

from actors.core.messages.journal import Finish
from cluster.records.reading import all_ended
from tests.unit.support.journal_desk import RUN, Desk, report


def ended(desk, *keys):
    for key in keys:
        desk.accept(key)
        desk.tell(Finish(RUN, report(key)))


def test_tasks_of_a_sample_stand_at_their_places_in_the_input():
    desk = Desk()
    desk.open(origin={"sample": {"size": 3, "seed": 0, "places": {"b": 1, "d": 3, "e": 4}}})
    ended(desk, "b", "d", "e")
    assert [each.key for _, each in all_ended(desk.store, RUN)] == ["b", "d", "e"]
    ended(desk, "a", "c", "f")
    assert [task.key for task, _ in all_ended(desk.store, RUN)] == ["a", "b", "c", "d", "e", "f"]


def test_a_sampled_task_that_the_run_has_not_accepted_is_left_out():
    desk = Desk()
    desk.open(origin={"sample": {"size": 2, "seed": 0, "places": {"b": 1, "c": 2}}})
    ended(desk, "c", "a")
    assert [each.key for _, each in all_ended(desk.store, RUN)] == ["a", "c"]


def test_without_a_sample_tasks_stand_in_order_of_acceptance():
    desk = Desk()
    desk.open()
    ended(desk, "b", "a", "c")
    assert [each.key for _, each in all_ended(desk.store, RUN)] == ["b", "a", "c"]

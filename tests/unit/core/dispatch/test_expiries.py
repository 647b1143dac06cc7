"""When to look at which task, and that nothing is kept of those that are not to be looked at."""

from __future__ import annotations

from actors.core.dispatch.expiries import Expiries


def test_a_task_is_looked_at_once_at_the_earliest_of_its_times():
    expiries = Expiries()
    for when in (5.0, 3.0, 4.0):
        expiries.schedule("t1", when)
    expiries.schedule("t2", 3.5)
    assert expiries.next_at() == 3.0
    assert expiries.take_due(2.9) == []
    assert expiries.take_due(9.0) == ["t1", "t2"]
    assert expiries.take_due(9.0) == []
    assert expiries.next_at() is None


def test_a_task_that_was_forgotten_is_not_looked_at_until_it_is_asked_for_again():
    expiries = Expiries()
    expiries.schedule("t1", 3.0)
    expiries.forget("t1")
    assert expiries.take_due(9.0) == []
    expiries.schedule("t1", 3.0)
    expiries.forget("t1")
    expiries.schedule("t1", 5.0)
    assert expiries.take_due(4.0) == []
    assert expiries.take_due(5.0) == ["t1"]


def test_many_tasks_that_end_early_leave_nothing_behind():
    expiries = Expiries()
    expiries.schedule("long", 600.0)
    for n in range(10_000):
        expiries.schedule("long", 600.0 - n / 10_000)  # less and less time
        for when in (600.0, 599.0):  # as a task whose calls come in two rounds
            expiries.schedule(n, when)
            expiries.forget(n)
        assert len(expiries) <= 100
    assert expiries.take_due(600.0) == ["long"]

"""When the next probe is due: intervals, and the answers that pay for it."""

from __future__ import annotations

import random

import pytest

from actors.core.limiter.probe_schedule import ProbeSchedule


class Longest(random.Random):
    """Draws the largest number."""

    def uniform(self, a, b):
        return b


class Shortest(random.Random):
    """Draws the smallest number."""

    def uniform(self, a, b):
        return a


def waiting(*, refusals=0, answers=0):
    """Return a schedule whose probe at 0 agreed: it waits for four seconds, and for answers."""
    schedule = ProbeSchedule(0.0, 100.0, Longest())
    schedule.begin(0.0)
    for _ in range(refusals):
        schedule.refused()
    schedule.hold(0.0, 100.0)
    answer(schedule, answers)
    return schedule


def answer(schedule, count):
    for _ in range(count):
        schedule.answered()
    schedule.check_invariants()


def test_the_first_probe_is_due_at_once():
    schedule = ProbeSchedule(5.0, 100.0, Longest())
    assert schedule.is_due(5.0)
    assert schedule.next_at(5.0) is None


def test_the_interval_doubles_where_the_bound_is_the_same_and_is_short_again_where_it_has_moved():
    schedule = ProbeSchedule(0.0, 100.0, Longest())
    ends = []
    for limit in (100.0, 105.0, 100.0, 100.0, 94.0, 94.0, 99.0):
        schedule.hold(10.0, limit)
        ends.append(schedule.next_at(10.0) - 10.0)
    assert ends == [4.0, 8.0, 16.0, 16.0, 2.0, 4.0, 2.0]
    assert schedule.next_at(12.0) is None


def test_limiters_behind_one_capacity_wait_for_different_times():
    ends = set()
    for seed in range(20):
        schedule = ProbeSchedule(0.0, 100.0, random.Random(seed))
        schedule.hold(0.0, 100.0)
        ends.add(schedule.next_at(0.0))
    assert len(ends) == 20
    assert all(2.0 <= end <= 4.0 for end in ends)


def test_a_probe_waits_for_its_interval_and_for_twenty_four_answers():
    schedule = waiting(answers=23)
    assert not schedule.is_due(4.0)
    answer(schedule, 1)
    assert not schedule.is_due(3.9)
    assert schedule.is_due(4.0)


@pytest.mark.parametrize(("refusals", "longest_s"), [(1, 24.0), (8, 150.0)])
def test_where_few_answers_come_a_probe_waits_for_a_time(refusals, longest_s):
    schedule = waiting(refusals=refusals)
    schedule.begin(50.0)
    assert not schedule.is_due(50.0 + longest_s)
    assert schedule.is_due(50.1 + longest_s)


def test_all_waits_are_spread_alike():
    schedule = ProbeSchedule(0.0, 100.0, Shortest())
    schedule.hold(0.0, 100.0)
    assert schedule.next_at(0.0) == 2.0
    schedule.begin(0.0)
    assert not schedule.is_due(12.0)
    assert schedule.is_due(12.1)


@pytest.mark.parametrize(("refusals", "price"), [(1, 24), (6, 24), (8, 200), (20, 200)])
def test_after_many_refusals_a_probe_costs_more_answers(refusals, price):
    schedule = waiting(refusals=refusals, answers=price - 1)
    assert not schedule.is_due(10.0)
    answer(schedule, 1)
    assert schedule.is_due(10.0)


def test_debt_is_bounded_so_that_answers_pay_it_soon():
    schedule = waiting(refusals=1000, answers=251)  # which earn one refusal
    schedule.begin(0.0)
    answer(schedule, 24)
    assert schedule.is_due(10.0)


def test_two_hundred_and_fifty_answers_save_a_probe_that_need_not_wait():
    schedule = waiting(answers=249)
    assert not schedule.is_due(1.0)
    answer(schedule, 2)
    assert schedule.is_due(1.0)
    schedule.refused()
    assert not schedule.is_due(1.0)


def test_no_more_than_three_probes_are_saved():
    schedule = waiting(answers=10_000)
    due = []
    for _ in range(3):
        due.append(schedule.is_due(1.0))
        schedule.refused()
    assert [*due, schedule.is_due(1.0)] == [True, True, True, False]


def test_a_probe_that_found_room_is_followed_at_once_until_a_refusal():
    schedule = waiting()
    schedule.succeed(1.0)
    assert schedule.is_due(1.0)
    assert schedule.next_at(1.0) is None
    schedule.begin(1.0)
    schedule.refused()
    assert not schedule.is_due(1.0)


def test_a_bound_that_moved_is_worth_a_probe_whatever_was_paid():
    schedule = waiting(refusals=8)
    schedule.hold(0.0, 50.0)
    assert not schedule.is_due(1.9)
    assert schedule.is_due(2.0)
    assert schedule.held == 50.0
    answer(schedule, 249)
    assert not schedule.is_due(1.9)
    answer(schedule, 2)
    assert schedule.is_due(1.9)

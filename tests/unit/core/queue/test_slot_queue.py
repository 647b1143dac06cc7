"""One endpoint's lane at a client: who starts, who waits, in which order."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from actors.core.errors import InvariantError
from actors.core.messages.attempts import Attempt
from actors.core.queue.slot_queue import Lane, LaneStatistics


@pytest.fixture
def lane():
    lane = Lane()
    yield lane
    lane.check_invariants()


def attempt(number):
    return Attempt(number, f"k{number}", "main", "form", "prompt", 1, f"k{number}", 60.0)


def ids(attempts):
    return [each.id for each in attempts]


def test_without_slots_every_attempt_waits(lane):
    assert lane.offer(attempt(1)) == []
    assert lane.statistics() == LaneStatistics(slots=0, started=0, waiting=1)


def test_attempts_start_at_once_while_slots_are_free(lane):
    lane.set_slots(2)
    assert [ids(lane.offer(attempt(n))) for n in (1, 2, 3)] == [[1], [2], []]
    assert lane.statistics() == LaneStatistics(slots=2, started=2, waiting=1)


def test_the_end_of_one_starts_the_one_that_waited_longest(lane):
    lane.set_slots(1)
    for n in (1, 2, 3):
        lane.offer(attempt(n))
    assert ids(lane.end(1)) == [2]
    assert ids(lane.end(2)) == [3]


def test_a_larger_share_starts_those_that_wait_in_order(lane):
    for n in (1, 2, 3):
        lane.offer(attempt(n))
    assert ids(lane.set_slots(2)) == [1, 2]


def test_a_smaller_share_stops_nothing_and_starts_nothing_until_enough_have_ended(lane):
    lane.set_slots(3)
    for n in (1, 2, 3, 4):
        lane.offer(attempt(n))
    assert lane.set_slots(1) == []
    assert lane.statistics().started == 3
    assert lane.end(1) == []
    assert lane.end(2) == []
    assert ids(lane.end(3)) == [4]


def test_an_attempt_that_waits_can_be_withdrawn_and_its_place_is_gone(lane):
    lane.set_slots(1)
    for n in (1, 2, 3):
        lane.offer(attempt(n))
    assert lane.withdraw(2) == attempt(2)
    assert ids(lane.end(1)) == [3]


def test_an_attempt_that_has_started_or_is_unknown_cannot_be_withdrawn(lane):
    lane.set_slots(1)
    lane.offer(attempt(1))
    assert lane.withdraw(1) is None
    assert lane.withdraw(9) is None
    assert lane.statistics().started == 1


def test_the_end_of_an_unknown_attempt_frees_nothing(lane):
    lane.set_slots(1)
    for n in (1, 2):
        lane.offer(attempt(n))
    assert lane.end(9) == []
    assert lane.statistics() == LaneStatistics(slots=1, started=1, waiting=1)


def test_the_invariants_notice_an_attempt_that_waits_beside_a_free_slot():
    lane = Lane()
    lane.offer(attempt(1))
    lane._slots = 1
    with pytest.raises(InvariantError, match="free slot"):
        lane.check_invariants()


def test_the_invariants_notice_an_attempt_in_two_places():
    lane = Lane()
    lane.offer(attempt(1))
    lane._started.add(1)
    with pytest.raises(InvariantError, match="started and waits"):
        lane.check_invariants()


def test_after_a_refusal_nothing_starts_until_the_share_is_told_again(lane):
    lane.set_slots(2)
    for n in (1, 2, 3, 4):
        lane.offer(attempt(n))
    assert ids(lane.end(1, refused=True)) == []
    assert ids(lane.end(2)) == [3]
    assert ids(lane.set_slots(2)) == [4]


# ---- attempts that go first ------------------------------------------------------------------------------


def test_an_attempt_that_goes_first_starts_before_those_that_came_before_it(lane):
    lane.set_slots(1)
    for number in (1, 2, 3):
        lane.offer(attempt(number))
    lane.offer(replace(attempt(4), first=True))
    assert ids(lane.end(1)) == [4]
    assert ids(lane.end(4)) == [2]


def test_a_reserved_slot_stays_free_for_an_attempt_that_goes_first(lane):
    lane.set_slots(2, reserved=1)
    assert ids(lane.offer(attempt(1))) == [1]
    assert lane.offer(attempt(2)) == []
    assert ids(lane.offer(replace(attempt(3), first=True))) == [3]
    assert lane.end(3) == []
    assert ids(lane.set_slots(2)) == [2]


def test_an_attempt_that_waits_to_go_first_can_be_withdrawn(lane):
    lane.offer(replace(attempt(1), first=True))
    assert lane.statistics().waiting == 1
    assert lane.withdraw(1).id == 1
    assert lane.statistics().waiting == 0

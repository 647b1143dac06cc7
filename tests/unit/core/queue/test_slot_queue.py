"""One endpoint's queue at a client: who starts, who waits, in which order."""

from __future__ import annotations

import pytest

from actors.core.errors import InvariantError
from actors.core.queue.slot_queue import SlotQueue, SlotStatistics


@pytest.fixture
def queue():
    queue = SlotQueue[int]()
    yield queue
    queue.check_invariants()


def test_without_slots_every_attempt_waits(queue):
    assert queue.offer(1, 1) == []
    assert queue.statistics() == SlotStatistics(slots=0, started=0, waiting=1)


def test_attempts_start_at_once_while_slots_are_free(queue):
    queue.set_slots(2)
    assert [queue.offer(n, n) for n in (1, 2, 3)] == [[1], [2], []]
    assert queue.statistics() == SlotStatistics(slots=2, started=2, waiting=1)


def test_the_end_of_one_starts_the_one_that_waited_longest(queue):
    queue.set_slots(1)
    for n in (1, 2, 3):
        queue.offer(n, n)
    assert queue.end(1) == [2]
    assert queue.end(2) == [3]


def test_a_larger_share_starts_those_that_wait_in_order(queue):
    for n in (1, 2, 3):
        queue.offer(n, n)
    assert queue.set_slots(2) == [1, 2]


def test_a_smaller_share_stops_nothing_and_starts_nothing_until_enough_have_ended(queue):
    queue.set_slots(3)
    for n in (1, 2, 3, 4):
        queue.offer(n, n)
    assert queue.set_slots(1) == []
    assert queue.statistics().started == 3
    assert queue.end(1) == []
    assert queue.end(2) == []
    assert queue.end(3) == [4]


def test_an_attempt_that_waits_can_be_withdrawn_and_its_place_is_gone(queue):
    queue.set_slots(1)
    for n in (1, 2, 3):
        queue.offer(n, n)
    assert queue.withdraw(2) == 2
    assert queue.end(1) == [3]


def test_an_attempt_that_has_started_or_is_unknown_cannot_be_withdrawn(queue):
    queue.set_slots(1)
    queue.offer(1, 1)
    assert queue.withdraw(1) is None
    assert queue.withdraw(9) is None
    assert queue.statistics().started == 1


def test_the_end_of_an_unknown_attempt_frees_nothing(queue):
    queue.set_slots(1)
    for n in (1, 2):
        queue.offer(n, n)
    assert queue.end(9) == []
    assert queue.statistics() == SlotStatistics(slots=1, started=1, waiting=1)


def test_the_invariants_notice_an_attempt_that_waits_beside_a_free_slot():
    queue = SlotQueue[int]()
    queue.offer(1, 1)
    queue.slots = 1
    with pytest.raises(InvariantError, match="free slot"):
        queue.check_invariants()


def test_the_invariants_notice_an_attempt_in_two_places():
    queue = SlotQueue[int]()
    queue.offer(1, 1)
    queue.take_over(1)
    with pytest.raises(InvariantError, match="started and waits"):
        queue.check_invariants()


def test_after_a_refusal_nothing_starts_until_the_share_is_told_again(queue):
    queue.set_slots(2)
    for n in (1, 2, 3, 4):
        queue.offer(n, n)
    assert queue.end(1, refused=True) == []
    assert queue.end(2) == [3]
    assert queue.set_slots(2) == [4]


# ---- attempts that go first ------------------------------------------------------------------------------


def test_an_attempt_that_goes_first_starts_before_those_that_came_before_it(queue):
    queue.set_slots(1)
    for number in (1, 2, 3):
        queue.offer(number, number)
    queue.offer(4, 4, first=True)
    assert queue.end(1) == [4]
    assert queue.end(4) == [2]


def test_a_reserved_slot_stays_free_for_an_attempt_that_goes_first(queue):
    queue.set_slots(2, reserved=1)
    assert queue.offer(1, 1) == [1]
    assert queue.offer(2, 2) == []
    assert queue.offer(3, 3, first=True) == [3]
    assert queue.end(3) == []
    assert queue.set_slots(2) == [2]


def test_an_attempt_that_waits_to_go_first_can_be_withdrawn(queue):
    queue.offer(1, 1, first=True)
    assert queue.statistics().waiting == 1
    assert queue.withdraw(1) == 1
    assert queue.statistics().waiting == 0

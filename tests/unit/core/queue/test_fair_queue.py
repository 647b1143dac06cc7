"""The way of a call through the fair queue, and what is left when all have gone."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest

from actors.core.errors import InvalidTransitionError
from actors.core.messages.values import Priority
from actors.core.queue.fair_queue import FairQueue


def test_calls_of_one_task_keep_their_order(queue):
    calls = queue.fill(count=5)
    assert queue.take(5) == calls


def test_an_empty_queue_gives_nothing(queue):
    assert queue.pop() is None
    assert queue.peek() is None


def test_a_full_queue_refuses_and_changes_nothing(make_queue):
    queue = make_queue(2)
    queue.fill(count=2)
    assert queue.push("third", priority=Priority.BATCH, tenant="new", task="new", tokens=1) is None
    assert len(queue) == 2
    assert queue.statistics().refused == 1
    assert [each.tenant for each in queue.statistics().tenants] == ["a"]


def test_a_refused_call_goes_back_to_the_head(queue):
    calls = queue.fill(count=3)
    queue.fill("other", count=3)
    ticket = queue.pop()
    queue.push_back(ticket)
    assert queue.peek() is ticket
    assert [each for each in queue.take(6) if each in calls] == calls


def test_a_refused_call_goes_back_although_the_queue_is_full(make_queue):
    queue = make_queue(1)
    first = queue.fill()
    ticket = queue.pop()
    second = queue.fill()
    queue.push_back(ticket)
    assert len(queue) == 2
    assert queue.take(2) == first + second


def test_refused_calls_come_back_in_the_order_of_their_first_turn(queue):
    calls = queue.fill(count=4)
    for ticket in reversed([queue.pop() for _ in range(4)]):
        queue.push_back(ticket)
    assert queue.take(4) == calls


def test_a_cancelled_task_leaves_with_all_that_is_queued(queue):
    refused, *waiting = queue.fill(task="gone", count=3)
    under_way, *kept = queue.fill(task="kept", count=3)
    assert [queue.pop(), queue.pop()] == [refused, under_way]
    queue.push_back(refused)
    for ticket in (refused, *waiting):
        queue.remove(ticket)
    assert queue.take(2) == kept
    queue.settle(under_way, 100)
    assert queue.is_pristine()


def test_a_removed_call_is_not_served(queue):
    first, removed, last = queue.fill(count=3)
    queue.remove(removed)
    assert len(queue) == 2
    assert queue.take(2) == [first, last]
    assert queue.pop() is None


def test_cancelled_calls_do_not_pile_up(queue):
    """Work that is pushed and cancelled for hours, behind a call that waits, must not fill the memory."""
    queue.fill("a", "waiting")
    numbers = itertools.count()

    def memory_after_cancelling():
        for number in itertools.islice(numbers, 6000):
            queue.remove(queue.fill("a", "waiting")[0])
            queue.remove(queue.fill("a", f"task{number}")[0])
            queue.remove(queue.fill(f"tenant{number}", "t")[0])
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        assert abs(memory_after_cancelling() - memory_after_cancelling()) < 200_000
    finally:
        tracemalloc.stop()


def test_a_tenant_without_work_forgets_its_tasks_while_others_are_busy(queue):
    queue.fill("busy", "b", count=2)
    queue.fill("a", "x")
    queue.take(2)
    assert queue.statistics().remembered == len(["busy", "busy/b", "a"])


def test_nothing_is_left_when_all_is_settled(queue):
    queue.fill("a", "x", count=3)
    queue.fill("b", "y", count=3, priority=Priority.INTERACTIVE)
    queue.take(6)
    assert queue.is_pristine()


def in_state(queue, state):
    """Return the one ticket of `queue`, brought into `state`."""
    [ticket] = queue.fill()
    if state == "cancelled":
        queue.remove(ticket)
    elif state != "queued":
        queue.pop()
    if state == "returned":
        queue.push_back(ticket)
    if state == "settled":
        queue.settle(ticket, 100)
    return ticket


@pytest.mark.parametrize("misuse", ["settle", "push_back"])
@pytest.mark.parametrize("state", ["queued", "returned", "cancelled", "settled"])
def test_only_a_taken_call_can_be_settled_or_pushed_back(queue, misuse, state):
    ticket = in_state(queue, state)
    before = queue.statistics()
    with pytest.raises(InvalidTransitionError):
        queue.settle(ticket, 100) if misuse == "settle" else queue.push_back(ticket)
    assert queue.statistics() == before


@pytest.mark.parametrize("state", ["taken", "cancelled", "settled"])
def test_only_a_call_that_waits_can_be_removed(queue, state):
    ticket = in_state(queue, state)
    before = queue.statistics()
    with pytest.raises(InvalidTransitionError):
        queue.remove(ticket)
    assert queue.statistics() == before


@pytest.mark.parametrize(
    "arguments",
    [{"capacity": 0}, {"batch_share": 1.0}, {"batch_share": -0.1}, {"weights": {"a": 0.0}}],
)
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(ValueError, match="fair queue"):
        FairQueue(**{"capacity": 1, **arguments})


def test_negative_tokens_are_refused(queue):
    with pytest.raises(ValueError, match="not negative"):
        queue.fill(tokens=-1)
    queue.fill()
    ticket = queue.pop()
    with pytest.raises(ValueError, match="not negative"):
        queue.settle(ticket, -1)


def test_statistics_name_the_twenty_busiest_tenants(queue):
    for number in range(30):
        queue.fill(f"tenant{number}", count=number + 1)
    shown = queue.statistics().tenants
    assert len(shown) == 20
    assert (shown[0].tenant, shown[0].queued) == ("tenant29", 30)
    assert (shown[-1].tenant, shown[-1].queued) == ("tenant10", 11)


def test_its_text_shows_what_waits(queue):
    queue.fill(count=2)
    queue.fill(priority=Priority.INTERACTIVE)
    assert repr(queue) == "<FairQueue 1 interactive, 2 batch of 1000, 0 tokens due to batch>"


def test_an_error_names_the_call(queue):
    [ticket] = queue.fill("a", "t")
    with pytest.raises(InvalidTransitionError, match=f"call {ticket.entry}: settle .* state queued"):
        queue.settle(ticket, 100)

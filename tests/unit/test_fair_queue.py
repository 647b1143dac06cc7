"""Who goes next, and what is left when all have gone."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from actors.core.errors import InvalidTransitionError
from actors.core.fair_queue import FairQueue
from actors.core.messages import Priority

_number = itertools.count()


@pytest.fixture
def queue():
    queue: FairQueue[str] = FairQueue(1000, weights={"heavy": 2.0})
    yield queue
    queue.check_invariants()


def push(queue, tenant="a", task="t", *, tokens=100, priority=Priority.BATCH, count=1, key=None):
    """Queue `count` calls whose entries name tenant, task and a serial number; return their keys."""
    keys = [key or f"{tenant}/{task}/{next(_number)}" for _ in range(count)]
    for each in keys:
        assert queue.push(each, each, priority=priority, tenant=tenant, task=task, tokens=tokens)
    return keys


def take(queue, count, actual=None):
    """Pop and settle `count` calls, and return their keys."""
    keys = []
    for _ in range(count):
        ticket = queue.pop()
        queue.settle(ticket, ticket.tokens if actual is None else actual)
        keys.append(ticket.key)
    return keys


def tenants(keys):
    return [key.split("/")[0] for key in keys]


def is_pristine(queue):
    lanes = queue._lanes.values()
    lines = [line for lane in lanes for line in (lane.tenants.flows, lane.tenants._heap, lane.tenants._idle)]
    return not (queue._queued or queue._tasks or any(lines) or any(lane.first_returned() for lane in lanes))


def test_calls_of_one_task_keep_their_order(queue):
    keys = push(queue, count=5)
    assert take(queue, 5) == keys


def test_an_empty_queue_gives_nothing(queue):
    assert queue.pop() is None
    assert queue.peek() is None


def test_tasks_of_a_tenant_take_turns(queue):
    """A task with a thousand items must not hold up the one that came after it."""
    long = push(queue, task="long", count=10)
    short = push(queue, task="short", count=2)
    assert take(queue, 4) == [long[0], short[0], long[1], short[1]]


def test_tenants_take_turns_however_many_tasks_each_has(queue):
    for task in range(10):
        push(queue, "many", f"m{task}")
    push(queue, "one", "o", count=10)
    assert Counter(tenants(take(queue, 10))) == {"many": 5, "one": 5}


def test_a_heavier_tenant_gets_more_in_proportion(queue):
    push(queue, "heavy", count=20)
    push(queue, "light", count=20)
    assert Counter(tenants(take(queue, 15))) == {"heavy": 10, "light": 5}


def test_turns_are_counted_in_tokens_not_in_calls(queue):
    push(queue, "big", tokens=400, count=10)
    push(queue, "small", tokens=100, count=40)
    assert Counter(tenants(take(queue, 25))) == {"big": 5, "small": 20}


def test_being_idle_earns_nothing(queue):
    push(queue, "busy", count=60)
    take(queue, 50)
    push(queue, "late", count=10)
    assert Counter(tenants(take(queue, 10))) == {"busy": 5, "late": 5}


def test_coming_back_does_not_cancel_what_was_taken(queue):
    """A tenant with one call at a time, each ended before the next is asked for, must not starve others."""
    push(queue, "steady", count=10)
    order = []
    for _ in range(10):
        push(queue, "returning")
        order += tenants(take(queue, 1))
    assert Counter(order) == {"steady": 5, "returning": 5}


def test_coming_back_with_larger_calls_gets_no_more_tokens(queue):
    push(queue, "steady", count=100)
    order = []
    for _ in range(33):
        if "returning" not in [each.tenant for each in queue.statistics().tenants if each.queued]:
            push(queue, "returning", tokens=1000)
        order += tenants(take(queue, 1))
    assert Counter(order) == {"steady": 30, "returning": 3}


def test_a_newcomer_goes_before_the_next_call_of_those_just_served(queue):
    push(queue, "busy", count=5)
    take(queue, 1)
    push(queue, "new")
    assert tenants(take(queue, 1)) == ["new"]


def test_a_newcomer_does_not_wait_until_refunds_are_used_up(queue):
    """Refunds set the others back; the newcomer must not start from where they were before."""
    push(queue, "a", tokens=1000, count=50)
    push(queue, "b", tokens=1000, count=50)
    under_way = [queue.pop() for _ in range(20)]
    for ticket in under_way:
        queue.settle(ticket, 0)
    take(queue, 1, actual=0)
    push(queue, "new", tokens=1000, count=5)
    assert "new" in tenants(take(queue, 3))


def test_a_flow_that_came_back_outlives_what_was_noted_when_it_left(queue):
    for tenant, count in (("b", 3), ("a", 1), ("c", 1)):
        push(queue, tenant, count=count)
    for_b, for_a, for_c = queue.pop(), queue.pop(), queue.pop()
    queue.settle(for_b, 100)
    queue.settle(for_a, 100)
    push(queue, "a", count=2)
    assert tenants(take(queue, 1)) == ["b"]
    queue.settle(for_c, 100)
    queue.check_invariants()
    assert Counter(tenants(take(queue, 3))) == {"a": 2, "b": 1}


def test_a_flow_with_work_under_way_keeps_its_tag(queue):
    push(queue, "a", tokens=1000)
    push(queue, "b", count=20)
    under_way = queue.pop()
    push(queue, "a", task="other")
    assert tenants(take(queue, 9)) == ["b"] * 9
    queue.settle(under_way, 1000)


def test_an_estimate_that_was_too_high_is_given_back():
    queue: FairQueue[str] = FairQueue(1000)
    push(queue, "modest", count=300, tokens=1000)
    push(queue, "exact", count=300, tokens=100)
    assert Counter(tenants(take(queue, 400, actual=100)))["modest"] == pytest.approx(200, abs=5)


def test_an_estimate_that_was_too_low_is_charged_later():
    queue: FairQueue[str] = FairQueue(1000)
    push(queue, "greedy", count=300, tokens=100)
    push(queue, "exact", count=300, tokens=100)
    order = []
    for _ in range(400):
        ticket = queue.pop()
        queue.settle(ticket, 300 if ticket.key.startswith("greedy") else 100)
        order.append(ticket.key)
    assert Counter(tenants(order))["greedy"] == pytest.approx(100, abs=2)


def test_calls_without_tokens_do_not_hold_up_others(queue):
    push(queue, "free", tokens=0, count=200)
    push(queue, "paying", tokens=10, count=2)
    assert Counter(tenants(take(queue, 15)))["paying"] == 2


def test_interactive_goes_first(queue):
    push(queue, count=5)
    keys = push(queue, "user", priority=Priority.INTERACTIVE)
    assert take(queue, 1) == keys


def test_batch_gets_its_share_while_both_wait(queue):
    push(queue, "batch", count=100)
    push(queue, "user", priority=Priority.INTERACTIVE, count=100)
    assert Counter(tenants(take(queue, 50))) == {"batch": 10, "user": 40}


def test_the_share_of_batch_counts_what_calls_really_took(queue):
    """Batch asks for a thousand tokens a call and uses a hundred: it still gets a fifth of what is used."""
    push(queue, "batch", count=100, tokens=1000)
    push(queue, "user", priority=Priority.INTERACTIVE, count=100, tokens=100)
    assert Counter(tenants(take(queue, 100, actual=100)))["batch"] == pytest.approx(20, abs=1)


def test_batch_gathers_no_credit_while_it_has_nothing(queue):
    push(queue, "user", priority=Priority.INTERACTIVE, count=100)
    take(queue, 50)
    push(queue, "batch", count=20)
    assert Counter(tenants(take(queue, 10))) == {"user": 8, "batch": 2}


def test_interactive_gathers_no_credit_while_it_has_nothing(queue):
    push(queue, "batch", count=100)
    take(queue, 50, actual=1000)
    push(queue, "user", priority=Priority.INTERACTIVE, count=40)
    assert Counter(tenants(take(queue, 10))) == {"user": 8, "batch": 2}


def test_what_batch_was_due_is_forgotten_when_it_has_nothing_left(queue):
    push(queue, "user", priority=Priority.INTERACTIVE, count=20)
    [key] = push(queue, "batch")
    take(queue, 1)
    assert queue.statistics().batch_due > 0
    queue.remove(key)
    assert queue.statistics().batch_due == 0


def test_a_wrong_estimate_cannot_make_one_class_wait_for_ever(queue):
    push(queue, "batch", count=30, tokens=100)
    push(queue, "user", priority=Priority.INTERACTIVE, count=200, tokens=10_000)
    [batch] = [ticket for ticket in (queue.pop(), queue.pop()) if ticket.key.startswith("batch")]
    queue.settle(batch, 10**9)
    assert "batch" in tenants(take(queue, 60))


def test_a_full_queue_refuses_and_changes_nothing():
    queue: FairQueue[str] = FairQueue(2)
    push(queue, count=2)
    assert not queue.push("third", "third", priority=Priority.BATCH, tenant="new", task="new", tokens=1)
    assert len(queue) == 2
    assert queue.statistics().refused == 1
    assert [each.tenant for each in queue.statistics().tenants] == ["a"]
    queue.check_invariants()


def test_a_refused_call_goes_back_to_the_head(queue):
    keys = push(queue, count=3)
    push(queue, "other", count=3)
    ticket = queue.pop()
    queue.push_back(ticket)
    assert queue.peek() is ticket
    assert [key for key in take(queue, 6) if key in keys] == keys


def test_a_refused_call_goes_back_although_the_queue_is_full():
    queue: FairQueue[str] = FairQueue(1)
    push(queue, key="first")
    ticket = queue.pop()
    push(queue, key="second")
    queue.push_back(ticket)
    assert len(queue) == 2
    assert take(queue, 2) == ["first", "second"]
    queue.check_invariants()


def test_refused_calls_come_back_in_the_order_of_their_first_turn(queue):
    keys = push(queue, count=4)
    tickets = [queue.pop() for _ in range(4)]
    for ticket in reversed(tickets):
        queue.push_back(ticket)
    assert take(queue, 4) == keys


def test_a_refused_call_is_charged_once(queue):
    """A tenant whose calls are refused again and again must not pay for each refusal with its share."""
    push(queue, "unlucky", count=20)
    push(queue, "lucky", count=20)
    order, refused = [], set()
    while len(order) < 20:
        ticket = queue.pop()
        if ticket.key.startswith("unlucky") and ticket.key not in refused:
            refused.add(ticket.key)
            queue.push_back(ticket)
            continue
        queue.settle(ticket, 100)
        order.append(ticket.key)
    assert Counter(tenants(order)) == {"unlucky": 10, "lucky": 10}


def test_a_cancelled_task_leaves_with_all_that_is_queued(queue):
    keys = push(queue, task="gone", count=3)
    kept = push(queue, task="kept", count=3)
    refused = queue.pop()
    under_way = queue.pop()
    queue.push_back(refused)
    assert queue.remove_task("gone") == keys
    assert queue.remove_task("gone") == []
    assert take(queue, 2) == kept[1:]
    queue.settle(under_way, 100)
    assert is_pristine(queue)


def test_a_task_of_the_same_name_is_cancelled_for_all_tenants(queue):
    push(queue, "a", "same")
    push(queue, "b", "same", priority=Priority.INTERACTIVE)
    push(queue, "b", "other")
    assert len(queue.remove_task("same")) == 2
    assert len(queue) == 1


def test_a_removed_call_is_not_served(queue):
    keys = push(queue, count=3)
    assert queue.remove(keys[0]) == keys[0]
    assert queue.remove(keys[0]) is None
    assert take(queue, 2) == keys[1:]


def test_a_refused_call_can_be_removed_and_costs_nothing(queue):
    push(queue, "a", tokens=10_000)
    push(queue, "b", count=4)
    ticket = queue.pop()
    queue.push_back(ticket)
    assert queue.remove(ticket.key) == ticket.key
    push(queue, "a", count=4)
    assert Counter(tenants(take(queue, 4))) == {"a": 2, "b": 2}


def test_a_task_that_wakes_up_in_its_old_place_is_served_once_a_turn(queue):
    keys = push(queue, "a", "x")
    push(queue, "a", "y", count=5)
    queue.remove(keys[0])
    again = push(queue, "a", "x", count=5)
    assert Counter(key in again for key in take(queue, 6)) == {True: 3, False: 3}


def test_cancelled_calls_do_not_pile_up(queue):
    """Work that is pushed and cancelled for hours, behind a call that waits, must not fill the memory."""
    push(queue, "a", "waiting")
    for number in range(2000):
        queue.remove(push(queue, "a", "waiting")[0])
        queue.remove(push(queue, "a", f"task{number}")[0])
        queue.remove(push(queue, f"tenant{number}", "t")[0])
    lane = queue._batch
    waiting = lane.tenants.flows["a"].tasks.flows["waiting"]
    assert len(waiting.line) < 50
    assert len(lane.tenants._heap) < 50
    assert len(lane.tenants.flows["a"].tasks._heap) < 50
    assert len(lane.tenants.flows) < 50
    assert len(queue._tasks) < 50


def test_idle_flows_are_forgotten_beyond_a_bound(queue):
    """Tasks of one call each, for days, while the tenant is never idle."""
    push(queue, "a", "waiting", count=2)
    under_way = queue.pop()
    for number in range(3000):
        push(queue, "a", f"task{number}")
        take(queue, 1)
    assert len(queue._tasks) <= 1030
    queue.settle(under_way, 100)


def test_nothing_is_left_when_all_is_settled(queue):
    push(queue, "a", "x", count=3)
    push(queue, "b", "y", count=3, priority=Priority.INTERACTIVE)
    take(queue, 6)
    assert is_pristine(queue)


@pytest.mark.parametrize("misuse", ["settle", "push_back"])
@pytest.mark.parametrize("state", ["queued", "returned", "ended"])
def test_only_a_taken_call_can_be_settled_or_pushed_back(queue, misuse, state):
    push(queue)
    ticket = queue.peek() if state == "queued" else queue.pop()
    if state == "returned":
        queue.push_back(ticket)
    if state == "ended":
        queue.settle(ticket, 100)
    before = queue.statistics()
    with pytest.raises(InvalidTransitionError):
        queue.settle(ticket, 100) if misuse == "settle" else queue.push_back(ticket)
    assert queue.statistics() == before


def test_a_call_that_is_queued_cannot_be_queued_again(queue):
    [key] = push(queue)
    with pytest.raises(InvalidTransitionError):
        push(queue, key=key)
    assert len(queue) == 1


def test_a_call_does_not_go_back_over_another_of_its_name(queue):
    [key] = push(queue)
    ticket = queue.pop()
    push(queue, key=key)
    with pytest.raises(InvalidTransitionError):
        queue.push_back(ticket)
    queue.settle(ticket, 100)


@pytest.mark.parametrize(
    "arguments",
    [{"capacity": 0}, {"batch_share": 1.0}, {"batch_share": -0.1}, {"weights": {"a": 0.0}}],
)
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(ValueError, match="fair queue"):
        FairQueue(**{"capacity": 1, **arguments})


def test_negative_tokens_are_refused(queue):
    with pytest.raises(ValueError, match="not negative"):
        push(queue, tokens=-1)
    push(queue)
    ticket = queue.pop()
    with pytest.raises(ValueError, match="not negative"):
        queue.settle(ticket, -1)


def test_statistics_name_the_twenty_busiest_tenants(queue):
    for number in range(30):
        push(queue, f"tenant{number}", count=number + 1)
    shown = queue.statistics().tenants
    assert len(shown) == 20
    assert (shown[0].tenant, shown[0].queued) == ("tenant29", 30)
    assert (shown[-1].tenant, shown[-1].queued) == ("tenant10", 11)


def test_its_text_shows_what_waits(queue):
    push(queue, count=2)
    push(queue, priority=Priority.INTERACTIVE)
    assert repr(queue) == "<FairQueue 1 interactive, 2 batch of 1000, 0 tokens due to batch>"

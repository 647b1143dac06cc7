"""Who gets how much: tasks of a tenant, tenants of a class, and the two classes."""

from __future__ import annotations

from collections import Counter

import pytest

from actors.core.messages.values import Priority


def tenants(tickets):
    return [ticket.entry.split("/")[0] for ticket in tickets]


def test_tasks_of_a_tenant_take_turns(queue):
    """A task with a thousand items must not hold up the one that came after it."""
    long = queue.fill(task="long", count=10)
    short = queue.fill(task="short", count=2)
    assert queue.take(4) == [long[0], short[0], long[1], short[1]]


def test_a_task_that_came_first_ends_first(make_queue):
    """Else all tasks of a batch would end at its very end, and a crash find all of them half done."""
    queue = make_queue()
    first = queue.fill(task="first", count=20)
    second = queue.fill(task="second", count=20)
    assert queue.take(20) == first
    last_step = queue.fill(task="first", count=4)
    assert queue.take(24) == [*last_step, *second]


def test_a_long_task_gives_way_once_it_has_had_its_burst(make_queue):
    queue = make_queue(burst=1000)
    long = queue.fill(task="long", count=100)
    short = queue.fill(task="short", count=10)
    assert queue.take(20) == [*long[:10], *short]


def test_long_tasks_get_the_same(make_queue):
    queue = make_queue(capacity=10_000, burst=1000)
    queue.fill(task="big", tokens=400, count=1000)
    queue.fill(task="small", tokens=100, count=4000)
    served = Counter()
    for ticket in queue.take(1000):
        served[ticket.entry.split("/")[1]] += ticket.tokens
    assert abs(served["big"] - served["small"]) <= 1400


def test_what_a_task_really_took_is_what_it_has_had(make_queue):
    queue = make_queue(burst=1000)
    first = queue.fill(task="first", count=20)
    queue.fill(task="second", count=20)
    assert queue.take(19, actual=50) == first[:19]


def test_of_the_idle_tasks_of_a_tenant_those_keep_their_place_that_were_active_last(make_queue):
    queue = make_queue(capacity=10_000)
    under_way, _ = queue.fill("a", "waiting", count=2)
    assert queue.pop() is under_way
    for number in range(6000):
        queue.fill("a", f"task{number}")
    queue.take(6001)
    assert 4096 <= queue.statistics().remembered <= 4100
    new, oldest, latest = (queue.fill("a", name)[0] for name in ("new", "task0", "task5999"))
    assert queue.take(3) == [latest, new, oldest]
    queue.settle(under_way, 100)


def test_tenants_that_are_idle_are_forgotten(make_queue):
    queue = make_queue(capacity=10_000)
    queue.fill("steady", count=5000)
    for number in range(3000):
        queue.fill(f"tenant{number}")
    queue.take(6000)
    assert queue.statistics().remembered <= 1024 + len(["steady", "steady/t"])


def test_tenants_take_turns_however_many_tasks_each_has(queue):
    for task in range(10):
        queue.fill("many", f"m{task}")
    queue.fill("one", "o", count=10)
    assert Counter(tenants(queue.take(10))) == {"many": 5, "one": 5}


def test_a_heavier_tenant_gets_more_in_proportion(queue):
    queue.fill("heavy", count=20)
    queue.fill("light", count=20)
    assert Counter(tenants(queue.take(15))) == {"heavy": 10, "light": 5}


def test_turns_are_counted_in_tokens_not_in_calls(queue):
    queue.fill("big", tokens=400, count=10)
    queue.fill("small", tokens=100, count=40)
    assert Counter(tenants(queue.take(25))) == {"big": 5, "small": 20}


def test_being_idle_earns_nothing(queue):
    queue.fill("busy", count=60)
    queue.take(50)
    queue.fill("late", count=10)
    assert Counter(tenants(queue.take(10))) == {"busy": 5, "late": 5}


def test_coming_back_does_not_cancel_what_was_taken(queue):
    """A tenant with one call at a time, each ended before the next is asked for, must not starve others."""
    queue.fill("steady", count=10)
    order = []
    for _ in range(10):
        queue.fill("returning")
        order += tenants(queue.take(1))
    assert Counter(order) == {"steady": 5, "returning": 5}


def test_coming_back_with_larger_calls_gets_no_more_tokens(queue):
    queue.fill("steady", count=100)
    order = []
    for _ in range(33):
        if "returning" not in [each.tenant for each in queue.statistics().tenants if each.queued]:
            queue.fill("returning", tokens=1000)
        order += tenants(queue.take(1))
    assert Counter(order) == {"steady": 30, "returning": 3}


def test_a_newcomer_goes_before_the_next_call_of_those_just_served(queue):
    queue.fill("busy", count=5)
    queue.take(1)
    queue.fill("new")
    assert tenants(queue.take(1)) == ["new"]


def test_a_newcomer_does_not_wait_until_refunds_are_used_up(queue):
    """Refunds set the others back; the newcomer must not start from where they were before."""
    queue.fill("a", tokens=1000, count=50)
    queue.fill("b", tokens=1000, count=50)
    under_way = [queue.pop() for _ in range(20)]
    for ticket in under_way:
        queue.settle(ticket, 0)
    queue.take(1, actual=0)
    queue.fill("new", tokens=1000, count=5)
    assert "new" in tenants(queue.take(3))


def test_a_newcomer_does_not_wait_until_refunds_of_the_last_moment_are_used_up(queue):
    queue.fill("a", tokens=1000, count=50)
    for ticket in [queue.pop() for _ in range(20)]:
        queue.settle(ticket, 0)
    queue.fill("new", tokens=1000, count=5)
    assert "new" in tenants(queue.take(3))


def test_a_flow_that_came_back_outlives_what_was_noted_when_it_left(queue):
    for tenant, count in (("b", 3), ("a", 1), ("c", 1)):
        queue.fill(tenant, count=count)
    for_b, for_a, for_c = queue.pop(), queue.pop(), queue.pop()
    queue.settle(for_b, 100)
    queue.settle(for_a, 100)
    queue.fill("a", count=2)
    assert tenants(queue.take(1)) == ["b"]
    queue.settle(for_c, 100)
    queue.check_invariants()
    assert Counter(tenants(queue.take(3))) == {"a": 2, "b": 1}


def test_a_flow_with_work_under_way_keeps_its_tag(queue):
    queue.fill("a", tokens=1000)
    queue.fill("b", count=20)
    under_way = queue.pop()
    queue.fill("a", task="other")
    assert tenants(queue.take(9)) == ["b"] * 9
    queue.settle(under_way, 1000)


def test_an_estimate_that_was_too_high_is_given_back(queue):
    queue.fill("modest", count=300, tokens=1000)
    queue.fill("exact", count=300, tokens=100)
    assert Counter(tenants(queue.take(400, actual=100)))["modest"] == pytest.approx(200, abs=5)


def test_an_estimate_that_was_too_low_is_charged_later(queue):
    queue.fill("greedy", count=300, tokens=100)
    queue.fill("exact", count=300, tokens=100)
    order = []
    for _ in range(400):
        ticket = queue.pop()
        queue.settle(ticket, 300 if ticket.entry.startswith("greedy") else 100)
        order.append(ticket)
    assert Counter(tenants(order))["greedy"] == pytest.approx(100, abs=2)


def test_what_is_owed_is_still_owed_after_the_rest_was_cancelled(queue):
    queue.fill("greedy", tokens=100)
    [cancelled] = queue.fill("greedy", tokens=100)
    queue.fill("exact", tokens=100, count=20)
    queue.take(1, actual=1000)
    queue.remove(cancelled)
    assert tenants(queue.take(2)) == ["exact"] * 2
    queue.fill("greedy", tokens=100)
    assert tenants(queue.take(8)) == ["exact"] * 8


def test_calls_without_tokens_do_not_hold_up_others(queue):
    queue.fill("free", tokens=0, count=200)
    queue.fill("paying", tokens=10, count=2)
    assert Counter(tenants(queue.take(15)))["paying"] == 2


def test_interactive_goes_first(queue):
    queue.fill(count=5)
    first = queue.fill("user", priority=Priority.INTERACTIVE)
    assert queue.take(1) == first


def test_batch_gets_its_share_while_both_wait(queue):
    queue.fill("batch", count=100)
    queue.fill("user", priority=Priority.INTERACTIVE, count=100)
    assert Counter(tenants(queue.take(50))) == {"batch": 10, "user": 40}


def test_the_share_of_batch_counts_what_calls_really_took(queue):
    """Batch asks for a thousand tokens a call and uses a hundred: it still gets a fifth of what is used."""
    queue.fill("batch", count=100, tokens=1000)
    queue.fill("user", priority=Priority.INTERACTIVE, count=100, tokens=100)
    assert Counter(tenants(queue.take(100, actual=100)))["batch"] == pytest.approx(20, abs=1)


def test_batch_gathers_no_credit_while_it_has_nothing(queue):
    queue.fill("user", priority=Priority.INTERACTIVE, count=100)
    queue.take(50)
    queue.fill("batch", count=20)
    assert Counter(tenants(queue.take(10))) == {"user": 8, "batch": 2}


def test_interactive_gathers_no_credit_while_it_has_nothing(queue):
    queue.fill("batch", count=100)
    queue.take(50, actual=1000)
    queue.fill("user", priority=Priority.INTERACTIVE, count=40)
    assert Counter(tenants(queue.take(10))) == {"user": 8, "batch": 2}


def test_what_batch_was_due_is_forgotten_when_it_has_nothing_left(queue):
    queue.fill("user", priority=Priority.INTERACTIVE, count=20)
    [ticket] = queue.fill("batch")
    queue.take(1)
    assert queue.statistics().batch_due > 0
    queue.remove(ticket)
    assert queue.statistics().batch_due == 0


def test_batch_is_due_nothing_for_a_correction_while_it_has_nothing_waiting(queue):
    queue.fill("user", priority=Priority.INTERACTIVE, count=2)
    [batch] = queue.fill("batch")
    interactive = queue.pop()
    queue.remove(batch)
    queue.settle(interactive, 1000)
    assert queue.statistics().batch_due == 0


def test_a_wrong_estimate_cannot_make_one_class_wait_for_ever(queue):
    queue.fill("batch", count=30, tokens=100)
    queue.fill("user", priority=Priority.INTERACTIVE, count=200, tokens=10_000)
    [batch] = [ticket for ticket in (queue.pop(), queue.pop()) if ticket.entry.startswith("batch")]
    queue.settle(batch, 10**9)
    assert "batch" in tenants(queue.take(60))


def test_a_task_that_wakes_up_in_its_old_place_is_served_once_a_turn(queue):
    [cancelled] = queue.fill("a", "x")
    queue.fill("a", "y", count=5)
    queue.remove(cancelled)
    again = queue.fill("a", "x", count=5)
    assert Counter(ticket in again for ticket in queue.take(6)) == {True: 3, False: 3}


def test_a_refused_call_is_charged_once(queue):
    """A tenant whose calls are refused again and again must not pay for each refusal with its share."""
    queue.fill("unlucky", count=20)
    queue.fill("lucky", count=20)
    order, refused = [], set()
    while len(order) < 20:
        ticket = queue.pop()
        if ticket.entry.startswith("unlucky") and ticket not in refused:
            refused.add(ticket)
            queue.push_back(ticket)
            continue
        queue.settle(ticket, 100)
        order.append(ticket)
    assert Counter(tenants(order)) == {"unlucky": 10, "lucky": 10}


def test_a_refused_call_can_be_removed_and_costs_nothing(queue):
    queue.fill("a", tokens=10_000)
    queue.fill("b", count=4)
    ticket = queue.pop()
    queue.push_back(ticket)
    queue.remove(ticket)
    queue.fill("a", count=4)
    assert Counter(tenants(queue.take(4))) == {"a": 2, "b": 2}

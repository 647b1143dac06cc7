"""What an interactive call waits beside a batch, and what tenants get: through dispatcher and clients."""

from __future__ import annotations

import statistics

from actors.core.messages.attempts import SetShare
from actors.core.messages.values import Priority
from actors.core.queue.fair_queue import FairQueue
from benchmarks.dispatch import fairness
from tests.unit.support.dispatch_desk import Desk, call

INTERACTIVE = Priority.INTERACTIVE


def test_an_interactive_call_beside_a_deep_batch_waits_less_than_three_ends():
    world = fairness.interactive(1, seconds=60.0)
    assert len(world.waits_s) > 30
    assert statistics.quantiles(world.waits_s, n=100)[98] <= 3 * fairness.SERVICE_S / fairness.LIMIT
    assert world.idle_s / world.now <= 1.05  # of the 64 slots, one is kept free


def test_tenants_get_tokens_by_their_weights_in_every_half_minute():
    assert fairness.unfairness(fairness.tenants(1, seconds=60.0)) <= 0.05


def test_an_interactive_attempt_goes_first_and_a_batch_leaves_it_a_slot():
    desk = Desk(slots=20)
    desk.offer(call("i0", "i", priority=INTERACTIVE))
    desk.wait(0.1)  # the limit is held, not looked for
    desk.offer(*(call(f"b{number}", f"b{number}") for number in range(40)))
    assert desk.told[-1] == ("c1", SetShare("main", 20, 1))
    assert len(desk.attempts) == 19
    desk.offer(call("i1", "i", priority=INTERACTIVE))
    assert desk.keys[-1] == "i1"
    assert {attempt.call_key for _, attempt in desk.attempts if attempt.first} == {"i0", "i1"}


def test_the_slot_is_given_back_when_no_interactive_call_has_come_for_long():
    desk = Desk(slots=20)
    desk.offer(call("i0", "i", priority=INTERACTIVE))
    desk.offer(*(call(f"b{number}", f"b{number}") for number in range(40)))
    desk.wait(31.0)
    desk.end("i0")
    assert desk.told[-1] == ("c1", SetShare("main", 20, 0))
    desk.end(1)
    assert desk.known.endpoints[0].limiter.in_flight == 20


def test_only_some_attempts_go_first_so_that_the_others_start_too():
    desk = Desk(slots=20)
    desk.offer(*(call(f"i{number}", f"i{number}", priority=INTERACTIVE) for number in range(10)))
    assert [attempt.first for _, attempt in desk.attempts] == [True] * 4 + [False] * 6


def test_the_turn_of_a_batch_that_has_no_slot_bars_no_interactive_call():
    queue = FairQueue[str](10)
    for number in range(3):
        queue.push(f"i{number}", priority=INTERACTIVE, tenant="", task="i", tokens=100)
        queue.push(f"b{number}", priority=Priority.BATCH, tenant="", task="b", tokens=100)
    queue.pop()
    assert (queue.peek().entry, queue.peek(INTERACTIVE).entry) == ("b0", "i1")
    assert queue.pop(INTERACTIVE).entry == "i1"
    assert queue.pop().entry == "b0"
    queue.check_invariants()
    assert FairQueue[str](1).peek(INTERACTIVE) is None

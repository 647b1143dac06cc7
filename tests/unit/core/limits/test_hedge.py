"""Hedging: a second attempt beside one that says nothing, within a budget."""

from __future__ import annotations

import pytest

from actors.core.dispatch.events import Lost, Streamed, TaskCancelled
from actors.core.errors import FailureKind
from actors.core.limits.hedge import Hedges, HedgeSettings
from actors.core.messages.attempts import Abort, StreamMark, StreamProgress
from actors.core.messages.values import CallCounts, Usage
from tests.unit.support.dispatch_desk import TRANSIENT, Desk, call

GENEROUS = HedgeSettings(after_s=2.0, budget=1.0)


def hedged(*endpoints, **settings):
    desk = Desk(endpoints=endpoints or ("one", "two"), hedge=GENEROUS, **settings)
    desk.offer(call())
    desk.wait(2.0)
    return desk


def test_an_attempt_that_stays_silent_gets_a_second_one_beside_it_elsewhere():
    desk = hedged()
    first, second = (attempt for _, attempt in desk.attempts)
    assert (first.endpoint, second.endpoint) == ("one", "two")
    assert first.idempotency_key == second.idempotency_key
    assert desk.known.hedged == 1


def test_with_one_endpoint_it_is_made_there():
    desk = hedged("main")
    assert [attempt.endpoint for _, attempt in desk.attempts] == ["main", "main"]


def test_the_first_to_answer_counts_and_the_other_is_stopped():
    desk = hedged()
    desk.end(1)
    assert desk.completions["k1"].values == {"quality": 1.0}
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1)
    assert Abort((desk.attempts[0][1].id,)) in [message for _, message in desk.told]
    desk.end(0, FailureKind.CANCELLED, took_s=2.5)
    assert desk.known.calls == CallCounts(planned=1, billed=1, in_doubt=1)
    assert desk.known.sent == 0


def test_an_answer_that_comes_second_is_counted_and_changes_nothing():
    desk = hedged()
    desk.end(1, tokens=40)
    desk.end(0, tokens=60)
    assert desk.completions.keys() == {"k1"}
    assert desk.completions["k1"].usage == Usage(0, 40, 40.0)
    assert desk.known.calls == CallCounts(planned=1, billed=2)
    assert desk.known.usage == Usage(0, 100, 100.0)


def test_while_one_of_two_may_answer_the_failure_of_the_other_ends_nothing():
    desk = hedged()
    desk.end(0, TRANSIENT)
    assert not desk.completions
    assert len(desk.attempts) == 2
    desk.end(1)
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1, failed=1)


def test_where_both_fail_the_call_is_tried_again():
    desk = hedged()
    desk.end(0, TRANSIENT)
    desk.end(1, TRANSIENT)
    desk.wait(1.0)
    assert len(desk.attempts) == 3


def test_a_stream_that_has_begun_is_not_hedged():
    desk = Desk(endpoints=("one", "two"), hedge=GENEROUS)
    desk.offer(call())
    assert desk.attempts[0][1].stream
    desk.wait(1.0)
    desk.happen(Streamed(StreamProgress((StreamMark(desk.attempts[0][1].id, 5, 0.0),))))
    desk.wait(10.0)
    assert len(desk.attempts) == 1


@pytest.mark.parametrize("kind", [None, FailureKind.PERMANENT, FailureKind.CANCELLED])
def test_an_attempt_that_ends_before_it_is_hedged_is_not_hedged(kind):
    """Looked for at its time, it would be unknown, and end the dispatcher."""
    desk = Desk(endpoints=("one", "two"), hedge=GENEROUS)
    desk.offer(call())
    desk.wait(1.0)
    desk.end(0, kind)
    desk.wait(0.0)
    desk.offer(call("k2"))
    desk.end("k2")
    desk.wait(60.0)
    assert desk.known.hedged == 0


def test_where_attempts_are_hedged_all_of_them_stream_and_elsewhere_only_some():
    desks = [Desk(slots=64, hedge=hedge) for hedge in (GENEROUS, None)]
    for desk in desks:
        desk.offer(*(call(f"k{n}") for n in range(64)))
    hedging, other = ([attempt.stream for _, attempt in desk.attempts] for desk in desks)
    assert all(hedging)
    assert not all(other)


def test_a_quiet_time_saves_up_ten_second_attempts_and_no_more():
    hedges = Hedges(GENEROUS)
    for attempt in range(100):
        hedges.watch(attempt, 0.0)
        hedges.on_response(attempt)
    for attempt in range(100, 200):
        hedges.watch(attempt, 10.0)
    assert len(hedges.take_silent(12.0)) == 10


def test_without_hedging_silence_is_waited_out():
    desk = Desk(endpoints=("one", "two"))
    desk.offer(call())
    desk.wait(100.0)
    assert len(desk.attempts) == 1


def test_beyond_its_budget_nothing_is_hedged():
    hedges = Hedges(HedgeSettings(after_s=1.0, budget=0.1))
    for attempt in range(25):
        hedges.watch(attempt, 0.0)
    assert hedges.next_at() == 1.0
    assert len(hedges.take_silent(1.0)) == 2
    assert hedges.next_at() is None


def test_where_there_is_no_room_the_budget_is_kept():
    desk = Desk(slots=1, hedge=GENEROUS)
    desk.offer(call())
    desk.wait(2.0)
    assert len(desk.attempts) == 1
    assert desk.known.hedged == 0


def test_both_attempts_of_a_cancelled_task_are_stopped():
    desk = hedged()
    desk.happen(TaskCancelled("t1"))
    ids = [attempt.id for _, attempt in desk.attempts]
    assert [message for _, message in desk.told if isinstance(message, Abort)] == [Abort((it,)) for it in ids]
    desk.end(0, FailureKind.CANCELLED)
    assert not desk.completions
    desk.end(1, FailureKind.CANCELLED)
    assert desk.error().kind is FailureKind.CANCELLED


def test_a_second_attempt_lost_with_its_client_leaves_the_first():
    desk = hedged()
    desk.happen(Lost(desk.attempts[1][1].id, may_have_run=True))
    desk.end(0)
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1, in_doubt=1)


def test_a_budget_holds_for_second_attempts_too():
    desk = Desk(endpoints=("one", "two"), hedge=GENEROUS, budget_tokens=150)
    desk.offer(call(tokens=100))
    desk.wait(2.0)
    assert len(desk.attempts) == 1

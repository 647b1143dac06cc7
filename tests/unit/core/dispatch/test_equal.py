"""Single flight: equal calls are asked once."""

from __future__ import annotations

from actors.core.dispatch.events import TaskCancelled
from actors.core.errors import FailureKind
from actors.core.limits.retry import RetrySettings
from actors.core.messages.values import CallCounts, Usage
from tests.unit.support.dispatch_desk import IN_DOUBT, Desk, call


def test_equal_calls_are_asked_once_and_share_the_answer():
    desk = Desk()
    desk.offer(*(call(f"k{n}", task=f"t{n}", content="same") for n in range(3)))
    assert desk.keys == ["k0"]
    desk.end(0)
    assert desk.completions.keys() == {"k0", "k1", "k2"}
    assert all(it.values == {"quality": 1.0} for it in desk.completions.values())
    assert desk.completions["k0"].counts == CallCounts(planned=1, billed=1)
    assert desk.completions["k1"].counts == CallCounts(planned=1, reused=1)
    assert desk.completions["k1"].usage == Usage()


def test_calls_without_a_content_are_each_asked():
    desk = Desk()
    desk.offer(call("k0"), call("k1"))
    assert desk.keys == ["k0", "k1"]


def test_after_an_answer_an_equal_call_is_asked_anew():
    desk = Desk()
    desk.offer(call("k0", content="same"))
    desk.end(0)
    desk.offer(call("k1", content="same"))
    assert desk.keys == ["k0", "k1"]


def test_where_the_first_fails_the_next_is_asked_and_the_rest_follow_it():
    desk = Desk(retry=RetrySettings(attempts=1))
    desk.offer(*(call(f"k{n}", task=f"t{n}", content="same") for n in range(3)))
    desk.end(0, FailureKind.PERMANENT)
    assert desk.completions.keys() == {"k0"}
    assert desk.keys == ["k0", "k1"]
    desk.end(1)
    assert desk.completions["k2"].counts == CallCounts(planned=1, reused=1)


def test_a_follower_may_end_before_the_answer_comes():
    desk = Desk()
    desk.offer(call("k0", "t0", content="same"), call("k1", "t1", content="same", expires_in_s=1.0))
    desk.offer(call("k2", "t2", content="same"))
    desk.happen(TaskCancelled("t2"))
    assert desk.error("k2").kind is FailureKind.CANCELLED
    desk.wait(1.5)
    assert desk.error("k1").kind is FailureKind.DEADLINE
    desk.end(0)
    assert desk.completions["k0"].error is None


def test_followers_wait_while_the_first_is_tried_again():
    desk = Desk()
    desk.offer(call("k0", "t0", content="same"), call("k1", "t1", content="same"))
    desk.end(0, IN_DOUBT)
    desk.wait(2.0)
    assert desk.keys == ["k0", "k0"]
    desk.end(1)
    assert desk.completions.keys() == {"k0", "k1"}


def test_a_follower_for_which_the_queue_has_no_room_waits_for_room():
    desk = Desk(slots=1, max_queued=1, retry=RetrySettings(attempts=1))
    desk.offer(call("k0", "t0", content="same"))
    desk.offer(call("k1", "t1", content="same"), call("k2", "t2", content="other"))
    desk.end(0, FailureKind.PERMANENT)
    assert desk.keys == ["k0", "k2"]
    desk.end(1)
    desk.wait(1.1)
    assert desk.keys == ["k0", "k2", "k1"]
    desk.end(2)
    assert desk.completions["k1"].error is None

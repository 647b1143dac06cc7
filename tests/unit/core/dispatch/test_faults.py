"""Endpoints that refuse the key, do not know the model, or were never there: what becomes of their calls."""

from __future__ import annotations

import pytest

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limits.endpoint_faults import EndpointFaults
from actors.core.limits.retry import RetrySettings
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.calls import Correction
from actors.core.messages.values import CallCounts
from tests.unit.support.dispatch_desk import IN_DOUBT, REFUSED, TRANSIENT, Desk, call

MISCONFIGURED = FailureKind.MISCONFIGURED


def turn_down(desk, which):
    desk.end(which, MISCONFIGURED, blame=Blame.CONFIG)


def fault(desk, which=0):
    return desk.known.endpoints[which].fault


def under_way(desk):
    return desk.known.sent


def test_the_first_answer_ever_that_refuses_the_key_puts_an_endpoint_out_of_use():
    desk = Desk(slots=1)
    desk.offer(call("k1"), call("k2"))
    turn_down(desk, 0)
    assert desk.keys == ["k1"]
    assert fault(desk).message == "said the test"
    assert desk.known.stopped_by == fault(desk)
    assert desk.known.binding == "said the test"
    assert desk.known.failed == 0


def test_a_key_that_is_revoked_puts_an_endpoint_out_of_use_after_three_answers():
    desk = Desk(slots=4)
    desk.offer(*(call(f"k{n}") for n in range(20)))
    desk.end(0)
    for n in (1, 2):
        turn_down(desk, n)
        assert fault(desk) is None
    turn_down(desk, 3)
    assert fault(desk) is not None
    placed = len(desk.keys)
    for n in range(4, placed):
        turn_down(desk, n)
    assert len(desk.keys) == placed


def test_answers_to_what_was_let_in_before_a_key_was_revoked_do_not_hide_it():
    desk = Desk(slots=6)
    desk.offer(*(call(f"k{n}") for n in range(20)))
    desk.end(0)
    turn_down(desk, 6)
    desk.end(1)
    turn_down(desk, 7)
    desk.end(2)
    turn_down(desk, 8)
    assert fault(desk) is not None
    desk.end(3)
    assert fault(desk) is not None


def test_answers_to_what_was_let_in_before_a_key_was_revoked_do_not_put_the_blame_on_a_call():
    desk = Desk(slots=4)
    desk.offer(call("early"), *(call(f"k{n}", expires_in_s=3600.0) for n in range(3)))
    desk.end("early")
    turn_down(desk, "k0")
    desk.end("k1")  # both were placed before the first refusal of the key was known
    desk.end("k2")
    desk.wait(2.0)
    turn_down(desk, "k0")
    assert set(desk.completions) == {"early", "k1", "k2"}
    assert fault(desk) is None or fault(desk).kind is MISCONFIGURED


def test_out_of_use_one_call_at_a_time_looks_again_and_at_last_four_times_a_minute():
    desk = Desk(slots=4)
    desk.offer(*(call(f"k{n}", expires_in_s=7200.0) for n in range(8)))
    for n in range(4):
        turn_down(desk, n)
    looks = []
    while len(looks) < 12:
        before = len(desk.keys)
        desk.wait(0.5)
        if len(desk.keys) > before:
            assert len(desk.keys) == before + 1
            desk.wait(0.5)
            assert len(desk.keys) == before + 1  # while it is under way no other goes
            looks.append(desk.now)
            turn_down(desk, before)
    assert 14.0 <= looks[-1] - looks[-2] <= 18.0
    assert len(set(desk.keys[4:])) > 4  # not always the same call
    assert not desk.completions
    assert desk.known.stopped_by is not None


def test_calls_whose_texts_are_forbidden_do_not_keep_an_endpoint_out_of_use():
    """They may be the ones that put it there."""
    desk = Desk(slots=3)
    desk.offer(*(call(f"bad{n}", task=f"t{n}") for n in range(3)))
    desk.offer(*(call(f"good{n}", task=f"u{n}") for n in range(3)))
    ended = 0
    while desk.now < 160.0:
        while ended < len(desk.keys):
            if desk.keys[ended].startswith("bad"):
                turn_down(desk, ended)
            else:
                desk.end(ended)
            ended += 1
        desk.wait(0.5)
    assert fault(desk) is None
    assert {key for key, done in desk.completions.items() if done.error is None} == {
        "good0",
        "good1",
        "good2",
    }
    assert all(done.error.blame is Blame.TASK for key, done in desk.completions.items() if key < "good")


def test_forbidden_texts_are_answered_at_once_and_do_not_hide_that_others_are_worked_on():
    """Answers take ten seconds: between one good answer and the next come several bad ones."""
    desk = Desk(slots=40)
    desk.offer(call("first"))
    desk.end("first")
    ended, running = 1, []
    for step in range(60):
        desk.offer(call(f"bad{step}", task=f"t{step}"), call(f"good{step}", task=f"t{step}"))
        while ended < len(desk.keys):
            if desk.keys[ended].startswith("bad"):
                desk.end(ended, MISCONFIGURED, blame=Blame.CONFIG, took_s=0.05)
            else:
                running.append((desk.now, ended))
            ended += 1
        desk.wait(0.8)
        while running and running[0][0] < desk.now - 10.0:
            desk.end(running.pop(0)[1], took_s=10.0)
        assert step < 3 or fault(desk) is None


def test_an_endpoint_that_works_on_the_other_calls_is_not_out_of_use_for_the_first_forbidden_text():
    desk = Desk(slots=4)
    desk.offer(*(call(f"k{n}") for n in range(4)))
    desk.end(1, MISCONFIGURED, blame=Blame.CONFIG, took_s=0.05)
    desk.wait(1.0)
    assert fault(desk) is None
    desk.end(0, took_s=1.0)


def test_a_mended_key_is_noticed_within_a_minute_and_all_calls_are_answered():
    desk = Desk(slots=4)
    desk.offer(*(call(f"k{n}", expires_in_s=7200.0) for n in range(8)))
    for n in range(4):
        turn_down(desk, n)
    ended = 4
    while desk.now < 1000.0:
        desk.wait(1.0)
        while ended < len(desk.keys):
            turn_down(desk, ended)
            ended += 1
    mended = desk.now
    while not desk.completions:
        desk.wait(1.0)
        while ended < len(desk.keys):
            desk.end(ended)
            ended += 1
    assert desk.now < mended + 60.0
    while len(desk.completions) < 8:
        desk.wait(1.0)
        while ended < len(desk.keys):
            desk.end(ended)
            ended += 1
    assert desk.now < mended + 180.0
    assert {completion.error for completion in desk.completions.values()} == {None}
    assert fault(desk) is None
    assert desk.known.stopped_by is None


def test_a_look_that_is_refused_or_lost_makes_room_for_the_next():
    desk = Desk(slots=1)
    desk.offer(call("k1"), call("k2"), call("k3"))
    turn_down(desk, 0)
    desk.wait(1.2)
    desk.end(1, REFUSED)
    assert fault(desk) is not None
    desk.wait(10.0)
    assert len(desk.keys) == 3
    desk.wait(31.0)  # nothing is heard of this one
    assert len(desk.keys) in (3, 4)


def test_a_look_of_which_nothing_is_heard_makes_room_for_the_next_after_half_a_minute():
    """Bad answers took 30 s here: a look that is under way for as long does not show that the key is good."""
    desk = Desk(slots=2)
    desk.offer(*(call(f"k{n}", expires_in_s=7200.0) for n in range(4)))
    for n in (0, 1):
        desk.end(n, MISCONFIGURED, blame=Blame.CONFIG, took_s=30.0)
    desk.wait(2.0)
    assert len(desk.keys) == 3
    desk.wait(27.0)
    assert len(desk.keys) == 3
    desk.wait(4.0)
    assert len(desk.keys) == 4
    assert fault(desk) is not None


def test_calls_of_an_endpoint_out_of_use_go_to_another():
    desk = Desk(endpoints=("one", "two"), slots=2)
    desk.offer(call("k1"))
    first = desk.attempts[0][1].endpoint
    turn_down(desk, 0)
    other = desk.attempts[1][1].endpoint
    assert {first, other} == {"one", "two"}
    assert desk.known.stopped_by is None
    desk.end(1)
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1, failed=1)


def test_with_every_endpoint_out_of_use_the_statistics_name_the_cause():
    desk = Desk(endpoints=("one", "two"), slots=2)
    desk.offer(call("k1"))
    turn_down(desk, 0)
    turn_down(desk, 1)
    assert desk.known.stopped_by.kind is MISCONFIGURED
    assert not desk.completions


def test_such_answers_use_up_no_tries_and_the_call_waits_for_its_own_deadline():
    desk = Desk(slots=1)
    desk.offer(call("k1", expires_in_s=500.0))
    while not desk.completions:
        if under_way(desk):
            turn_down(desk, "k1")
        else:
            desk.wait(1.0)
    assert desk.now == pytest.approx(600.0, abs=2.0)
    assert len(desk.keys) > 10
    assert desk.error().kind is FailureKind.DEADLINE
    assert desk.error().blame is Blame.CONFIG
    assert "no time was left for another attempt after: said the test" in desk.error().message


def test_a_call_that_alone_gets_such_answers_ends_at_the_second():
    """A web filter forbids its text; the key is good."""
    desk = Desk(slots=2)
    desk.offer(call("good"))
    desk.end("good")
    desk.offer(call("bad"))
    turn_down(desk, "bad")
    desk.offer(call("other"))
    desk.end("other")
    desk.wait(2.0)
    assert desk.keys.count("bad") == 2
    turn_down(desk, "bad")
    assert desk.error("bad").kind is FailureKind.PERMANENT
    assert desk.error("bad").blame is Blame.TASK
    assert fault(desk) is None


def test_without_a_success_of_another_call_between_a_call_is_not_to_blame():
    desk = Desk(slots=2)
    desk.offer(call("good"))
    desk.end("good")
    desk.offer(call("k1"))
    for _ in range(4):
        while not under_way(desk):
            desk.wait(0.5)
        turn_down(desk, "k1")
    assert "k1" not in desk.completions
    assert fault(desk) is not None


def test_an_answer_that_does_not_fit_shows_that_the_key_is_good():
    desk = Desk(slots=1)
    desk.offer(call("k1"))
    turn_down(desk, 0)
    desk.wait(3.0)
    desk.end(1, FailureKind.UNUSABLE, correction=Correction("{}", "no quality"))
    assert fault(desk) is None


# ---- endpoints that were never reached -------------------------------------------------------------------


def cannot_connect(desk, which):
    desk.end(which, TRANSIENT, sent=False, took_s=0.01)


def fail_to_connect_for(desk, seconds):
    until = desk.now + seconds
    while desk.now < until:
        while under_way(desk):
            cannot_connect(desk, len(desk.attempts) - 1)
        desk.wait(0.5)


def test_the_fault_of_an_endpoint_that_is_not_reached_names_the_settings_that_lead_to_it():
    faults = EndpointFaults("main", "proxy and base_url")
    failure = Failure(TRANSIENT, Blame.ENDPOINT, "no connection")
    for attempt, now in ((1, 0.0), (2, 20.0)):
        faults.on_placed(attempt, now)
        faults.on_ended(AttemptEnded(attempt, error=failure, sent=False), now)
    assert faults.fault.message.endswith("no connection (check proxy and base_url of llm.endpoints.main)")


def test_an_endpoint_that_was_never_reached_has_a_fault_after_fifteen_seconds():
    desk = Desk(slots=1)
    desk.offer(call("k1"), call("k2"))
    fail_to_connect_for(desk, 13.0)
    assert fault(desk) is None
    fail_to_connect_for(desk, 3.0)
    assert "no connection for 15 s" in fault(desk).message
    assert "said the test" in fault(desk).message
    assert "check base_url of llm.endpoints.main" in fault(desk).message
    assert desk.known.stopped_by == fault(desk)
    assert not desk.completions


def test_an_endpoint_that_is_reached_at_last_has_no_fault_any_more():
    desk = Desk(slots=1)
    desk.offer(call("k1"))
    fail_to_connect_for(desk, 60.0)
    assert fault(desk) is not None
    while not under_way(desk):
        desk.wait(1.0)
    desk.end("k1")
    assert fault(desk) is None
    assert desk.completions["k1"].error is None


def test_an_endpoint_that_has_answered_before_has_no_such_fault():
    desk = Desk(slots=1)
    desk.offer(call("k0"))
    desk.end("k0", REFUSED)
    fail_to_connect_for(desk, 60.0)
    assert fault(desk) is None


def test_a_slow_answer_is_no_failure_to_connect():
    desk = Desk(slots=2)
    desk.offer(call("slow"), call("k1"))
    cannot_connect(desk, 1)
    desk.wait(1.0)
    cannot_connect(desk, len(desk.attempts) - 1)
    desk.wait(100.0)
    assert fault(desk) is None


def test_a_call_that_cannot_connect_uses_up_no_tries():
    desk = Desk(slots=1)
    desk.offer(call("k0"), call("k1", expires_in_s=3600.0))
    desk.end("k0")
    fail_to_connect_for(desk, 1800.0)
    assert "k1" not in desk.completions
    assert len(desk.keys) < 150
    while not under_way(desk):
        desk.wait(1.0)
    desk.end("k1")
    assert desk.completions["k1"].error is None


# ---- endpoints whose URL is another one ------------------------------------------------------------------


def get_page(desk, which):
    desk.end(which, IN_DOUBT, took_s=0.01, is_page=True)


def get_pages_for(desk, seconds):
    until = desk.now + seconds
    while desk.now < until:
        while under_way(desk):
            get_page(desk, len(desk.attempts) - 1)
        desk.wait(0.5)


def test_an_endpoint_that_has_sent_only_web_pages_for_ten_seconds_is_out_of_use():
    desk = Desk(slots=1)
    desk.offer(call("k1"), call("k2"))
    get_pages_for(desk, 9.0)
    assert fault(desk) is None
    get_pages_for(desk, 2.0)
    assert fault(desk).kind is MISCONFIGURED
    assert "sends web pages and no answer of a model: said the test" in fault(desk).message
    assert "check base_url of llm.endpoints.main" in fault(desk).message
    assert desk.known.stopped_by == fault(desk)
    placed = len(desk.attempts)
    get_pages_for(desk, 60.0)
    assert len(desk.attempts) - placed <= 8
    assert fault(desk).kind is MISCONFIGURED
    assert not desk.completions


def test_an_endpoint_that_sends_an_answer_after_its_web_pages_has_no_fault():
    for seconds in (8.0, 60.0):
        desk = Desk(slots=1)
        desk.offer(call("k1"), call("k2"))
        get_pages_for(desk, seconds)
        while not under_way(desk):
            desk.wait(1.0)
        desk.end(len(desk.attempts) - 1)
        get_pages_for(desk, 60.0)
        assert fault(desk) is None
        assert len(desk.completions) >= 1


# ---- endpoints that fail whatever they are asked ---------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "calls", "is_given_up"),
    [
        (TRANSIENT, 40, False),
        (TRANSIENT, 1, False),
        (IN_DOUBT, 40, False),
        (IN_DOUBT, 3, False),
        (IN_DOUBT, 1, True),
    ],
)
def test_an_hour_of_failures_uses_up_the_tries_of_a_call_only_where_it_may_itself_be_the_cause(
    kind, calls, is_given_up
):
    desk = Desk(slots=20, retry=RetrySettings(attempts=3, base_s=0.1, cap_s=1.0))
    desk.offer(*(call(f"k{n}", expires_in_s=7200.0) for n in range(calls)))
    ended = 0
    while desk.now < 3600.0:
        while ended < len(desk.keys):
            desk.end(ended, kind)
            ended += 1
        desk.wait(1.0)
    assert bool(desk.completions) == is_given_up
    assert len(desk.keys) < 40 * 3 + 3600 / 20  # the breaker lets one call in half a minute look

"""Which attempts are to be streamed, and what is learned from their streams."""

from __future__ import annotations

from actors.core.dispatch.events import Streamed
from actors.core.errors import FailureKind
from actors.core.messages.attempts import StreamMark, StreamProgress
from actors.core.messages.calls import Correction
from actors.core.messages.values import CallCounts
from tests.unit.support.dispatch_desk import IN_DOUBT, Desk, call


def streams(desk):
    return [attempt.stream for _, attempt in desk.attempts]


def full_meter(desk):
    """Have so many attempts streamed that no more are wanted."""
    while all(streams(desk)):
        offer_one_by_one(desk, 1)
    assert len(desk.attempts) == 65


def offer_one_by_one(desk, count):
    """Offer calls some moments apart: of those that come at once, only one is measured."""
    for _ in range(count):
        desk.now += 0.01
        desk.offer(call(f"one{desk.now}", "fill"))


def test_attempts_are_streamed_while_the_limiter_measures_and_no_longer():
    desk = Desk(slots=100)
    full_meter(desk)
    desk.offer(call("k1"))
    assert streams(desk) == [True] * 64 + [False] * 2


def test_an_attempt_is_repeated_as_it_was_since_its_key_is():
    """An endpoint that honours the key objects to another body under it."""
    desk = Desk(slots=100)
    desk.offer(call("k1"))
    full_meter(desk)
    desk.offer(call("k2"))
    desk.end("k1", IN_DOUBT)
    desk.end("k2", IN_DOUBT)
    desk.wait(3.0)
    again = {attempt.call_key: attempt.stream for _, attempt in desk.attempts if attempt.number == 2}
    assert again == {"k1": True, "k2": False}


def test_a_corrected_question_is_another_one_and_may_be_asked_otherwise():
    desk = Desk(slots=100)
    desk.offer(call("k1"))
    full_meter(desk)
    desk.end("k1", FailureKind.UNUSABLE, correction=Correction("x", "odd"))
    assert (desk.keys[-1], streams(desk)[-1]) == ("k1", False)


def test_an_attempt_that_waits_at_its_client_is_streamed_if_that_was_wanted_when_it_was_handed_over():
    desk = Desk(slots=40)
    offer_one_by_one(desk, 60)
    desk.end(0)  # the first answer tells how many may wait at the client
    waiting = desk.known.endpoints[0].waiting
    assert waiting
    handed_over = len(desk.attempts)
    for number in range(1, handed_over):
        desk.end(number)
    assert all(streams(desk)[:handed_over])


def test_short_answers_are_not_streamed():
    """They come about as soon as a stream's first characters would, and cost a tenth of a stream."""
    desk = Desk(slots=100)
    offer_one_by_one(desk, 60)
    assert all(streams(desk))
    for number in range(60):
        desk.end(number, took_s=0.3)
    desk.wait(10.0)
    offer_one_by_one(desk, 60)
    assert not any(streams(desk)[60:])


def test_long_answers_go_on_being_streamed():
    desk = Desk(slots=100)
    offer_one_by_one(desk, 60)
    for number in range(60):
        desk.end(number, took_s=9.0)
    desk.wait(10.0)
    offer_one_by_one(desk, 60)
    assert any(streams(desk)[60:])


def test_progress_is_measured_from_the_start_of_its_attempt_however_late_it_is_told():
    desk = Desk()
    desk.offer(call())
    [(_, attempt)] = desk.attempts
    meter = desk.state._endpoints[0]._limiter._pace.meter
    desk.now += 20.0
    desk.happen(Streamed(StreamProgress((StreamMark(attempt.id, 1, 0.5), StreamMark(attempt.id, 41, 1.5)))))
    assert (meter._known, meter._delay_s) == (1, 0.5)
    assert (meter._streamed, meter._streamed_s) == (40, 1.0)
    desk.end(0, took_s=2.5, streamed=51, began_s=0.5)
    assert meter._streamed == 50


def test_progress_of_what_has_ended_or_never_was_is_passed_over():
    desk = Desk()
    desk.offer(call())
    desk.end(0)
    desk.happen(Streamed(StreamProgress((StreamMark(desk.attempts[0][1].id, 5, 0.0), StreamMark(7, 5, 0.0)))))


def test_the_request_before_a_second_one_is_counted():
    desk = Desk()
    desk.offer(call())
    desk.end(0, is_second=True)
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1, failed=1)


def test_what_was_streamed_unseen_is_learned_at_the_end():
    desk = Desk()
    desk.offer(call())
    desk.end(0, took_s=0.1, streamed=30, began_s=0.04)
    meter = desk.state._endpoints[0]._limiter._pace.meter
    assert (meter._known, meter._streamed) == (1, 29)

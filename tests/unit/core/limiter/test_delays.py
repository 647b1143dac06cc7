"""How what a call takes is measured, from whole answers and from streams."""

from __future__ import annotations

import pytest

from actors.core.errors import InvariantError
from actors.core.limiter.delays import DelayMeter


def send(meter, count, *, first=1, now=0.0, in_flight=10):
    for attempt in range(first, first + count):
        meter.on_sent(attempt, now, in_flight)
    return range(first, first + count)


def close(meter, attempts, *, at):
    """End a cohort by sending one more after its time; that one is answered with the others."""
    extra = attempts[-1] + 1
    meter.on_sent(extra, at, 10)
    return [*attempts, extra]


def test_a_cohort_is_measured_once_nearly_all_of_it_is_known():
    meter = DelayMeter(0.0, spread_s=0.0)
    attempts = close(meter, send(meter, 19), at=3.0)
    for attempt in attempts[:17]:
        meter.on_answer(attempt, 3.0, 100)
    assert meter.take(3.0) is None
    meter.on_answer(attempts[17], 3.0, 100)
    assert meter.take(3.0) is not None


def test_the_first_short_answers_of_a_cohort_do_not_make_it_look_fast():
    meter = DelayMeter(0.0, spread_s=0.0)
    attempts = close(meter, send(meter, 19), at=3.0)
    for attempt in attempts[:10]:
        meter.on_answer(attempt, 3.0, 10)
    assert meter.take(3.0) is None


def test_the_delay_does_not_depend_on_the_lengths_drawn():
    delays = []
    for lengths in ([50, 150] * 10, [20] * 20):
        meter = DelayMeter(0.0, spread_s=0.0)
        attempts = close(meter, send(meter, 19), at=3.0)
        for attempt, tokens in zip(attempts, lengths, strict=True):
            meter.on_answer(attempt, (3.0 if attempt == attempts[-1] else 0.0) + tokens * 0.02, tokens)
        delays.append(meter.take(9.0).delay_s(100))
    assert delays == pytest.approx([2.0, 2.0])


def test_streams_tell_the_delay_before_any_answer_has_come():
    meter = DelayMeter(0.0, spread_s=0.0)
    attempts = close(meter, send(meter, 19), at=3.0)
    for attempt in attempts:
        meter.on_tokens(attempt, 3.5, 1)
        meter.on_tokens(attempt, 4.5, 51)
    measure = meter.take(4.5)
    assert measure.token_s == pytest.approx(0.02)
    assert measure.begin_s == pytest.approx((19 * 3.5 + 0.5) / 20)


def test_an_attempt_that_hangs_does_not_hold_up_its_cohort():
    meter = DelayMeter(0.0, spread_s=0.0)
    attempts = close(meter, send(meter, 19), at=3.0)
    for attempt in attempts[1:]:
        meter.on_answer(attempt, 3.0, 100)
    assert meter.take(3.0) is not None


def test_only_some_attempts_of_a_busy_endpoint_are_to_be_streamed():
    meter = DelayMeter(0.0, spread_s=0.0)
    assert sum(meter.on_sent(attempt, 0.0, 500) for attempt in range(500)) == 64


def test_streams_still_open_when_answers_prove_short_do_not_stop_the_measuring():
    meter = DelayMeter(0.0, spread_s=0.0)
    attempts = send(meter, 60)
    meter.on_tokens(1, 0.1, 1)
    for attempt in attempts[1:]:
        meter.on_answer(attempt, 0.3, 100, took_s=0.3)
    meter.on_tokens(1, 0.4, 9)
    for attempt in close(meter, send(meter, 19, first=100, now=1.0), at=4.0):
        meter.on_answer(attempt, 5.0, 100, took_s=0.3)
    assert meter.take(5.0) is not None


@pytest.mark.parametrize("together", [1, 3, 5, 6, 50])
def test_short_answers_end_the_streaming_however_few_are_in_flight(together):
    """A stream costs ten times as much, and tells no more of them."""
    meter = DelayMeter(0.0, spread_s=0.0)
    for first in range(1, 100, together):
        attempts = send(meter, together, first=first, now=first * 0.3, in_flight=together)
        for attempt in attempts:
            meter.on_answer(attempt, first * 0.3 + 0.3, 100, took_s=0.3)
    assert meter.first.delay_s(100) == pytest.approx(0.3)
    assert not meter.wants(100.0)


def test_attempts_that_are_lost_do_not_hold_up_what_the_first_answers_tell():
    meter = DelayMeter(0.0, spread_s=0.0)
    attempts = send(meter, 50)
    for attempt in attempts[:44]:
        meter.on_answer(attempt, 0.3, 100, took_s=0.3)
    for attempt in attempts[44:]:
        meter.on_lost(attempt)
    assert meter.first is None
    late = send(meter, 6, first=100, now=1.0)
    meter.on_answer(late[0], 1.3, 100, took_s=0.3)
    for attempt in late[1:]:
        meter.on_lost(attempt)
    assert meter.first.known == 45
    for attempt in send(meter, 6, first=200, now=2.0):  # what is known stays
        meter.on_answer(attempt, 9.0, 100, took_s=7.0)
    assert meter.first.delay_s(100) == pytest.approx(0.3)


def test_a_cohort_is_not_made_of_one_moment():
    """At thousands of attempts a second it would measure whatever happened to be going on just then."""
    meter = DelayMeter(0.0)
    for attempt in send(meter, 2000):
        meter.on_answer(attempt, 0.3, 100)
    assert meter.take(0.3) is None
    for step in range(2000):
        [attempt] = send(meter, 1, first=3000 + step, now=0.3 + step * 0.0005)
        meter.on_answer(attempt, 0.6 + step * 0.0005, 100)
    assert meter.take(1.6) is not None


def test_a_meter_that_waits_for_an_ended_attempt_is_a_defect():
    meter = DelayMeter(0.0, spread_s=0.0)
    send(meter, 3)
    meter.check_invariants({1, 2, 3})
    with pytest.raises(InvariantError, match=r"\[3\]"):
        meter.check_invariants({1, 2})


# ---- streams that are counted in something else, or stop -------------------------------------------------


def test_streams_are_wanted_while_a_cohort_gathers():
    meter = DelayMeter(0.0, spread_s=0.0)
    assert meter.wants(0.0)
    send(meter, 64)
    assert not meter.wants(0.0)
    meter.restart(10.0, rest_s=3.0)
    assert [meter.wants(at) for at in (12.9, 13.0)] == [False, True]


def test_an_attempt_that_is_not_streamed_is_no_member_where_streams_are_measured():
    meter = DelayMeter(0.0, spread_s=0.0)
    assert meter.on_sent(1, 0.0, 10)
    assert not meter.on_sent(2, 0.0, 10, streams=False)  # nothing else is known yet
    meter.check_invariants({1, 2})
    meter.on_tokens(1, 0.5, 1)
    assert not meter.on_sent(3, 0.5, 10, streams=False)
    meter.check_invariants({1, 2})


@pytest.mark.parametrize("pieces", [8, 100, 400])
def test_the_delay_does_not_depend_on_what_streams_are_counted_in(pieces):
    meter = DelayMeter(0.0, spread_s=0.0)
    attempts = close(meter, send(meter, 19), at=3.0)
    for attempt in attempts:
        meter.on_tokens(attempt, 3.5, 1)
        meter.on_tokens(attempt, 5.5, pieces)
        meter.on_answer(attempt, 5.5, 100, pieces)
    measure = meter.take(5.5)
    assert meter.mean_tokens == pytest.approx(pieces)
    assert measure.delay_s(meter.mean_tokens) == pytest.approx(measure.begin_s + 2.0, rel=0.15)


def test_answers_that_nobody_wanted_streamed_do_not_tell_that_streams_stopped():
    meter = DelayMeter(0.0, spread_s=0.0)
    attempts = send(meter, 100)
    for attempt in attempts[:60]:
        meter.on_tokens(attempt, 0.5, 1)
    for attempt in attempts[64:]:
        meter.on_answer(attempt, 2.0, 100)
    for attempt in close(meter, attempts[:60], at=3.0)[:60]:
        meter.on_tokens(attempt, 3.5, 51)
    assert meter.take(3.5).is_streamed


def test_where_streams_stop_whole_answers_are_measured_again():
    meter = DelayMeter(0.0, spread_s=0.0)
    meter.on_tokens(send(meter, 1)[0], 0.5, 1)
    for attempt in send(meter, 8, first=2, now=1.0):
        assert meter.take(1.0) is None
        meter.on_answer(attempt, 2.0, 100)
    attempts = close(meter, send(meter, 19, first=20, now=2.0), at=5.0)
    for attempt in attempts:
        meter.on_answer(attempt, 7.0, 100)
    assert meter.take(7.0) is not None

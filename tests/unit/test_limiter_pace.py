"""How the level is found beyond which an endpoint only slows down."""

from __future__ import annotations

import random

import pytest

from actors.core.errors import InvariantError
from actors.core.limiter import AdaptiveLimiter, LimiterSettings
from actors.core.limiter_pace import DelayMeter, Pace


def send(meter, count, *, first=1, now=0.0, in_flight=10):
    for attempt in range(first, first + count):
        meter.on_sent(attempt, now, in_flight)
    return range(first, first + count)


def close(meter, attempts, *, at):
    """End a cohort by sending one more after its time; that one is answered with the others."""
    extra = attempts[-1] + 1
    meter.on_sent(extra, at, 10)
    return [*attempts, extra]


# ---- the meter -------------------------------------------------------------------------------------------


def test_what_passes_on_our_side_is_not_taken_for_the_endpoint_s_delay():
    """A busy machine of ours tells late of answers that came in time: to send less would only lose."""
    settings = LimiterSettings(max_in_flight=40, start=40)
    limiter = AdaptiveLimiter(settings, now=0.0, rng=random.Random(1))
    limits = set()
    for round_ in range(60):
        late_s = 0.0 if round_ < 10 else 1.0
        sent_at = round_ * 2.0
        permits = [limiter.try_acquire(sent_at, tokens=100) for _ in range(limiter.limit)]
        for permit in permits:
            end = sent_at + 0.4 + late_s
            limiter.on_success(permit, end, input_tokens=50, output_tokens=50, took_s=0.4)
        limiter.tick(sent_at + 1.9)
        limits.add(limiter.limit)
    assert limits == {40}
    assert limiter.statistics().slowdown == pytest.approx(1.0)


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


def test_a_queue_that_was_there_from_the_first_whole_cohort_on_is_seen_by_the_first_answers():
    """The ramp overshoots a knee before any cohort of short answers is known: the best is not among them."""
    limiter = AdaptiveLimiter(LimiterSettings(max_in_flight=60, start=60), now=0.0, rng=random.Random(1))

    def answer(sent_at, took_s):
        for permit in [limiter.try_acquire(sent_at, tokens=100) for _ in range(60)]:
            end = sent_at + took_s
            limiter.on_success(permit, end, input_tokens=50, output_tokens=50, took_s=took_s)

    answer(0.0, 0.3)
    for step in range(5):
        answer(1.0 + step, 0.9)
    limiter.tick(6.0)
    assert limiter.statistics().slowdown == pytest.approx(3.0)


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


# ---- the level -------------------------------------------------------------------------------------------


class Endpoint:
    """An endpoint whose calls take `delay(in flight)` seconds, and a pace that is asked once a cohort."""

    def __init__(self, delay, limit, most=1000):
        self.delay, self.limit, self.most = delay, float(limit), float(most)
        self.pace = Pace(0.0)
        self.now = 0.0
        self.attempt = 0
        self.levels = [int(limit)]

    def run(self, cohorts, *, may_try=True):
        for _ in range(cohorts):
            self.now += 4.0
            in_flight = int(self.limit)
            for sent_at in [self.now] * 19 + [self.now + 3.0]:
                self.attempt += 1
                self.pace.meter.on_sent(self.attempt, sent_at, in_flight)
                self.pace.meter.on_answer(self.attempt, sent_at + self.delay(in_flight), 100)
            self.now += 3.0
            self.limit = self.pace.advise(self.now, self.limit, in_flight, most=self.most, may_try=may_try)
            if int(self.limit) != self.levels[-1]:
                self.levels.append(int(self.limit))


def queue(slots):
    return lambda in_flight: max(1.0, in_flight / slots)


def test_a_queue_is_left_for_its_end():
    endpoint = Endpoint(queue(64), 20)
    endpoint.run(2, may_try=False)
    endpoint.limit = 200.0
    endpoint.run(60)
    assert 64 <= endpoint.limit <= 1.3 * 80
    assert min(endpoint.levels[1:]) >= 50


def test_a_batch_is_filled_although_each_call_slows_down():
    endpoint = Endpoint(lambda in_flight: max(1 + in_flight / 64, in_flight / 256 * 5), 20)
    endpoint.run(2, may_try=False)
    endpoint.limit = 100.0
    endpoint.run(120)
    throughput = endpoint.limit / endpoint.delay(endpoint.limit)
    assert throughput >= 0.95 * 51.2
    assert endpoint.limit <= 1.3 * 256


def test_without_a_slowdown_nothing_is_tried_below():
    endpoint = Endpoint(queue(1000), 300, most=300)
    endpoint.run(30)
    assert endpoint.levels == [300]


def test_more_in_flight_is_kept_where_it_brings_more():
    endpoint = Endpoint(queue(500), 100)
    endpoint.run(40)
    assert endpoint.limit >= 400


def test_a_ramp_ends_when_calls_take_half_as_long_again():
    endpoint = Endpoint(queue(64), 60)
    endpoint.run(1, may_try=False)
    assert not endpoint.pace.is_too_slow
    endpoint.limit = 100.0
    endpoint.run(1, may_try=False)
    assert (endpoint.pace.is_too_slow, endpoint.pace.is_surely_too_slow) == (True, False)
    endpoint.run(1, may_try=False)
    assert endpoint.pace.is_surely_too_slow


def test_a_level_is_tried_again_at_once_where_all_got_slower_meanwhile():
    slower = {"by": 1.0}
    endpoint = Endpoint(lambda in_flight: slower["by"], 100)
    while endpoint.limit == 100:
        endpoint.run(1)
    slower["by"] = 2.0  # just then, and for all levels
    endpoint.run(4)
    assert endpoint.levels[:4] == [100, 130, 100, 130]
    assert endpoint.limit >= 130


def test_a_level_that_goes_on_being_worse_is_left_alone_for_a_while():
    endpoint = Endpoint(queue(100), 100)
    endpoint.run(4)
    assert endpoint.levels == [100, 130, 100]


def test_a_cut_drops_what_was_on_trial():
    endpoint = Endpoint(queue(500), 100)
    while not endpoint.pace.is_busy:
        endpoint.run(1)
    endpoint.pace.reset(endpoint.now)
    assert not endpoint.pace.is_busy


def test_answers_that_take_no_time_are_no_defect():
    limiter = AdaptiveLimiter(LimiterSettings(1000), now=0.0, rng=random.Random(0))
    for step in range(40):
        now = step * 4.0
        permits = [limiter.try_acquire(now, tokens=10) for _ in range(10)]
        for permit in permits:
            limiter.on_success(permit, now, input_tokens=0, output_tokens=0)
    assert limiter.limit >= 10


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

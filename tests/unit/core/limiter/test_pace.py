"""How the level is found beyond which an endpoint only slows down."""

from __future__ import annotations

import random

import pytest

from actors.core.limiter.knee import Pace
from actors.core.limiter.limiter import AdaptiveLimiter, LimiterSettings


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


class PacedEndpoint:
    """An endpoint whose calls take `delay(in flight)` seconds, and a pace that is asked once a cohort."""

    def __init__(self, delay, limit, most=1000):
        self.delay, self.limit, self.most = delay, float(limit), float(most)
        self.pace = Pace(0.0)
        self.now = 0.0
        self.attempt = 0
        self.levels = [int(limit)]

    def run(self, cohorts, *, may_try=True, pieces=0):
        """Answer whole, or in a stream of so many `pieces` that begins after a tenth of a second."""
        for _ in range(cohorts):
            self.now += 4.0
            in_flight = int(self.limit)
            for sent_at in [self.now] * 19 + [self.now + 3.0]:
                self.attempt += 1
                ends_at = sent_at + self.delay(in_flight)
                self.pace.meter.on_sent(self.attempt, sent_at, in_flight)
                if pieces:
                    self.pace.meter.on_tokens(self.attempt, sent_at + 0.1, 1)
                    self.pace.meter.on_tokens(self.attempt, ends_at, pieces)
                self.pace.meter.on_answer(self.attempt, ends_at, 100, pieces)
            self.now += 3.0
            self.limit = self.pace.advise(self.now, self.limit, in_flight, most=self.most, may_try=may_try)
            if int(self.limit) != self.levels[-1]:
                self.levels.append(int(self.limit))


def queue(slots):
    return lambda in_flight: max(1.0, in_flight / slots)


def test_a_queue_is_left_for_its_end():
    endpoint = PacedEndpoint(queue(64), 20)
    endpoint.run(2, may_try=False)
    endpoint.limit = 200.0
    endpoint.run(60)
    assert 64 <= endpoint.limit <= 1.3 * 80
    assert min(endpoint.levels[1:]) >= 50


def test_a_batch_is_filled_although_each_call_slows_down():
    endpoint = PacedEndpoint(lambda in_flight: max(1 + in_flight / 64, in_flight / 256 * 5), 20)
    endpoint.run(2, may_try=False)
    endpoint.limit = 100.0
    endpoint.run(120)
    throughput = endpoint.limit / endpoint.delay(endpoint.limit)
    assert throughput >= 0.95 * 51.2
    assert endpoint.limit <= 1.3 * 256


def test_without_a_slowdown_nothing_is_tried_below():
    endpoint = PacedEndpoint(queue(1000), 300, most=300)
    endpoint.run(30)
    assert endpoint.levels == [300]


def test_one_slow_cohort_moves_nothing():
    """It is soon had by chance, and a trial below costs what it leaves unused."""
    slower = {"by": 1.0}
    endpoint = PacedEndpoint(lambda in_flight: slower["by"], 300, most=300)
    for by in (1.0, 2.0, 1.0, 2.0, 1.0, 1.0):
        slower["by"] = by
        endpoint.run(1)
    assert endpoint.levels == [300]
    slower["by"] = 2.0
    endpoint.run(2)
    assert endpoint.levels == [300, 180]


def test_what_the_luck_of_few_answers_explains_moves_nothing():
    slower = {"by": 1.0}
    endpoint = PacedEndpoint(lambda in_flight: slower["by"], 300, most=300)
    endpoint.run(1)
    slower["by"] = 1.35  # of the best, which twenty answers told
    endpoint.run(10)
    assert endpoint.levels == [300]


@pytest.mark.parametrize("pieces", [10, 400])
def test_streams_and_whole_answers_are_not_compared(pieces):
    endpoint = PacedEndpoint(queue(1000), 300, most=300)
    endpoint.run(1)
    for _ in range(3):
        endpoint.run(3, pieces=pieces)
        assert endpoint.pace.slowdown == pytest.approx(1.0)
        endpoint.run(3)
        assert endpoint.pace.slowdown == pytest.approx(1.0)
    assert endpoint.levels == [300]


@pytest.mark.parametrize("pieces", [10, 400])
def test_a_trial_that_began_with_another_measure_ends_where_it_began(pieces):
    endpoint = PacedEndpoint(queue(1000), 100)
    while not endpoint.pace.is_busy:
        endpoint.run(1)
    assert endpoint.levels == [100, 130]
    endpoint.run(2, pieces=pieces)
    assert endpoint.levels == [100, 130, 100]


def test_more_in_flight_is_kept_where_it_brings_more():
    endpoint = PacedEndpoint(queue(500), 100)
    endpoint.run(40)
    assert endpoint.limit >= 400


def test_a_ramp_ends_when_calls_take_half_as_long_again():
    endpoint = PacedEndpoint(queue(64), 60)
    endpoint.run(1, may_try=False)
    assert not endpoint.pace.is_too_slow
    endpoint.limit = 100.0
    endpoint.run(1, may_try=False)
    assert (endpoint.pace.is_too_slow, endpoint.pace.is_surely_too_slow) == (True, False)
    endpoint.run(1, may_try=False)
    assert endpoint.pace.is_surely_too_slow


def test_a_level_is_tried_again_at_once_where_all_got_slower_meanwhile():
    slower = {"by": 1.0}
    endpoint = PacedEndpoint(lambda in_flight: slower["by"], 100)
    while endpoint.limit == 100:
        endpoint.run(1)
    slower["by"] = 2.0  # just then, and for all levels
    endpoint.run(4)
    assert endpoint.levels[:4] == [100, 130, 100, 130]
    assert endpoint.limit >= 130


def test_a_level_that_goes_on_being_worse_is_left_alone_for_a_while():
    endpoint = PacedEndpoint(queue(100), 100)
    endpoint.run(4)
    assert endpoint.levels == [100, 130, 100]


def test_the_first_trial_of_a_slow_level_goes_down():
    slower = {"by": 1.0}
    endpoint = PacedEndpoint(lambda in_flight: slower["by"], 100)
    endpoint.run(1, may_try=False)
    slower["by"] = 2.0
    endpoint.run(2)
    assert endpoint.levels == [100, 60]


@pytest.mark.parametrize(("slow_from", "rests"), [(99, True), (1, False)])
def test_the_measure_rests_for_three_seconds_while_nothing_is_amiss(slow_from, rests):
    cohort = {"number": -1}
    endpoint = PacedEndpoint(lambda in_flight: 2.0 if cohort["number"] >= slow_from else 1.0, 300, most=300)
    for cohort["number"] in range(2):  # a single slow cohort is no reason for a trial
        endpoint.run(1)
    meter = endpoint.pace.meter
    assert [meter.wants(endpoint.now + after_s) for after_s in (0.0, 2.9, 3.0)] == [
        not rests,
        not rests,
        True,
    ]


def test_a_cut_drops_what_was_on_trial():
    endpoint = PacedEndpoint(queue(500), 100)
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


def test_quick_errors_are_not_the_best_delay_ever_measured():
    limiter = AdaptiveLimiter(LimiterSettings(max_in_flight=60, start=60), now=0.0, rng=random.Random(1))
    limits = set()
    for step in range(20):
        now = 4.0 * step
        permits = [limiter.try_acquire(now, tokens=100) for _ in range(limiter.limit)]
        for permit in permits:
            if step < 6:
                limiter.on_rejected(permit, now + 0.02)
            else:
                limiter.on_success(permit, now + 1.0, input_tokens=50, output_tokens=50, took_s=1.0)
        limiter.tick(now + 3.5)
        limits.add(limiter.limit)
    assert limiter.statistics().slowdown == pytest.approx(1.0)
    assert limits == {60}

"""How fast and how far the limit rises, into the unknown or back to where it was."""

from __future__ import annotations

import pytest

from actors.core.limiter.ramp import Ramp

MOST = 1000.0
STEP_S = 0.05


def rise(ramp, limit, *, since, seconds, is_full=True):
    """Let time pass in steps; return the limit, and whether the ramp ended."""
    for step in range(1, round(seconds / STEP_S) + 1):
        limit, has_ended = ramp.advance(since + step * STEP_S, limit, is_full=is_full)
        if has_ended:
            return limit, True
    return limit, False


def test_the_limit_doubles_in_time_while_it_is_in_use():
    ramp = Ramp(0.0, MOST)
    limit, has_ended = rise(ramp, 16.0, since=0.0, seconds=1.4)
    assert (limit, has_ended) == (pytest.approx(32.0), False)
    assert rise(ramp, limit, since=1.4, seconds=5.0, is_full=False) == (limit, False)
    assert rise(ramp, limit, since=6.4, seconds=60.0) == (64.0, False)


def test_a_moment_is_left_for_the_next_call_and_a_late_call_makes_up_for_a_tenth_of_a_second():
    ramp = Ramp(0.0, MOST)
    assert ramp.advance(0.009, 16.0, is_full=True) == (16.0, False)
    limit, _ = ramp.advance(0.01, 16.0, is_full=True)
    assert limit == pytest.approx(16.0 * 2 ** (0.01 / 1.4))
    assert ramp.advance(60.0, 16.0, is_full=True)[0] == pytest.approx(16.0 * 2 ** (0.1 / 1.4))


@pytest.mark.parametrize(("took_s", "doubling_s"), [(0.7, 0.7), (0.01, 0.1), (9.0, 1.4)])
def test_quick_answers_set_the_pace_within_bounds(took_s, doubling_s):
    ramp = Ramp(0.0, MOST)
    ramp.answered(1, took_s, is_current=True)
    ramp.answered(1, 2 * took_s, is_current=True)
    assert ramp.advance(0.05, 16.0, is_full=True)[0] == pytest.approx(16.0 * 2 ** (0.05 / doubling_s))


def test_answers_prove_the_limit_from_64_on_until_a_cut():
    ramp = Ramp(0.0, MOST)
    ramp.prove(100)
    ramp.prove(50)
    assert rise(ramp, 60.0, since=0.0, seconds=30.0) == (160.0, False)
    ramp.cut()
    assert rise(ramp, 60.0, since=30.0, seconds=30.0) == (64.0, False)


def test_an_answer_to_an_attempt_from_before_a_cut_proves_nothing():
    ramp = Ramp(0.0, MOST)
    ramp.answered(100, 1.0, is_current=False)
    assert rise(ramp, 60.0, since=0.0, seconds=30.0) == (64.0, False)


def test_a_ramp_to_a_known_limit_ends_there_and_the_next_one_is_into_the_unknown():
    ramp = Ramp(0.0, MOST)
    assert ramp.is_opening
    ramp.restart(10.0, 40.0)
    assert not ramp.is_opening
    assert ramp.advance(10.05, 16.0, is_full=True)[0] == pytest.approx(16.0 * 2 ** (0.05 / 1.4))
    assert rise(ramp, 16.0, since=10.1, seconds=30.0) == (40.0, True)
    assert ramp.is_opening


def test_the_time_that_a_ramp_is_held_has_no_effect():
    ramp = Ramp(0.0, MOST)
    ramp.hold(5.0)
    assert ramp.advance(5.05, 16.0, is_full=True)[0] == pytest.approx(16.0 * 2 ** (0.05 / 1.4))


def answered(ramp, *, quick_s=1.0, slow_s=2.0, sent_with=64, quick=11):
    """Have fifty answers come, of which more than a fifth are quick."""
    for number in range(50):
        ramp.answered(sent_with, quick_s if number < quick else slow_s, is_current=True)


@pytest.mark.parametrize(("quick", "waits_s"), [(11, 4.0), (10, 8.0)])
def test_quick_is_what_more_than_a_fifth_of_the_first_answers_took(quick, waits_s):
    ramp = Ramp(0.0, MOST)
    answered(ramp, quick=quick)
    assert ramp.next_at(0.0, MOST, is_full=True) == waits_s


def test_a_ramp_ends_when_no_answer_proves_more_for_four_times_a_quick_one():
    ramp = Ramp(0.0, 2000.0)
    answered(ramp, sent_with=1000)
    limit, has_ended = rise(ramp, 1500.0, since=0.0, seconds=1.0)
    assert (limit, has_ended) == (1600.0, False)
    stalls_at = ramp.next_at(1.0, limit, is_full=True)
    assert 4.0 < stalls_at < 4.5
    assert ramp.advance(stalls_at - 0.01, limit, is_full=True) == (limit, False)
    assert ramp.next_at(1.0, limit, is_full=False) is None
    assert ramp.advance(stalls_at, limit, is_full=False) == (limit, False)
    assert ramp.advance(stalls_at + 0.02, limit, is_full=True) == (limit, True)


def test_where_answers_are_quick_it_ends_no_sooner_than_it_would_have_doubled():
    ramp = Ramp(0.0, MOST)
    answered(ramp, quick_s=0.2, slow_s=0.2)
    assert ramp.next_at(0.0, 1000.0, is_full=True) == 1.4


def test_of_an_answer_that_waited_in_a_queue_only_what_was_worked_on_proves():
    ramp = Ramp(0.0, MOST)
    answered(ramp, sent_with=1)
    ramp.answered(400, 4.0, is_current=True)  # a quarter of it was work
    assert rise(ramp, 60.0, since=0.0, seconds=3.0)[0] == 160.0
    ramp.answered(400, 1.0, is_current=True)
    assert rise(ramp, 160.0, since=3.0, seconds=30.0)[0] == 640.0


def test_it_is_to_be_called_soon_while_it_rises_and_only_answers_matter_where_it_cannot():
    ramp = Ramp(0.0, MOST)
    assert ramp.next_at(1.0, 16.0, is_full=True) == pytest.approx(1.02)
    assert ramp.next_at(1.0, 16.0, is_full=False) is None
    assert ramp.next_at(1.0, 64.0, is_full=True) is None

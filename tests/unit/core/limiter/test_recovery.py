"""What may be sent after refusals: canaries, the pauses between them, and the limit to go back to."""

from __future__ import annotations

import pytest

from actors.core.limiter.recovery import Recovery

REFUSAL_S = 0.05
QUIET_S = 2 * REFUSAL_S  # without a refusal for this long a canary is admitted


def recovering(cuts, *, at=0.0, held=32.0):
    """Return a recovery that began at `at`, after so many cuts at that moment."""
    recovery = Recovery(0.0, 64.0)
    recovery.begin(at, 20, held)
    for _ in range(cuts):
        recovery.cut(at, 0.0)
    return recovery


def test_the_first_cut_causes_no_pause_and_the_next_ones_do():
    recovery = recovering(0)
    assert recovery.cut(1.0, 30.0) == 0.0
    assert not recovery.is_repeated
    assert recovery.cut(1.0, 0.0) == 0.25
    assert recovery.is_repeated


@pytest.mark.parametrize(("cuts", "pause_s"), [(1, 0.4), (2, 0.8), (3, 1.6), (4, 2.0), (2000, 2.0)])
def test_a_retry_after_is_kept_to_by_pauses_that_double_up_to_two_seconds(cuts, pause_s):
    assert recovering(cuts).cut(0.0, 30.0) == pytest.approx(pause_s)


@pytest.mark.parametrize(
    ("after_s", "told_s", "untold_s"),
    [(1.0, 2.0, 0.25), (10.0, 2.0, 1.0), (30.0, 3.0, 3.0), (999.0, 10.0, 4.0)],
)
def test_pauses_grow_with_the_outage_since_its_first_cut(after_s, told_s, untold_s):
    assert recovering(9, at=500.0).cut(500.0 + after_s, 60.0) == pytest.approx(told_s)
    assert recovering(9, at=500.0).cut(500.0 + after_s, 0.0) == pytest.approx(untold_s)


@pytest.mark.parametrize(("limit", "canaries"), [(1.0, 1), (99.0, 1), (100.0, 2), (500.0, 10)])
def test_one_canary_in_fifty_of_the_limit_may_be_unconfirmed_and_at_least_one(limit, canaries):
    recovery = recovering(1)
    for _ in range(canaries):
        assert recovery.may_send(limit)
        recovery.sent(1.0)
    assert not recovery.may_send(limit)
    recovery.lost(2.0)
    assert recovery.may_send(limit)


def test_the_oldest_canary_is_admitted_after_twice_a_refusal_and_a_lost_one_delays_that():
    recovery = recovering(1)
    assert recovery.admitted_at() is None
    recovery.sent(1.0)
    recovery.sent(2.0)
    assert recovery.admitted_at() == 1.0 + QUIET_S
    recovery.lost(3.0)
    assert recovery.admitted_at() == 3.0 + QUIET_S
    for _ in range(2):
        recovery.lost(4.0)
        assert recovery.admitted_at() is None
    recovery.check_invariants()
    recovery.sent(5.0)
    recovery.cut(5.1, 0.0)
    assert recovery.admitted_at() is None


@pytest.mark.parametrize(
    ("cuts", "refusal_s", "quiet_s"),
    [(1, 0.001, 0.02), (1, 0.3, 0.6), (2, 3.0, 1.0), (3, 1.5, 3.0), (3, 3.0, 4.0)],
)
def test_how_long_a_canary_must_be_quiet_is_bounded_and_longer_in_an_outage(cuts, refusal_s, quiet_s):
    recovery = recovering(cuts)
    recovery.measure_refusal(refusal_s)
    recovery.sent(0.0)
    assert recovery.admitted_at() == pytest.approx(quiet_s)


def test_a_refusal_takes_what_the_last_one_took_and_in_an_outage_what_the_longest_did():
    recovery = recovering(2)
    for took_s in (0.4, 0.1):
        recovery.measure_refusal(took_s)
    assert recovery.refusal_s == 0.1
    recovery.cut(1.0, 0.0)
    for took_s in (0.3, 0.2):
        recovery.measure_refusal(took_s)
    assert recovery.refusal_s == 0.3


def test_the_first_cut_of_all_is_recovered_from_to_what_it_held():
    recovery = Recovery(0.0, 64.0)
    assert recovery.limit_before == 64.0
    recovery.begin(1.0, 0, 20.0)
    assert recovery.limit_before == 20.0


@pytest.mark.parametrize(("in_flight", "is_same"), [(0, True), (7, True), (8, False)])
def test_an_outage_goes_on_after_an_admission_without_an_answer_while_little_runs(in_flight, is_same):
    recovery = recovering(3)
    recovery.begin(2.0, in_flight, 8.0)
    assert recovery.limit_before == 32.0
    assert (recovery.cut(2.0, 0.0) > 0.0) is is_same


def test_of_a_small_limit_five_in_flight_are_much():
    recovery = recovering(3, held=8.0)
    recovery.begin(2.0, 4, 2.0)
    assert recovery.is_repeated
    recovery.begin(2.0, 5, 2.0)
    assert not recovery.is_repeated


def test_an_outage_is_over_with_an_answer_to_what_was_sent_in_it():
    recovery = recovering(3)
    recovery.answered()
    recovery.begin(2.0, 0, 8.0)
    assert recovery.limit_before == 8.0
    assert recovery.cut(2.0, 0.0) == 0.0

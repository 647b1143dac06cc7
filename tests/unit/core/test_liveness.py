"""An owner is dead where it was watched for a whole lease without a sign of life, and not before."""

from __future__ import annotations

import pytest

from actors.core.liveness import LONGEST_GAP, LeaseWatch

LEASE_S = 8.0


def looks(watch, times, sign="a"):
    return [watch.observe(sign, at, at) for at in times]


def test_an_owner_is_silent_after_a_whole_lease_of_looks_and_not_before():
    watch = LeaseWatch(LEASE_S)
    assert looks(watch, range(9)) == [False] * 9
    assert looks(watch, [8.01]) == [True]


def test_one_look_never_finds_an_owner_dead_even_with_a_lease_of_zero():
    assert looks(LeaseWatch(0.0), [5.0]) == [False]


def test_a_sign_of_life_begins_a_new_lease():
    watch = LeaseWatch(LEASE_S)
    looks(watch, range(8))
    assert looks(watch, range(8, 17), "b") == [False] * 9
    assert looks(watch, [16.5], "b") == [True]


@pytest.mark.parametrize("gap_s", [LEASE_S * LONGEST_GAP + 0.01, LEASE_S, 1000.0])
def test_a_watcher_that_stood_still_watches_a_whole_lease_again(gap_s):
    watch = LeaseWatch(LEASE_S)
    looks(watch, range(8))
    resumed = 7.0 + gap_s
    assert looks(watch, [resumed + passed for passed in range(9)]) == [False] * 9
    assert watch.interruptions == 1
    assert looks(watch, [resumed + 8.5]) == [True]


def test_a_read_that_blocked_counts_as_standing_still():
    watch = LeaseWatch(LEASE_S)
    looks(watch, range(8))
    assert not watch.observe("a", 8.5, 20.0)
    assert not watch.observe("a", 20.5, 20.5)


def test_the_time_of_a_read_does_not_count_as_silence():
    watch = LeaseWatch(LEASE_S)
    watch.observe("a", 0.0, 1.5)
    looks(watch, range(2, 9))
    assert not watch.observe("a", 9.4, 10.0)
    assert watch.observe("a", 9.6, 10.0)


@pytest.mark.parametrize("lease_s", [0.5, 5.0, 600.0])
def test_pauses_are_far_shorter_than_a_gap(lease_s):
    assert LeaseWatch(lease_s).pause_s <= lease_s * LONGEST_GAP / 4

"""One probe after the other: how far it goes, how fast it rises, and when it has found room."""

from __future__ import annotations

import pytest

from actors.core.limiter.probe import Probe

REFUSAL_S = 0.1
TRIAL_S = 0.5


def probing(limit=32.7, *, added=1):
    """Return a probe that adds so many (1, 3 or 9), begun at 0, and its limit."""
    probe = Probe(0.0, limit)
    for _ in range({1: 0, 3: 1, 9: 2}[added]):
        probe.succeed(1000.0)
    return probe, probe.begin(0.0, limit, probe.goal(limit))


def test_a_probe_begins_with_one_more_than_whole_attempts():
    probe, limit = probing(32.7, added=9)
    assert (probe.base, limit) == (32.0, 33.0)
    assert probe.goal(32.7) == 41.0


def test_each_probe_that_finds_room_is_followed_by_one_of_three_times_as_many_up_to_a_quarter():
    probe = Probe(0.0, 100.0)
    added = []
    for _ in range(5):
        added.append(probe.goal(100.0) - 100.0)
        probe.succeed(100.0)
    assert added == [1.0, 3.0, 9.0, 25.0, 25.0]
    probe.cut()
    assert probe.goal(100.0) == 101.0
    probe.succeed(2.0)
    assert probe.goal(2.0) == 3.0


def test_a_probe_rises_over_the_time_of_a_trial_while_its_limit_is_in_use():
    probe, limit = probing(added=9)
    assert probe.advance(0.05, limit, 31, REFUSAL_S) == (33.0, False)
    limit, has_room = probe.advance(0.1, limit, 32, REFUSAL_S)
    assert (limit, has_room) == (pytest.approx(33.0 + 9 * 0.05 / TRIAL_S), False)
    late, _ = probe.advance(60.0, limit, 33, REFUSAL_S)
    assert late == pytest.approx(limit + 9 * 0.1 / TRIAL_S)
    for step in range(10):
        late, _ = probe.advance(61.0 + step, late, 41, REFUSAL_S)
    assert late == 41.0


def test_it_has_found_room_once_as_many_as_it_allows_were_in_flight_for_a_trial():
    probe, limit = probing()
    assert probe.advance(1.0, limit, 32, REFUSAL_S) == (33.0, False)
    assert probe.advance(9.0, limit, 33, REFUSAL_S) == (33.0, False)
    assert probe.advance(9.49, limit, 0, REFUSAL_S) == (33.0, False)
    assert probe.advance(9.5, limit, 0, REFUSAL_S) == (33.0, True)


@pytest.mark.parametrize(("refusal_s", "trial_s"), [(0.001, 0.2), (0.1, 0.5), (9.0, 1.5)])
def test_a_trial_takes_five_times_a_refusal_within_bounds(refusal_s, trial_s):
    probe, limit = probing()
    probe.advance(0.0, limit, 33, refusal_s)
    assert probe.next_at(0.0, limit, 33, refusal_s) == trial_s
    assert not probe.advance(trial_s - 0.01, limit, 33, refusal_s)[1]
    assert probe.advance(trial_s, limit, 33, refusal_s)[1]


def test_it_is_to_be_called_soon_while_it_rises_in_use_and_not_before_an_event_otherwise():
    probe, limit = probing(added=3)
    assert probe.next_at(1.0, limit, 32, REFUSAL_S) == pytest.approx(1.02)
    assert probe.next_at(1.0, limit, 31, REFUSAL_S) is None
    assert probe.next_at(1.0, 35.0, 34, REFUSAL_S) is None
    probe.advance(2.0, 35.0, 35, REFUSAL_S)
    assert probe.next_at(2.1, 35.0, 35, REFUSAL_S) == 2.5
    probe.begin(3.0, 35.0, 36.0)
    assert probe.next_at(3.0, 36.0, 35, REFUSAL_S) is None


def test_the_next_probe_rises_from_when_it_begins():
    probe, _ = probing(added=9)
    limit = probe.begin(50.0, 32.0, 41.0)
    assert probe.advance(50.05, limit, 33, REFUSAL_S)[0] == pytest.approx(33.0 + 9 * 0.05 / TRIAL_S)

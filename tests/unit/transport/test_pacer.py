"""Single events are fast, many are paced."""

from __future__ import annotations

import itertools

import pytest

from actors.transport.pacer import Pacer


def pace(pacer, events, *, start=0.0):
    """Let each event happen as soon as it may; return when each did."""
    now, times = start, []
    for _ in range(events):
        now += pacer.wait_s(now)
        pacer.happened(now)
        times.append(now)
    return times


def test_after_a_quiet_spell_a_burst_goes_at_once_and_the_rest_at_even_distances():
    assert pace(Pacer(0.1, burst=3), 6) == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])


def test_a_quiet_spell_earns_no_more_than_one_burst():
    pacer = Pacer(0.1, burst=2)
    pace(pacer, 5)
    assert pace(pacer, 4, start=1000.0) == pytest.approx([1000, 1000, 1000.1, 1000.2])


def test_events_that_come_slower_than_the_pace_never_wait():
    pacer = Pacer(0.1, burst=1)
    for step in range(100):
        assert pacer.wait_s(step * 0.1) == pytest.approx(0, abs=1e-9)
        pacer.happened(step * 0.1)


def test_events_that_did_not_wait_run_up_no_debt():
    """Urgent ones would else hold back the next one for minutes."""
    pacer = Pacer(0.1, burst=3)
    for step in range(1000):
        pacer.happened(step * 0.001)
    assert pacer.wait_s(0.999) == pytest.approx(0.1)


def late(pacer, events, late_s, start):
    """Let each event happen so much later than it might; return the distances between them."""
    now, times = start, []
    for _ in range(events):
        wait_s = pacer.wait_s(now)
        now += wait_s + (late_s if wait_s else 0.0)
        pacer.happened(now)
        times.append(now)
    return [after - before for before, after in itertools.pairwise(times)]


def test_events_that_come_late_are_paced_further_apart_up_to_a_bound():
    pacer = Pacer(0.01)
    assert late(pacer, 50, 0.0, 0.0)[-1] == pytest.approx(0.01)
    assert late(pacer, 50, 0.001, 100.0)[-1] == pytest.approx(0.01)
    assert late(pacer, 50, 0.0035, 200.0)[-1] == pytest.approx(0.03, rel=0.1)
    late(pacer, 50, 0.5, 300.0)
    assert pacer._interval_s == pytest.approx(0.1, rel=0.05)


def test_the_distance_is_short_again_once_events_come_in_time():
    pacer = Pacer(0.01)
    late(pacer, 50, 0.5, 0.0)
    assert late(pacer, 50, 0.0, 100.0)[-1] == pytest.approx(0.01, rel=0.01)


def test_an_event_that_did_not_wait_is_not_late():
    pacer = Pacer(0.01, burst=1)
    for step in range(100):
        assert pacer.wait_s(step * 5.0) == 0.0
        pacer.happened(step * 5.0)
    assert pacer.wait_s(495.0) == pytest.approx(0.01)


def test_an_interval_of_nothing_allows_everything():
    assert pace(Pacer(0.0), 5) == [0, 0, 0, 0, 0]

"""What the history of the endpoints shows of bursts, idle time, restarts and clocks that jump."""

from __future__ import annotations

import random

import pytest

from actors.core.metrics.history import MOST_POINTS, EndpointReading, History, HistoryRecorder
from actors.core.metrics.history_format import pack, unpack

BEGAN = 1.7e9


def reading(name="main", answered=0, in_flight=0, **more):
    return EndpointReading(name, answered, in_flight=in_flight, **more)


def recorded(steps, *, before=None, date=BEGAN, every_s=0.25):
    """Return the recorder after readings of (answered, in flight), one each quarter of a second."""
    recorder = HistoryRecorder(before)
    for index, (answered, in_flight) in enumerate(steps):
        recorder.add(index * every_s, date + index * every_s, [reading("main", answered, in_flight)])
    return recorder


def test_a_point_has_the_counts_and_the_gauges_of_half_a_second():
    known = recorded([(0, 4), (1, 8), (3, 2), (3, 2), (6, 2)]).history()
    assert known.at == (BEGAN, BEGAN + 0.5)
    assert known.active_s == (0.5, 0.5)
    (main,) = known.endpoints
    assert main.answered == (3, 3)
    assert (main.in_flight.least, main.in_flight.mean, main.in_flight.most) == ((4, 2), (6, 2), (8, 2))


def test_a_reading_is_due_four_times_a_second():
    recorder = HistoryRecorder()
    assert recorder.is_due(0.0)
    recorder.add(0.0, BEGAN, [reading()])
    assert not recorder.is_due(0.2)
    assert recorder.is_due(0.25)


def test_a_day_has_as_many_points_as_four_minutes_in_a_few_kilobytes():
    rng, recorder, answered = random.Random(1), HistoryRecorder(), 0
    for index in range(21_600):
        answered += rng.randrange(40)
        recorder.add(4.0 * index, BEGAN + 4 * index, [reading("main", answered, rng.randrange(64), limit=64)])
    known = recorder.history()
    assert MOST_POINTS // 2 <= len(known.at) < MOST_POINTS
    assert sum(known.endpoints[0].answered) == answered
    assert max(end - at for at, end in zip(known.at, known.until, strict=True)) < 2000
    assert len(pack(known)) < 8_000


def test_an_idle_night_is_one_point_beside_the_bursts_at_its_ends():
    recorder = recorded([(index, 4) for index in range(20)] + [(20, 0)] * 5_000)
    recorder.add(1_300, BEGAN + 1_300, [reading("main", 30, 4)])
    known = recorder.history()
    assert len(known.at) < 15
    assert max(known.active_s) > 1_200
    assert known.endpoints[0].answered[-1] == 10


def test_a_later_dispatcher_continues_the_series_after_a_gap_that_stays_visible():
    first = recorded([(index, 4) for index in range(9)])
    later = recorded([(index, 4) for index in range(2_000)], before=first.history(), date=BEGAN + 3 * 86_400)
    known = later.history()
    assert sum(known.endpoints[0].answered) == 8 + 1_999
    assert max(at - end for end, at in zip(known.until, known.at[1:], strict=False)) > 2.9 * 86_400
    assert max(end - at for at, end in zip(known.at, known.until, strict=True)) < 60
    later.check_invariants()


def test_an_endpoint_that_is_new_or_configured_no_more_has_zeros_there():
    before = HistoryRecorder()
    for now in (0.0, 1.0):
        before.add(now, BEGAN + now, [reading("old", int(now), 3, limit=9)])
    after = HistoryRecorder(before.history())
    for now in (0.0, 1.0):
        after.add(now, BEGAN + 100 + now, [reading("new", int(now), 2, limit=5)])
    limits = {series.name: series.limit.most for series in after.history().endpoints}
    assert limits == {"old": (9, 0), "new": (0, 5)}


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0, float("nan"), float("inf")])
def test_a_clock_that_jumps_and_returns_leaves_ascending_times_and_all_counts(jump_s):
    recorder = HistoryRecorder()
    for index in range(40):
        date = BEGAN + index + (jump_s if 10 <= index < 20 else 0.0)
        recorder.add(float(index), date, [reading("main", index, 1)])
    recorder.check_invariants()
    known = recorder.history()
    assert sum(known.endpoints[0].answered) == 39
    assert sum(known.active_s) == 39


def test_many_endpoints_share_the_bound():
    recorder = HistoryRecorder()
    for index in range(1_000):
        recorder.add(index, BEGAN + index, [reading(f"e{n}", index, 1) for n in range(100)])
    recorder.check_invariants()
    known = recorder.history()
    assert len(known.endpoints) * len(known.at) <= 8 * MOST_POINTS


def test_the_stored_form_is_the_same_history():
    known = recorded([(index * 3, index % 7) for index in range(300)]).history()
    again = unpack(pack(known))
    assert again.at == known.at
    assert again.endpoints[0].answered == known.endpoints[0].answered
    assert again.endpoints[0].in_flight.mean == pytest.approx(known.endpoints[0].in_flight.mean, abs=0.01)
    assert unpack(pack(History())) == History()


def test_a_damaged_stored_form_is_refused():
    known = recorded([(index, 1) for index in range(9)]).history()
    uneven = History(known.at, known.until, known.active_s[:1], known.endpoints)
    for data in (b"", b"no", pack(known)[:-9], pack(uneven)):
        with pytest.raises(ValueError, match="a stored history"):
            unpack(data)


def test_endpoints_that_come_with_a_new_life_leave_fewer_points_at_once():
    recorder, answered = HistoryRecorder(), 0
    while len(recorder.history().at) < MOST_POINTS - 1:
        answered += 1
        recorder.add(0.5 * answered, BEGAN + 0.5 * answered, [reading("main", answered, 4)])
    again = HistoryRecorder(recorder.history())
    again.add(0.0, BEGAN + 1_000, [reading(name) for name in "abcdefgh"])
    again.check_invariants()
    known = again.history()
    assert [series.name for series in known.endpoints] == ["main", *"abcdefgh"]
    assert sum(known.endpoints[0].answered) == answered

"""The stored history of endpoints becomes sentences and plots."""

from actors.core.metrics.history import EndpointHistory, GaugeHistory, History
from cluster.page.limits import limit_courses, limit_series


def gauge(*values):
    return GaugeHistory(values, tuple(map(float, values)), values)


def endpoint(name, answered, cuts, limit, queued=(0, 0, 0)):
    none = (0, 0, 0)
    counts = (answered, cuts, none, none, cuts)
    return EndpointHistory(name, *counts, gauge(*limit), gauge(1, 2, 3), gauge(*queued))


HISTORY = History(
    at=(100.0, 110.0, 500.0),
    until=(110.0, 120.0, 510.0),
    active_s=(10.0, 10.0, 10.0),
    endpoints=(
        endpoint("idle", (0, 0, 0), (0, 0, 0), (9, 9, 9)),
        endpoint("slow", (1, 1, 1), (0, 2, 1), (8, 4, 6), queued=(5, 0, 0)),
        endpoint("fast", (9, 9, 9), (0, 0, 0), (0, 16, 32)),
    ),
)


def test_the_course_of_an_endpoint_says_how_its_limit_went_and_how_long_calls_waited():
    fast, slow = limit_courses(HISTORY)
    assert (fast.endpoint, fast.first, fast.least, fast.most, fast.last, fast.cuts) == (
        "fast",
        16,
        16,
        32,
        32,
        0,
    )
    assert (slow.first, slow.least, slow.most, slow.last, slow.cuts, slow.refused) == (8, 4, 8, 6, 3, 3)
    assert round(slow.waited, 3) == 0.333


def test_a_plot_has_a_gap_where_no_dispatcher_was_running():
    _, slow = limit_series(HISTORY, 100.0)
    assert slow["t"] == [5.0, 15.0, 210.0, 405.0]
    assert slow["limit"] == [8.0, 4.0, None, 6.0]


def test_a_run_of_an_earlier_version_has_no_course():
    assert limit_courses(None) == limit_series(None, 0.0) == []

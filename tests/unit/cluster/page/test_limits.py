"""The stored history of endpoints becomes plots."""

from actors.core.metrics.history import EndpointHistory, GaugeHistory, History
from cluster.page.limits import limit_series


def gauge(*values):
    return GaugeHistory(values, tuple(map(float, values)), values)


def endpoint(name, answered, cuts, limit, queued=(0, 0, 0)):
    none = (0, 0, 0)
    counts = (answered, cuts, none, none, cuts)
    return EndpointHistory(name, *counts, gauge(*limit), gauge(*answered), gauge(*queued))


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


def test_a_plot_has_a_gap_where_no_dispatcher_was_running():
    fast, slow = limit_series(HISTORY, 100.0)
    assert (fast["name"], slow["name"]) == ("fast", "slow")
    assert slow["t"] == [5.0, 15.0, 210.0, 405.0]
    assert slow["limit"] == [8.0, 4.0, None, 6.0]


def test_points_that_follow_within_a_second_have_no_gap_between_them():
    history = History(at=(0.0, 10.0, 20.9, 32.0), until=(10.0, 20.0, 30.0, 40.0), active_s=(10.0,) * 4)
    assert history.gaps == (3,)


def test_a_run_of_an_earlier_version_has_no_plot():
    assert limit_series(None, 0.0) == []

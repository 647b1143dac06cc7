"""The history shows each end of an attempt once, and the calls that wait for an endpoint."""

from __future__ import annotations

from actors.core.errors import FailureKind
from actors.core.metrics.history import COUNTS
from tests.unit.support.dispatch_desk import Desk, call

BEGAN = 1.7e9


def observe(desk, *, always=True):
    desk.state.observe(desk.now, BEGAN + desk.now, always=always)
    return desk.known.history


def counts(series):
    return {name: total for name in COUNTS if (total := sum(getattr(series, name)))}


def test_each_end_is_counted_once_by_what_it_meant():
    desk = Desk(slots=8)
    desk.offer(*(call(f"k{index}") for index in range(6)))
    observe(desk)
    desk.end("k0")
    desk.end("k1", FailureKind.REFUSED)
    desk.end("k2", FailureKind.TRANSIENT)
    desk.end("k3", FailureKind.IN_DOUBT)
    desk.end("k4", FailureKind.UNUSABLE)  # it is billed, as an answer is
    (main,) = observe(desk).endpoints
    assert counts(main) == {"answered": 2, "refused": 1, "failed": 1, "in_doubt": 1, "cuts": 1}
    desk.end("k5")
    assert counts(observe(desk).endpoints[0])["answered"] == 3


def test_what_waits_is_counted_at_each_endpoint_that_it_may_use():
    desk = Desk(slots=1, endpoints=("a", "b"))
    only_b = [call(f"b{index}", endpoints=("b",)) for index in range(4)]
    desk.offer(*only_b, *(call(f"k{index}") for index in range(5)))
    observe(desk)
    desk.now += 1.0
    queued = {series.name: series.queued.most[-1] for series in observe(desk).endpoints}
    assert queued == {"a": 4, "b": 7}
    assert [series.in_flight.most[-1] for series in desk.known.history.endpoints] == [1, 1]


def test_the_history_begins_with_the_first_call_and_is_sampled_at_most_four_times_a_second():
    desk = Desk()
    assert observe(desk).endpoints == ()
    desk.offer(call("k1"))
    for _ in range(100):
        desk.now += 0.01
        observe(desk, always=False)
    desk.state.check_invariants()
    assert 0.7 < sum(desk.known.history.active_s) <= 1.0


def test_an_absorbed_refusal_is_no_failure():
    desk = Desk()
    desk.offer(call("k1"))
    desk.end("k1", FailureKind.REFUSED)
    assert desk.known.recent_failures == ()
    assert desk.known.endpoints[0].refused == 1

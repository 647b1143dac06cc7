"""What a run says limits its speed: an endpoint that fails or is silent is named with its cause."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors.core.limits.breaker import BreakerState
from cluster.run.speed_limit import SpeedLimit


def known(
    *,
    in_flight=40,
    ended=0,
    reused=0,
    mean_s=0.0,
    breaker=BreakerState.CLOSED,
    last_failure="",
    is_failing=False,
    trouble="",
):
    endpoint = SimpleNamespace(
        name="main",
        breaker=breaker,
        last_failure=last_failure,
        limiter=SimpleNamespace(in_flight=in_flight),
        attempts=SimpleNamespace(answer_s=mean_s, outcomes={"reused": reused}),
        answered=ended,
        is_failing=is_failing,
    )
    dispatcher = SimpleNamespace(endpoints=(endpoint,), binding="the limit of main: 40 in flight")
    journal = SimpleNamespace(trouble=trouble)
    return SimpleNamespace(journal=journal, dispatcher=dispatcher, sources=(), pipelines=())


@pytest.mark.parametrize(
    ("fetches", "breaker", "active", "binding", "text"),
    [
        (
            0,
            BreakerState.CLOSED,
            4,
            "too few tasks",
            "limits.active_tasks: no more than 4 tasks may be in progress",
        ),
        (0, BreakerState.CLOSED, 3, "too few tasks", "too few tasks"),
        (3, BreakerState.CLOSED, 4, "too few tasks", "source slow: most tasks in progress wait for it"),
        (3, BreakerState.CLOSED, 4, "the limit of main: 40 in flight", "the limit of main: 40 in flight"),
        (
            3,
            BreakerState.OPEN,
            4,
            "too few tasks",
            "slow: HTTP 500; source slow, which is down: its fetches wait",
        ),
    ],
)
def test_where_no_call_waits_the_source_or_the_limit_of_tasks_is_named(
    fetches, breaker, active, binding, text
):
    known = SimpleNamespace(
        journal=None,
        dispatcher=SimpleNamespace(endpoints=(), binding=binding),
        sources=(
            SimpleNamespace(name="slow", breaker=breaker, in_flight=fetches, last_error="HTTP 500"),
            SimpleNamespace(name="quick", breaker=BreakerState.CLOSED, in_flight=0, last_error=None),
        ),
        pipelines=(SimpleNamespace(active=active - 1), SimpleNamespace(active=1)),
    )
    assert SpeedLimit(active_tasks=4).text(known, 0.0) == text


@pytest.mark.parametrize("breaker", [BreakerState.OPEN, BreakerState.HALF_OPEN])
def test_the_last_failure_of_an_endpoint_is_named_while_its_breaker_is_not_closed(breaker):
    text = SpeedLimit().text(known(breaker=breaker, last_failure="no connection: refused"), 0.0)
    assert text == "main: no connection: refused; the limit of main: 40 in flight"


def test_a_failure_is_not_named_while_the_breaker_is_closed_and_a_long_one_is_cut():
    assert SpeedLimit().text(known(last_failure="lost"), 0.0) == "the limit of main: 40 in flight"
    text = SpeedLimit().text(known(breaker=BreakerState.OPEN, last_failure="x" * 500), 0.0)
    assert len(text) < 200
    assert text.endswith("; the limit of main: 40 in flight")


@pytest.mark.parametrize(("mean_s", "shown_after_s"), [(0.0, 10.0), (2.0, 10.0), (20.0, 60.0)])
def test_an_endpoint_that_is_silent_for_unusually_long_is_named(mean_s, shown_after_s):
    limit = SpeedLimit()
    limit.text(known(mean_s=mean_s), 0.0)
    assert "no answer" not in limit.text(known(mean_s=mean_s), shown_after_s - 0.1)
    text = limit.text(known(mean_s=mean_s), shown_after_s)
    assert text == f"no answer from main for {shown_after_s:.0f} s; the limit of main: 40 in flight"
    assert "no answer" not in limit.text(known(mean_s=mean_s, ended=1), shown_after_s + 1)


@pytest.mark.parametrize(
    ("last_failure", "in_flight"), [("HTTP 429: slow down", 0), ("no answer within 60 s", 4)]
)
def test_an_endpoint_that_only_refuses_or_times_out_is_named_with_its_last_failure(last_failure, in_flight):
    limit = SpeedLimit()
    limit.text(known(in_flight=1), 0.0)
    failing = known(in_flight=in_flight, is_failing=True, last_failure=last_failure)
    assert last_failure not in limit.text(failing, 9.0)
    assert not limit.is_outage
    text = limit.text(failing, 40.0)
    assert text.startswith(f"no answer from main for 40 s: {last_failure}; the limit of main")
    assert limit.is_outage
    assert last_failure not in limit.text(known(ended=1, last_failure=last_failure), 41.0)
    assert not limit.is_outage


def test_an_endpoint_with_nothing_in_flight_is_not_silent():
    limit = SpeedLimit()
    for now in (0.0, 100.0):
        assert "no answer" not in limit.text(known(in_flight=0), now)
    assert "no answer" not in limit.text(known(), 101.0)


def test_an_endpoint_whose_calls_get_earlier_answers_is_not_silent():
    limit = SpeedLimit()
    for reused in range(5):
        assert "no answer" not in limit.text(known(reused=reused), 100.0 * reused)


def test_an_unavailable_store_comes_first():
    failing = known(breaker=BreakerState.OPEN, last_failure="lost", trouble="the disk is full")
    assert SpeedLimit().text(failing, 0.0) == "the store: the disk is full"
    assert SpeedLimit().text(SimpleNamespace(journal=None, dispatcher=None), 0.0) == (
        "the dispatcher does not answer"
    )

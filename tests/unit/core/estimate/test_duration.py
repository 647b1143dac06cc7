"""How long a job takes: the slowest bound of the slowest endpoint."""

from __future__ import annotations

import pytest

from actors.core.estimate.duration import EndpointLoad, slowest


def test_a_rate_of_requests_sets_the_time():
    load = EndpointLoad(6_000, 10_000, requests_per_minute=600, tokens_per_minute=1_000_000)
    assert slowest([load]) == (600.0, "requests a minute")


def test_a_rate_of_tokens_sets_the_time():
    load = EndpointLoad(60, 4_000_000, requests_per_minute=600, tokens_per_minute=100_000)
    assert slowest([load]) == (2400.0, "tokens a minute")


def test_latency_and_the_limit_set_the_time_where_no_rate_does():
    assert slowest([EndpointLoad(1_000, 0, in_flight=10, latency_s=2.0)]) == (
        200.0,
        "latency and requests in flight",
    )


def test_endpoints_work_at_the_same_time():
    fast = EndpointLoad(100, 0, requests_per_minute=60)
    slow = EndpointLoad(100, 0, requests_per_minute=30)
    assert slowest([fast, slow])[0] == pytest.approx(200.0)


def test_without_a_bound_nothing_is_known():
    assert slowest([EndpointLoad(1_000, 5_000, in_flight=10)]) == (0.0, "")

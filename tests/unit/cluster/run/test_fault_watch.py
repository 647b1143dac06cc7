"""When a fault of all endpoints stops a run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors.core.errors import Blame, Failure, FailureKind
from cluster.run.fault_watch import FaultWatch

KEY = Failure(FailureKind.MISCONFIGURED, Blame.CONFIG, "main refuses the key; set api_key")
AWAY = Failure(FailureKind.TRANSIENT, Blame.ENDPOINT, "main was never reached")


def seen(fault, completed=0, **faults):
    endpoints = [SimpleNamespace(name=name, fault=it) for name, it in faults.items()]
    return SimpleNamespace(stopped_by=fault, completed=completed, endpoints=endpoints)


def looked(*script):
    """Return what is said of each of `script`, seen a second apart."""
    watch = FaultWatch()
    return [watch.look(each, float(second)) for second, each in enumerate(script)]


@pytest.mark.parametrize("fault", [KEY, AWAY])
def test_a_fault_that_stands_stops_the_run_within_seconds(fault):
    assert looked(*[seen(fault)] * 5) == [None, None, None, fault, fault]


def test_a_fault_that_passes_does_not():
    assert looked(seen(KEY), seen(KEY), seen(None), seen(KEY), seen(KEY), seen(KEY)) == [None] * 6


def test_the_fault_of_one_endpoint_is_told_once_while_the_run_can_use_others():
    watch = FaultWatch()

    assert list(watch.news(seen(None, main=KEY, other=None))) == [KEY.message]
    assert list(watch.news(seen(None, main=KEY, other=None))) == []
    assert list(watch.news(seen(None, main=None, other=AWAY))) == [AWAY.message]
    assert list(watch.news(seen(KEY, third=KEY))) == [], "the run stops, and says why"
    assert list(watch.news(None)) == []


def test_a_key_that_is_revoked_in_the_middle_of_a_run_stops_it():
    assert looked(seen(None, 5), *[seen(KEY, 5)] * 4)[-1] == KEY


def test_a_network_that_goes_away_in_the_middle_of_a_run_is_waited_for_also_by_another_dispatcher():
    assert looked(seen(None, 5), *[seen(AWAY, 0)] * 30) == [None] * 31


def test_a_dispatcher_that_does_not_answer_says_nothing_of_a_fault():
    assert looked(seen(KEY), seen(KEY), None, seen(KEY), seen(KEY)) == [None] * 5

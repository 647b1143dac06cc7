"""What callers are shown, and when the service says that it is not ready."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limits.breaker import BreakerState
from actors.core.messages.journal import GroupView, TaskTally
from actors.core.messages.tasks import TaskState
from actors.core.messages.values import CallCounts, Usage
from cluster.assembly.topology import TopologyStatistics
from cluster.http.routes.views import batch_document, dumped, moment, pipeline_document, reasons_not_ready
from tests.unit.support.dispatch_desk import Desk, call

FAULT = Failure(FailureKind.MISCONFIGURED, Blame.CONFIG, "main refuses the key")


def known(
    *,
    trouble="",
    breakers=(BreakerState.CLOSED,),
    pipelines=2,
    sources=1,
    dispatcher=True,
    journal=True,
    stopped_by=None,
):
    endpoints = tuple(SimpleNamespace(name=f"e{n}", breaker=state) for n, state in enumerate(breakers))
    return TopologyStatistics(
        SimpleNamespace(trouble=trouble) if journal else None,
        SimpleNamespace(endpoints=endpoints, stopped_by=stopped_by) if dispatcher else None,
        (SimpleNamespace(),) * pipelines,
        (SimpleNamespace(),) * sources,
    )


@pytest.mark.parametrize("breakers", [(BreakerState.CLOSED,), (BreakerState.OPEN, BreakerState.HALF_OPEN)])
def test_it_is_ready_while_one_endpoint_may_be_asked(breakers):
    assert reasons_not_ready(known(breakers=breakers), 2, 1) == []


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"trouble": "the disk is full"}, "the disk is full"),
        ({"journal": False}, "the journal does not answer"),
        ({"dispatcher": False}, "the dispatcher does not answer"),
        ({"breakers": (BreakerState.OPEN, BreakerState.OPEN)}, "e0, e1"),
        ({"stopped_by": FAULT}, "no call can be answered: main refuses the key"),
        ({"pipelines": 1}, "1 of 2 pipelines"),
        ({"sources": 0}, "1 of 1 sources"),
    ],
)
def test_it_is_not_ready_and_says_why(state, reason):
    (told,) = reasons_not_ready(known(**state), 2, 1)
    assert reason in told


def test_the_pipeline_shows_the_calls_of_the_dispatcher_and_those_that_failed_once_given_up():
    desk = Desk(slots=1)
    desk.offer(call("k1"))
    desk.end("k1", FailureKind.REFUSED)
    counts = CallCounts(planned=9, billed=5, failed=7, in_doubt=1)
    dispatcher = SimpleNamespace(
        binding="too few tasks", stopped_by=None, queued=1, waiting=2, completed=3, failed=4, calls=counts,
        usage=Usage(10, 20, 0.5), recent_failures=(),
        endpoints=desk.known.endpoints,
    )  # fmt: skip
    shown = pipeline_document(TopologyStatistics(None, dispatcher, (), ()), {}, is_priced=True)
    assert shown["calls"] == {
        "planned": 9,
        "billed": 5,
        "in_doubt": 1,
        "unusable": 0,
        "refused": 1,
        "reused": 0,
        "estimated": 0,
        "queued": 1,
        "waiting": 2,
        "completed": 3,
        "failed": 4,
    }
    (endpoint,) = shown["endpoints"]
    assert (endpoint["refused"], endpoint["last_failure"]) == (1, "said the test")
    assert (shown["tokens"], shown["cost_usd"]) == (Usage(10, 20).kinds(), 0.5)


def test_the_pipeline_shows_the_tasks_of_all_pipelines_by_state():
    pipelines = tuple(
        SimpleNamespace(
            active=1, accepted=1, ended=1, drain_per_s=1.0, tenants={}, states={TaskState.FAILED: count}
        )
        for count in (2, 3)
    )
    shown = pipeline_document(TopologyStatistics(None, None, pipelines, ()), {}, is_priced=True)
    assert (shown["tasks"]["active"], shown["tasks"]["states"]) == (2, {"failed": 5})


def test_a_batch_has_ended_once_all_that_was_accepted_has():
    assert batch_document(GroupView("b", TaskTally(accepted=2, succeeded=1)))["state"] == "running"
    assert batch_document(GroupView("b", TaskTally(accepted=2, succeeded=1, failed=1)))["state"] == "partial"


def test_times_are_told_as_the_web_has_them():
    assert moment(0.5) == "1970-01-01T00:00:00.500Z"
    assert moment(None) is None


def test_text_that_is_no_unicode_is_escaped():
    assert dumped({"a": "\ud800"}) == b'{"a":"\\ud800"}'
    assert dumped({"a": "é"}) == '{"a":"é"}'.encode()

"""Tasks, reports, events and statistics as the JSON documents of the answers."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

import orjson
from msgspec.structs import asdict, replace

from actors.core.dispatch.endpoint import EndpointStatistics
from actors.core.limits.breaker import BreakerState
from actors.core.messages.journal import AttemptView, GroupView, LoggedEvent, TaskView
from actors.core.messages.tasks import Report
from actors.core.messages.values import Json, Priority
from actors.core.metrics.history import EndpointHistory, GaugeHistory, History
from actors.core.task.reports import report_line
from actors.sources.actor import SourceStatistics
from cluster.assembly.constraint import binding
from cluster.assembly.topology import TopologyStatistics
from cluster.http.guard.tenants import EVERYBODY, Space
from cluster.http.routes.identifiers import id_of
from cluster.report.summary import state_of

_LIMITS_OF_ALL = (
    "active_tasks",
    "accepted_tasks",
    "task_deadline_s",
)  # budgets and tenants are the operator's


def dumped(document: Json) -> bytes:
    """Return a document as JSON. Lone surrogates, which a source or model may have written, are escaped."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return json.dumps(document, separators=(",", ":")).encode()


def moment(seconds: float | None) -> str | None:
    """Return a time in seconds since 1970 in the format of RFC 3339."""
    if seconds is None:
        return None
    return (
        dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def task_links(key: str) -> dict[str, str]:
    """Return the addresses of a task, its report and its events."""
    base = f"/v1/tasks/{id_of(key)}"
    return {"self": base, "result": f"{base}/result", "events": f"{base}/events"}


def task_document(
    view: TaskView, report: Report | None = None, *, space: Space = EVERYBODY, is_priced: bool
) -> dict[str, Json]:
    """Return a task: its state and times, and the calls, tokens and cost of one that has ended."""
    key = space.outside(view.key)
    document: dict[str, Json] = {
        "id": id_of(key),
        "key": key,
        "state": view.state,
        "params": view.params,
        "priority": Priority(view.priority).name.lower(),
        "batch": space.outside(view.group) or None,
        "accepted_at": moment(view.accepted_at),
        "ended_at": moment(view.ended_at),
        "links": task_links(key),
    }
    if report is not None:
        document["elapsed_s"] = round(report.elapsed_s, 3)
        document["calls"] = asdict(report.calls)
        document["tokens"] = report.usage.kinds()
        document["cost_usd"] = report.usage.known_cost(is_priced=is_priced)
    return document


def report_document(
    report: Report, space: Space = EVERYBODY, *, is_priced: bool, with_items: bool = False
) -> Mapping[str, Json]:
    """Return a report as a result file has it, and with its items if they are asked for."""
    document = report_line(replace(report, key=space.outside(report.key)), is_priced=is_priced)
    if with_items:
        document["items"] = [
            {
                "source": item.source,
                "item": item.item_id,
                "state": item.state.value,
                "values": item.values,
                "error": None if item.error is None else str(item.error),
                "cost_usd": item.usage.known_cost(is_priced=is_priced),
            }
            for item in report.items
        ]
    return document


def attempt_document(attempt: AttemptView, *, is_priced: bool) -> dict[str, Json]:
    """Return an attempt."""
    return {
        "call": attempt.call_key,
        "number": attempt.number,
        "endpoint": attempt.endpoint,
        "began_at": moment(attempt.began_at),
        "ended_at": moment(attempt.ended_at),
        "outcome": attempt.outcome,
        "message": attempt.message,
        "billed": attempt.billed,
        "in_doubt": attempt.in_doubt,
        "hedge": attempt.is_hedge,
        "repeats": attempt.repeats,
        "tokens": attempt.usage.kinds(),
        "cost_usd": attempt.usage.known_cost(is_priced=is_priced),
    }


def event_document(event: LoggedEvent, space: Space = EVERYBODY) -> dict[str, Json]:
    """Return an event."""
    return {
        "task": id_of(space.outside(event.task)),
        "at": moment(event.at),
        "kind": event.kind,
        "data": event.data,
    }


def batch_document(view: GroupView, space: Space = EVERYBODY) -> dict[str, Json]:
    """Return the progress of a batch."""
    batch = space.outside(view.group)
    base = f"/v1/batches/{batch}"
    return {
        "id": batch,
        "state": state_of(view.tasks).value if view.tasks.ended >= view.tasks.accepted else "running",
        "tasks": asdict(view.tasks),
        "links": {"self": base, "events": f"{base}/events"},
    }


def pipeline_document(
    known: TopologyStatistics, configured_limits: Mapping[str, Json], *, is_priced: bool
) -> dict[str, Json]:
    """Return the state of the actors; an actor that does not answer is null or missing."""
    dispatcher, journal = known.dispatcher, known.journal
    active_tasks = configured_limits.get("active_tasks")
    return {
        "binding": binding(known, active_tasks if isinstance(active_tasks, int) else None),
        "stopped_by": dispatcher.stopped_by.message if dispatcher and dispatcher.stopped_by else None,
        "tasks": {
            "active": sum(each.active for each in known.pipelines),
            "accepted": sum(each.accepted for each in known.pipelines),
            "ended": sum(each.ended for each in known.pipelines),
            "drain_per_s": round(sum(each.drain_per_s for each in known.pipelines), 3),
            "states": _summed(known),
        },
        "limits": configured_limits,
        "calls": None
        if dispatcher is None
        else {
            "queued": dispatcher.queued,
            "waiting": dispatcher.waiting,
            "completed": dispatcher.completed,
            "failed": dispatcher.failed,
            **{name: count for name, count in asdict(dispatcher.calls).items() if name != "failed"},
            "refused": sum(each.refused for each in dispatcher.endpoints),  # those of open calls too
        },
        "tokens": None if dispatcher is None else dispatcher.usage.kinds(),
        "cost_usd": None if dispatcher is None else dispatcher.usage.known_cost(is_priced=is_priced),
        "endpoints": [_endpoint(each) for each in (dispatcher.endpoints if dispatcher else ())],
        "sources": [_source(each) for each in known.sources],
        "recent_failures": list(dispatcher.recent_failures) if dispatcher else [],
        "journal": None
        if journal is None
        else {
            "trouble": journal.trouble,
            "queued": journal.queued,
            "commits": journal.commits,
            "commit_p50_s": round(journal.commit_p50_s, 5),
            "commit_p99_s": round(journal.commit_p99_s, 5),
        },
    }


def _endpoint(known: EndpointStatistics) -> dict[str, Json]:
    return {
        "name": known.name,
        "breaker": known.breaker.value,
        "limit": known.limiter.limit,
        "in_flight": known.limiter.in_flight,
        "waiting": known.waiting,
        "mode": _plain(known.limiter.mode),
        "last_cut": known.limiter.last_cut_why,
        "succeeded": known.succeeded,
        "refused": known.refused,
        "failed": known.failed,
        "fault": known.fault and known.fault.message,
        "last_failure": known.last_failure if known.is_failing else None,
    }


def _source(known: SourceStatistics) -> dict[str, Json]:
    return {
        "name": known.name,
        "breaker": known.breaker.value,
        "in_flight": known.in_flight,
        "fetched": known.fetched,
        "failed": known.failed,
        "last_error": known.last_error,
    }


def pipeline_document_of_tenant(
    known: TopologyStatistics, configured_limits: Mapping[str, Json], tenant: str
) -> dict[str, Json]:
    """Return the state that one of several callers may see: its own tasks, and the health of shared parts."""
    whole = pipeline_document(known, configured_limits, is_priced=True)
    shown = whole["binding"]
    for each in whole["endpoints"]:
        if each["fault"]:  # it may quote the prompt of another caller
            shown = shown.replace(each["fault"], f"endpoint {each['name']} answers no call")
    return {
        "binding": shown,
        "stopped_by": "no call can be answered now" if whole["stopped_by"] else None,
        "tasks": {"unfinished": sum(each.tenants.get(tenant, 0) for each in known.pipelines)},
        "limits": {name: configured_limits[name] for name in _LIMITS_OF_ALL},
        "calls": None,
        "tokens": None,
        "cost_usd": None,
        "endpoints": [
            {name: each[name] for name in ("name", "breaker", "limit", "in_flight", "refused")}
            for each in whole["endpoints"]
        ],
        "sources": [{name: each[name] for name in ("name", "breaker")} for each in whole["sources"]],
        "recent_failures": [],
        "journal": None,
    }


def history_document(history: History, *, is_shared: bool) -> dict[str, Json]:
    """Return the history of the endpoints.

    `is_shared`: the caller is one of several, and sees what `pipeline_document_of_tenant` shows it now.
    """
    return {
        "at": history.at,
        "until": history.until,
        "active_s": history.active_s,
        "gaps": history.gaps,
        "endpoints": [_endpoint_history(each, is_shared=is_shared) for each in history.endpoints],
    }


def _endpoint_history(series: EndpointHistory, *, is_shared: bool) -> dict[str, Json]:
    document: dict[str, Json] = {
        "name": series.name,
        "limit": _gauge(series.limit),
        "in_flight": _gauge(series.in_flight),
        "refused": series.refused,
        "cuts": series.cuts,
    }
    if not is_shared:
        document |= {
            "queued": _gauge(series.queued),
            "answered": series.answered,
            "failed": series.failed,
            "in_doubt": series.in_doubt,
        }
    return document


def _gauge(gauge: GaugeHistory) -> dict[str, Json]:
    return {"least": gauge.least, "mean": [round(mean, 2) for mean in gauge.mean], "most": gauge.most}


def reasons_not_ready(known: TopologyStatistics, pipelines: int, sources: int) -> list[str]:
    """Return why tasks would make no progress now; empty if they would."""
    reasons = []
    if known.journal is None:
        reasons.append("the journal does not answer")
    elif known.journal.trouble:
        reasons.append(f"the store: {known.journal.trouble}")
    if known.dispatcher is None:
        reasons.append("the dispatcher does not answer")
    elif known.dispatcher.stopped_by is not None:
        reasons.append(f"no call can be answered: {known.dispatcher.stopped_by.message}")
    elif known.dispatcher.endpoints and all(
        each.breaker is BreakerState.OPEN for each in known.dispatcher.endpoints
    ):
        names = ", ".join(each.name for each in known.dispatcher.endpoints)
        reasons.append(f"the breaker of every endpoint is open: {names}")
    if len(known.pipelines) < pipelines:
        reasons.append(f"{pipelines - len(known.pipelines)} of {pipelines} pipelines do not answer")
    if len(known.sources) < sources:
        reasons.append(f"{sources - len(known.sources)} of {sources} sources do not answer")
    return reasons


def _summed(known: TopologyStatistics) -> dict[str, int]:
    sums: dict[str, int] = {}
    for each in known.pipelines:
        for state, count in each.states.items():
            sums[state.value] = sums.get(state.value, 0) + count
    return sums


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value

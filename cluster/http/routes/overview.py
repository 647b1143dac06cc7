"""Serves the overview: the history of the endpoints, and the causes of failures."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from actors.core.errors import HeadraceError
from actors.core.messages.journal import ReadFailures, ReadRun, RunView
from actors.core.messages.tasks import Report, TaskState
from actors.core.messages.values import Json
from actors.core.metrics.history import History
from cluster.http.guard.problems import ApiProblem, of_error
from cluster.http.routes import views
from cluster.http.routes.documents import FailuresDocument, HistoryDocument, problems
from cluster.http.routes.gateway import Gateway
from cluster.http.routes.recent_answers import RecentAnswers
from cluster.http.routes.tasks import answer, asked, gateway_of, space_of
from cluster.report.failures import FailureCounts

router = APIRouter(tags=["service"])

_LATEST = 20_000  # tasks whose failures are looked at
_MOST_REPORTS = 500  # of each state


@router.get(
    "/v1/history",
    summary="Show what it did",
    responses={200: {"model": HistoryDocument, "description": "The history so far."}, **problems()},
)
async def get_history(request: Request) -> Response:
    """Return limit, in flight, queue and outcomes of each endpoint over time, over all restarts.

    With more than one token: limits, attempts in flight, refusals and cuts.
    """
    try:
        known = await gateway_of(request).statistics()
    except (HeadraceError, TimeoutError) as error:
        raise of_error(error) from error
    if known.dispatcher is None:
        raise ApiProblem(503, "unavailable", "the dispatcher does not answer", retry_after_s=2.0)
    history: History = known.dispatcher.history
    return answer(views.history_document(history, is_shared=space_of(request).is_own))


@router.get(
    "/v1/failures",
    summary="Show why tasks failed",
    responses={
        200: {"model": FailuresDocument, "description": "The causes, most frequent first."},
        **problems(),
    },
)
async def get_failures(request: Request) -> Response:
    """Count the causes of the failed and partial tasks among the latest 20,000, up to 500 of each state.

    A refusal or a failed attempt after which the call was answered is no failure. The answer may be 5 s old.
    """
    gateway, owner = gateway_of(request), space_of(request).owner
    recent: RecentAnswers = request.app.state.failures
    return answer(await recent.of(owner, lambda: _failures(gateway, owner)))


async def _failures(gateway: Gateway, owner: str | None) -> dict[str, Json]:
    run: RunView | None = await asked(gateway, ReadRun(gateway.run_id))
    after = -1 if run is None else run.tasks.accepted - 1 - _LATEST
    queries = (
        ReadFailures(gateway.run_id, state.value, max(-1, after), _MOST_REPORTS, owner)
        for state in (TaskState.FAILED, TaskState.PARTIAL)
    )
    pages: list[tuple[Report, ...]] = await asyncio.gather(*(asked(gateway, query) for query in queries))
    counts = FailureCounts()
    for page in pages:
        for report in page:
            counts.add(report)
    causes = [
        {"tasks": cause.tasks, "cause": cause.text, "others": list(cause.others)} for cause in counts.causes()
    ]
    return {"looked_at": sum(map(len, pages)), "causes": causes}

"""The service itself: its state now, its health, its page and its reference."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from actors.core.errors import HeadraceError
from cluster.http.guard import limits
from cluster.http.guard.problems import ApiProblem, of_error
from cluster.http.routes import pages, views
from cluster.http.routes.documents import Health, PipelineDocument, problems
from cluster.http.routes.tasks import answer, gateway_of, space_of

router = APIRouter(tags=["service"])


@router.get(
    "/v1/pipeline",
    summary="Show what it does now",
    responses={200: {"model": PipelineDocument, "description": "The state of the actors now."}, **problems()},
)
async def get_pipeline(request: Request) -> Response:
    """Return limit, in flight, queue, rates, the health of endpoints and sources, recent failures.

    With more than one token: the caller's own tasks, and the health of endpoints and sources.
    """
    gateway = gateway_of(request)
    try:
        known = await gateway.statistics()
    except (HeadraceError, TimeoutError) as error:
        raise of_error(error) from error
    space, configured = space_of(request), gateway.config.limits.model_dump(mode="json")
    if space.is_own:
        document = views.pipeline_document_of_tenant(known, configured, space.tenant)
    else:
        is_priced = gateway.config.llm.is_priced
        document = views.pipeline_document(known, configured, is_priced=is_priced)
    return answer({"name": gateway.config.name, **document})


@router.get(
    "/healthz",
    summary="Is it alive?",
    responses={200: {"model": Health, "description": "The process runs."}, **problems()},
)
async def healthz() -> Response:
    """Return whether this process answers. It needs no token."""
    return answer({"status": "ok"})


@router.get(
    "/readyz",
    summary="Is it ready?",
    responses={200: {"model": Health, "description": "Tasks are accepted and make progress."}, **problems()},
)
async def readyz(request: Request) -> Response:
    """Return whether tasks make progress now: the store works, an endpoint is open, the actors answer."""
    gateway = gateway_of(request)
    try:
        known = await gateway.statistics()
        config = gateway.config
        reasons = views.reasons_not_ready(known, config.cluster.pipelines, len(config.sources))
    except (HeadraceError, TimeoutError) as error:
        reasons = ["no answer in time" if isinstance(error, TimeoutError) else str(error)]
    if reasons:
        text = "; ".join(reasons)[:1000]
        more = {"reasons": reasons}
        raise ApiProblem(503, "not-ready", text, retry_after_s=limits.AWAY_S, more=more)
    return answer({"status": "ready"})


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """Return the live page."""
    return pages.live_page(request)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Return the reference with forms to try requests."""
    return pages.reference(request)

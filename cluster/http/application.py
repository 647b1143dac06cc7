"""The ASGI application: routes behind the API guard, one form for every error, the OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from cluster.http.guard.api_guard import ApiGuard, defect
from cluster.http.guard.auth import Authenticator
from cluster.http.guard.problems import ApiProblem, Fault
from cluster.http.routes import batches as batch_routes
from cluster.http.routes import overview as overview_routes
from cluster.http.routes import service as service_routes
from cluster.http.routes import tasks as task_routes
from cluster.http.routes.documents import EventDocument, ProblemDocument, StreamedEvent, with_content
from cluster.http.routes.gateway import Gateway
from cluster.http.routes.models import TaskRequest
from cluster.http.routes.recent_answers import RecentAnswers

_TITLE = "Headrace"
_ABOUT = (
    "Hand in tasks, follow them, fetch their reports. A task that was answered with 202 is durable and ends "
    "exactly once. Every error is a problem document (RFC 9457). Where a token is configured, send it as "
    "Authorization: Bearer TOKEN."
)
_OPEN_WITHIN_S = 30.0
_FAILURES_AGE_S = 5.0  # they are counted over hundreds of reports
_ROUTERS = (task_routes.router, batch_routes.router, overview_routes.router, service_routes.router)
_REF = "#/components/schemas/{model}"


def make_application(
    tokens: Mapping[str, str], make_gateway: Callable[[], Gateway], *, version: str = "1"
) -> ApiGuard:
    """Return the application. `tokens` maps caller names to digests; `make_gateway` is called at startup."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.gateway = gateway = make_gateway()
        app.state.failures = RecentAnswers(_FAILURES_AGE_S)
        # Without the actors, a replica accepts requests after this time, and answers why it serves none.
        await gateway.opened(_OPEN_WITHIN_S)
        try:
            yield
        finally:
            await gateway.close()

    app = FastAPI(
        title=_TITLE,
        description=_ABOUT,
        version=version,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page loads its script from another address
        redoc_url=None,
        redirect_slashes=False,
    )
    for router in _ROUTERS:
        app.include_router(router)
    handlers: dict[type[Exception], Any] = {
        ApiProblem: _on_problem,
        RequestValidationError: _on_invalid,
        HTTPException: _on_http_error,
        Exception: _on_defect,
    }
    for error, handler in handlers.items():
        app.add_exception_handler(error, handler)
    app.openapi = lambda: _openapi(app, secured=bool(tokens))  # type: ignore[method-assign] # FastAPI's own way
    return ApiGuard(app, Authenticator(tokens))


async def _on_problem(_: Request, error: ApiProblem) -> Response:
    return error.response()


async def _on_invalid(_: Request, error: RequestValidationError) -> Response:
    faults = tuple(Fault(_place(each["loc"]), str(each["msg"])) for each in error.errors()[:100])
    return ApiProblem(422, "invalid", "the request does not fit; see errors", faults).response()


def _place(loc: tuple[Any, ...]) -> str:
    where, *rest = (str(step) for step in loc)
    name = "/".join(rest)
    return f"?{name}" if where == "query" else name


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    """Answer a request that no route accepts: the address or the method does not exist."""
    if error.status_code == 405:
        allowed = _allowed(request)
        text = f"{request.method} is not possible here; {', '.join(allowed)} is"
        return ApiProblem(405, "method", text, headers={"Allow": ", ".join(allowed)}).response()
    if error.status_code == 404:
        return ApiProblem(404, "not-found", "there is nothing at this address; see /docs").response()
    return ApiProblem(error.status_code, "http", str(error.detail)).response()


async def _on_defect(request: Request, _: Exception) -> Response:
    """Answer in place of a route that failed; `ApiGuard` logs the exception under the same id."""
    return defect(request.scope["state"]["request_id"]).response()


def _allowed(request: Request) -> list[str]:
    """Return the methods of all routes that have this path: the framework names those of one route only."""
    return sorted(
        {
            method
            for router in _ROUTERS
            for route in router.routes
            if isinstance(route, APIRoute) and route.matches(request.scope)[0] is not Match.NONE
            for method in route.methods or ()
        }
    )


def _drop_own_validation(schema: dict[str, Any]) -> None:
    """Remove the 422 that FastAPI describes for each route with a parameter: here it has another form.

    A route that can answer 422 describes it itself.
    """
    for operations in schema["paths"].values():
        for operation in operations.values():
            described = operation["responses"].get("422", {}).get("content", {})
            if "application/json" in described:
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)


def _openapi(app: FastAPI, *, secured: bool) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = FastAPI.openapi(app)
        schemas = schema["components"]["schemas"]
        for model in (TaskRequest, ProblemDocument, EventDocument, StreamedEvent):
            described = model.model_json_schema(ref_template=_REF)
            schemas.update(described.pop("$defs", {}))
            schemas[model.__name__] = described
        with_content(schemas["StreamedEvent"])
        _drop_own_validation(schema)
        if secured:
            schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            for path, operations in schema["paths"].items():
                for operation in operations.values() if path.startswith("/v1/") else ():
                    operation["security"] = [{"token": []}]
        app.openapi_schema = schema
    return app.openapi_schema

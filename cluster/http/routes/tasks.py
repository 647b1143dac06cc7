"""Single tasks: submit, look up, follow, fetch the report, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request
from msgspec import Struct
from msgspec.structs import replace
from starlette.responses import Response, StreamingResponse

from actors.core.errors import HeadraceError
from actors.core.journal.rows import ACCEPTED
from actors.core.messages.journal import (
    AttemptView,
    FindTasks,
    LatestTasks,
    LoggedEvent,
    ReadAttempts,
    ReadEvents,
    ReadLatest,
    ReadTask,
    ReadTasks,
    TaskView,
)
from actors.core.messages.tasks import Report, Submit, Task, TaskState
from actors.core.messages.values import Priority
from cluster.http.guard import bodies, limits
from cluster.http.guard.problems import ApiProblem, not_found, of_error
from cluster.http.guard.tenants import Space
from cluster.http.routes import events, views
from cluster.http.routes.accepting import accept, derived, inside_name, submit_of
from cluster.http.routes.documents import (
    STREAM_TYPE,
    AttemptPage,
    ReportDocument,
    TaskAccepted,
    TaskDocument,
    TaskPage,
    event_stream,
    problems,
)
from cluster.http.routes.gateway import Gateway
from cluster.http.routes.identifiers import after_of, cursor_of, key_of
from cluster.http.routes.models import TaskRequest, parsed

router = APIRouter(prefix="/v1/tasks", tags=["tasks"])

TaskId = Annotated[
    str,
    Path(description="the task's key, or ~ and its base64url if the key is not plain", examples=["review-1"]),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=limits.IDEMPOTENCY_CHARACTERS,
        pattern=r"^[!-~]+$",
        description="a request that is repeated with this key takes effect once",
    ),
]
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", pattern=r"^[0-9]{1,18}$", description="continue after this event"),
]
KeyPrefix = Annotated[
    str,
    Query(
        max_length=limits.KEY_CHARACTERS,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="only those whose keys begin so, in order of keys",
    ),
]
State = Literal["accepted", "succeeded", "partial", "failed", "cancelled"]

_EXAMPLE = {"key": "review-1", "params": {"product": "kettle"}, "priority": "interactive"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            bodies.JSON: {"schema": {"$ref": "#/components/schemas/TaskRequest"}, "example": _EXAMPLE}
        },
    }
}


@router.post(
    "",
    status_code=202,
    summary="Submit a task",
    openapi_extra=_BODY,
    responses={
        202: {"model": TaskAccepted, "description": "The task is durable, and will end exactly once."},
        **problems(400, 408, 413, 415, 422, 429),
    },
)
async def post_task(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Answer once the task is durable; from then on it needs neither this connection nor this process."""
    bodies.media_type(request, bodies.JSON)
    _single_header(request, "idempotency-key")
    body = await bodies.whole(request, limits.TASK_BYTES, limits.TASK_WITHIN_S)
    wanted = TaskRequest.checked(parsed(body))
    gateway, tenant, space = gateway_of(request), request.state.tenant, space_of(request)
    name = wanted.key or derived("t-", tenant, idempotency_key)
    try:
        key = await inside_name(gateway, space, name)
        submit = submit_of(wanted, gateway.run_id, tenant, key=key, idempotency=idempotency_key)
        accepted = await accept(gateway, submit)
    except (HeadraceError, TimeoutError) as error:
        raise of_error(error) from error
    links = views.task_links(name)
    document = {
        "id": links["self"].rpartition("/")[2],
        "key": name,
        "state": ACCEPTED if accepted.report is None else accepted.report.state,
        "is_new": accepted.is_new,
        "accepted_at": views.moment(accepted.accepted_at),
        "links": links,
    }
    return answer(document, 202, Location=links["self"])


@router.get(
    "",
    summary="List tasks",
    responses={
        200: {"model": TaskPage, "description": "A page."},
        **problems(400, 422),
    },
)
async def list_tasks(
    request: Request,
    *,
    state: Annotated[State | None, Query(description="only those in this state")] = None,
    key_prefix: KeyPrefix = "",
    order: Annotated[
        Literal["oldest", "newest"], Query(description="by acceptance; with `key_prefix`, by keys")
    ] = "oldest",
    cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
    limit: Annotated[
        int,
        Query(ge=1, le=limits.LARGEST_PAGE, description="tasks of a page at most; fewer if they are large"),
    ] = limits.PAGE,
) -> Response:
    """List tasks. A task older than the first page that keeps its state appears exactly once.

    A page may be short or empty although `next` is not null, if few tasks are in the `state`.
    """
    asked_for = _Listing(state or "", key_prefix, limit, newest=order == "newest" and not key_prefix)
    views_of_page, following = await _listed(request, asked_for, cursor)
    headers = {}
    if following is not None:
        headers["Link"] = f'</v1/tasks?cursor={following}&limit={limit}{asked_for.query()}>; rel="next"'
    space, is_priced = space_of(request), _is_priced(request)
    tasks = [views.task_document(view, space=space, is_priced=is_priced) for view in views_of_page]
    return answer({"tasks": tasks, "next": following}, **headers)


class _Listing(Struct, frozen=True):
    """What a caller lists."""

    state: str
    prefix: str
    limit: int
    newest: bool

    def query(self) -> str:
        """Return what the address of the next page repeats."""
        given = {"state": self.state, "key_prefix": self.prefix, "order": "newest" if self.newest else ""}
        return "".join(f"&{name}={quote(value, safe='')}" for name, value in given.items() if value)


async def _listed(
    request: Request, listing: _Listing, cursor: str | None
) -> tuple[Sequence[TaskView], str | None]:
    """Return a page, and the cursor of the next one."""
    gateway, space = gateway_of(request), space_of(request)
    run_id, state, limit = gateway.run_id, listing.state, listing.limit
    scope = f"{space.inside(run_id)}/{state}/{listing.prefix}{'/newest' if listing.newest else ''}"
    after = -1 if cursor is None else after_of(scope, cursor)
    if listing.newest:
        before = None if cursor is None else after
        latest: LatestTasks = await asked(gateway, ReadLatest(run_id, state, before, limit, space.owner))
        return latest.tasks, None if latest.before is None else cursor_of(scope, latest.before)
    query: ReadTasks | FindTasks
    if listing.prefix:
        query = FindTasks(run_id, space.inside(listing.prefix), after, limit + 1)
    else:
        query = ReadTasks(run_id, state, after, limit + 1, space.owner)
    found: tuple[TaskView, ...] = await asked(gateway, query)
    page, more = found[:limit], len(found) > limit
    if page and not more:  # the page is full by bytes, or it is the last one
        more = bool(await asked(gateway, replace(query, after=page[-1].ordinal, limit=1)))
    following = cursor_of(scope, page[-1].ordinal) if more else None
    return [view for view in page if state in ("", view.state)], following


@router.get(
    "/{task_id}",
    summary="Look up a task",
    responses={200: {"model": TaskDocument, "description": "The task."}, **problems(404)},
)
async def get_task(request: Request, task_id: TaskId) -> Response:
    """Return state and times, and the calls, tokens and cost of a task that has ended."""
    view, report = await found_task(request, task_id)
    return answer(views.task_document(view, report, space=space_of(request), is_priced=_is_priced(request)))


@router.get(
    "/{task_id}/result",
    summary="Fetch a report",
    responses={
        200: {"model": ReportDocument, "description": "The report, also of a task that failed."},
        **problems(404, 409, 410, 422),
    },
)
async def get_result(
    request: Request,
    task_id: TaskId,
    *,
    items: Annotated[bool, Query(description="add the outcome of every item")] = False,
) -> Response:
    """Return the report as a result file has it: 409 until the task has ended, 410 after a cancellation."""
    _, report = await found_task(request, task_id)
    if report is None:
        text = "the task has not ended yet; follow its events, or ask again"
        raise ApiProblem(409, "not-ended", text, retry_after_s=1.0)
    if report.state is TaskState.CANCELLED:
        raise ApiProblem(410, "cancelled", "the task was cancelled and has no report")
    space, is_priced = space_of(request), _is_priced(request)
    return answer(views.report_document(report, space, is_priced=is_priced, with_items=items))


@router.get(
    "/{task_id}/attempts",
    summary="List the attempts of a task",
    responses={200: {"model": AttemptPage, "description": "The attempts, oldest first."}, **problems(404)},
)
async def get_attempts(request: Request, task_id: TaskId) -> Response:
    """Return every attempt at the calls of a task: where, how it ended, what it cost."""
    gateway, (view, _) = gateway_of(request), await found_task(request, task_id)
    query = ReadAttempts(gateway.run_id, view.key, limits.LARGEST_PAGE + 1)
    found: tuple[AttemptView, ...] = await asked(gateway, query)
    page, is_priced = found[: limits.LARGEST_PAGE], _is_priced(request)
    return answer(
        {
            "attempts": [views.attempt_document(each, is_priced=is_priced) for each in page],
            "has_more": len(found) > len(page),
        }
    )


@router.get(
    "/{task_id}/events",
    summary="Follow a task",
    response_class=StreamingResponse,
    responses={
        200: event_stream("Its events, in order."),
        204: {"description": "The task has ended, and all its events were sent."},
        **problems(404, 422, 429),
    },
)
async def get_events(request: Request, task_id: TaskId, last_event_id: LastEventId = None) -> Response:
    """Return server-sent events from the stored log, numbered from 1 without a gap, up to the task's end."""
    gateway = gateway_of(request)
    after = events.last_event_id(last_event_id)
    view, _ = await found_task(request, task_id)
    key, run_id = view.key, gateway.run_id

    async def page(after: int, wait_s: float) -> tuple[LoggedEvent, ...]:
        query = ReadEvents(run_id, key, after, events.PAGE, wait_s)
        found: tuple[LoggedEvent, ...] = await gateway.ask(query, wait_s)
        return found

    async def is_over() -> bool:
        found = await gateway.ask(ReadTask(run_id, key))
        return found is None or found[0].state != ACCEPTED

    if view.state != ACCEPTED and not await asked(gateway, ReadEvents(run_id, key, after, 1)):
        return Response(status_code=204)
    shown = partial(views.event_document, space=space_of(request))
    return streamed(events.stream(page, lambda event: event.task_id, is_over, after, shown))


@router.delete(
    "/{task_id}",
    summary="Cancel a task",
    responses={
        200: {"model": TaskDocument, "description": "The task has ended: as cancelled, or before."},
        **problems(404),
    },
)
async def cancel_task(request: Request, task_id: TaskId) -> Response:
    """Drop queued calls, abort those in flight, and return the final state.

    A task that had ended before keeps its state, which the answer shows: to cancel twice is no error.
    """
    gateway = gateway_of(request)
    view, report = await found_task(request, task_id)
    if report is None:
        try:
            # A pipeline that has just restarted does not know the task yet.
            if await gateway.cancel(view.key) is None:
                await gateway.accept(_again(gateway.run_id, view))
                await gateway.cancel(view.key)
        except (HeadraceError, TimeoutError) as error:
            raise of_error(error) from error
        view, report = await found_task(request, task_id)
    if report is None:
        text = "the task has not ended yet; cancel it once more"
        raise ApiProblem(503, "unavailable", text, retry_after_s=limits.AWAY_S)
    return answer(views.task_document(view, report, space=space_of(request), is_priced=_is_priced(request)))


# ---- what routes share -----------------------------------------------------------------------------------


def _is_priced(request: Request) -> bool:
    return gateway_of(request).config.llm.is_priced


def gateway_of(request: Request) -> Gateway:
    """Return the connection to the actors."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def space_of(request: Request) -> Space:
    """Return the name space of the caller."""
    space: Space = request.state.space
    return space


def answer(document: Any, status: int = 200, /, **headers: str) -> Response:
    """Return a JSON answer."""
    return Response(views.dumped(document), status, {"Cache-Control": "no-store", **headers}, bodies.JSON)


def streamed(frames: Any) -> Response:
    """Return an answer that is a stream of events."""
    return StreamingResponse(frames, media_type=STREAM_TYPE, headers=events.HEADERS)


async def asked(gateway: Gateway, query: Any) -> Any:
    """Return the journal's answer. Raises `ApiProblem`."""
    try:
        return await gateway.ask(query)
    except (HeadraceError, TimeoutError) as error:
        raise of_error(error) from error


async def found_task(request: Request, task_id: str) -> tuple[TaskView, Report | None]:
    """Return a task of the caller's and its report, None until it has ended. Raises `ApiProblem` 404."""
    gateway, space, key = gateway_of(request), space_of(request), key_of(task_id)
    for name in () if key is None else space.candidates(key):
        found: tuple[TaskView, Report | None] | None = await asked(gateway, ReadTask(gateway.run_id, name))
        if found is not None and space.owns(found[0]):
            return found
    raise not_found("task of this id")


def _again(run_id: str, view: TaskView) -> Submit:
    return Submit(
        run_id,
        Task(view.key, view.params),
        view.tenant,
        Priority(view.priority),
        expires_in_s=view.expires_in_s,
        until_accepted=True,
        group=view.group,
    )


def _single_header(request: Request, name: str) -> None:
    if len(request.headers.getlist(name)) > 1:
        raise ApiProblem(422, "invalid", f"the header {name} came more than once")

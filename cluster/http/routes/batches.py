"""Batches: many tasks in one request, read and accepted line by line, in bounded memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response, StreamingResponse

from actors.core.errors import HeadraceError, OverloadedError
from actors.core.messages.journal import (
    Accepted,
    GroupView,
    LoggedEvent,
    ReadEvents,
    ReadGroup,
    ReadTask,
    TaskView,
)
from actors.core.messages.tasks import Report
from actors.core.messages.values import Json, Priority
from cluster.http.guard import bodies, limits
from cluster.http.guard.problems import ApiProblem, Fault, array_too_large, not_found, of_error
from cluster.http.guard.tenants import Space
from cluster.http.routes import events, views
from cluster.http.routes.accepting import accept, derived, inside_name, submit_of
from cluster.http.routes.documents import BatchAccepted, BatchDocument, event_stream, problems
from cluster.http.routes.gateway import Gateway
from cluster.http.routes.models import TaskRequest, parsed
from cluster.http.routes.tasks import (
    IdempotencyKey,
    LastEventId,
    answer,
    asked,
    gateway_of,
    space_of,
    streamed,
)

router = APIRouter(prefix="/v1/batches", tags=["batches"])

BatchId = Annotated[str, Path(description="the id in the answer to the batch", examples=["b-0123456789"])]

_LINE = {"key": "review-1", "params": {"product": "kettle"}}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            bodies.JSON: {
                "schema": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/TaskRequest"},
                    "minItems": 1,
                    "maxItems": limits.ARRAY_TASKS,
                },
                "example": [_LINE],
            },
            bodies.LINES: {"schema": {"type": "string", "description": "a task a line"}},
        },
    }
}


@router.post(
    "",
    status_code=202,
    summary="Submit many tasks",
    openapi_extra=_BODY,
    responses={
        202: {"model": BatchAccepted, "description": "Accepted tasks are durable; refused ones are listed."},
        **problems(400, 408, 413, 415, 422, 429),
    },
)
async def post_batch(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Accept each line by itself. A line for which there is no room waits a while, then it is refused.

    When the request is repeated under the same Idempotency-Key, only lines that were not accepted before are
    new. The batch as a whole is refused only if no line was accepted.
    """
    kind = bodies.media_type(request, bodies.JSON, bodies.LINES)
    tenant, space = request.state.tenant, space_of(request)
    batch = derived("b-", tenant, idempotency_key)
    intake = _Intake(gateway_of(request), tenant, space, batch, idempotency_key)
    entries = _lines(request) if kind == bodies.LINES else _array(request)
    await intake.take_all(entries)
    return intake.answered()


@router.get(
    "/{batch_id}",
    summary="Look up a batch",
    responses={200: {"model": BatchDocument, "description": "Its counts."}, **problems(404)},
)
async def get_batch(request: Request, batch_id: BatchId) -> Response:
    """Return the number of accepted tasks, and of ended tasks by state."""
    return answer(views.batch_document(await _found(request, batch_id), space_of(request)))


@router.get(
    "/{batch_id}/events",
    summary="Follow a batch",
    response_class=StreamingResponse,
    responses={
        200: event_stream("The events of all its tasks, in order."),
        204: {"description": "All its tasks have ended, and all events were sent."},
        **problems(404, 422, 429),
    },
)
async def get_batch_events(
    request: Request, batch_id: BatchId, last_event_id: LastEventId = None
) -> Response:
    """Return server-sent events of all its tasks, up to the end of the last task.

    An id is the event's number in the service's log: other tasks' events leave gaps.
    """
    gateway = gateway_of(request)
    after = events.last_event_id(last_event_id)
    group = (await _found(request, batch_id)).group

    async def page(after: int, wait_s: float) -> tuple[LoggedEvent, ...]:
        query = ReadEvents(gateway.run_id, None, after, events.PAGE, wait_s, group)
        found: tuple[LoggedEvent, ...] = await gateway.ask(query, wait_s)
        return found

    async def is_over() -> bool:
        view: GroupView | None = await gateway.ask(ReadGroup(gateway.run_id, group))
        return view is None or view.tasks.ended >= view.tasks.accepted

    try:
        if await is_over() and not await page(after, 0.0):
            return Response(status_code=204)
    except (HeadraceError, TimeoutError) as error:
        raise of_error(error) from error
    shown = partial(views.event_document, space=space_of(request))
    return streamed(events.stream(page, lambda event: event.id, is_over, after, shown))


async def _found(request: Request, batch_id: str) -> GroupView:
    gateway, space = gateway_of(request), space_of(request)
    fits = len(batch_id) <= 64 and batch_id.isascii() and batch_id.isprintable()
    for name in space.candidates(batch_id) if fits else ():
        view: GroupView | None = await asked(gateway, ReadGroup(gateway.run_id, name))
        if view is not None and (space.is_inside(name) or await _is_of(space, gateway, name)):
            return view
    raise not_found("batch of this id")


async def _is_of(space: Space, gateway: Gateway, group: str) -> bool:
    """Return whether a batch from before callers were separated is this caller's: its first task shows it."""
    first: tuple[LoggedEvent, ...] = await asked(gateway, ReadEvents(gateway.run_id, None, 0, 1, group=group))
    if not first:
        return False
    found: tuple[TaskView, Report | None] | None = await asked(
        gateway, ReadTask(gateway.run_id, first[0].task)
    )
    return found is not None and space.owns(found[0])


# ---- entries ---------------------------------------------------------------------------------------------


async def _lines(request: Request) -> AsyncIterator[tuple[int, Json | ApiProblem]]:
    """Yield each line as a document, or as the problem that it has."""
    async for number, line in bodies.lines(request, limits.batch_bytes(), limits.TASK_BYTES):
        try:
            yield number, line if isinstance(line, ApiProblem) else parsed(line)
        except ApiProblem as problem:
            yield number, problem


async def _array(request: Request) -> AsyncIterator[tuple[int, Json | ApiProblem]]:
    most = limits.ARRAY_BYTES
    document = parsed(await bodies.whole(request, most, limits.BODY_WITHIN_S, array_too_large(most)))
    if not isinstance(document, list) or not 1 <= len(document) <= limits.ARRAY_TASKS:
        text = f"must be an array of 1 to {limits.ARRAY_TASKS:,} tasks; send more as {bodies.LINES}"
        raise ApiProblem(422, "invalid", "the body is not a batch", (Fault("", text),))
    for number, entry in enumerate(document, 1):
        yield number, entry


# ---- taking them in --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Intake:
    """Submits the entries of one batch, several at once, and counts the accepted and the refused."""

    gateway: Gateway
    tenant: str
    space: Space
    batch: str
    idempotency: str | None
    accepted: int = 0
    new: int = 0
    refused: int = 0
    told: list[dict[str, Json]] = field(default_factory=list)
    last: ApiProblem | None = None
    full_until: float = 0.0  # until then no line waits for room: an earlier one waited in vain

    async def take_all(self, entries: AsyncIterator[tuple[int, Json | ApiProblem]]) -> None:
        """Submit all entries. Raises `ApiProblem` if the body is empty."""
        window = asyncio.Semaphore(limits.BATCH_WINDOW)
        async with asyncio.TaskGroup() as working:
            try:
                async for number, entry in entries:
                    await window.acquire()
                    working.create_task(self._take(number, entry)).add_done_callback(
                        lambda _: window.release()
                    )
            except ApiProblem as problem:  # lines before it may be accepted: the answer has to say so
                self._refuse(0, problem)
        if self.accepted + self.refused == 0:
            raise ApiProblem(422, "invalid", "the batch is empty", (Fault("", "must hold a task"),))

    async def _take(self, number: int, entry: Json | ApiProblem) -> None:
        try:
            if isinstance(entry, ApiProblem):
                raise entry
            request = TaskRequest.checked(entry)
            accepted = await self._accept(number, request)
        except ApiProblem as problem:
            self._refuse(number, problem)
        except (HeadraceError, TimeoutError) as error:
            self._refuse(number, of_error(error))
        else:
            self.accepted += 1
            self.new += accepted.is_new

    async def _accept(self, number: int, request: TaskRequest) -> Accepted:
        """Submit an entry, again and again for a while if there is no room."""
        name = request.key or f"{self.batch}-{number}"
        submit = submit_of(
            request,
            self.gateway.run_id,
            self.tenant,
            key=await inside_name(self.gateway, self.space, name),
            idempotency=f"{self.idempotency}#{number}" if self.idempotency else None,
            group=self.space.inside(self.batch),
            priority=Priority.BATCH,
        )
        patient_until = time.monotonic() + limits.PATIENCE_S
        while True:
            try:
                return await accept(self.gateway, submit)
            except OverloadedError as error:
                now = time.monotonic()
                pause_s = min(error.retry_after_s, 1.0)
                if now < self.full_until or now + pause_s > patient_until:
                    self.full_until = now + error.retry_after_s
                    raise
                await asyncio.sleep(pause_s)

    def _refuse(self, number: int, problem: ApiProblem) -> None:
        self.refused += 1
        self.last = problem
        if len(self.told) < limits.TOLD_REFUSALS:
            faults = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in problem.faults)
            detail = f"{problem.detail}: {faults}" if faults else problem.detail
            self.told.append({"line": number, "status": problem.status, "detail": detail[:500]})

    def answered(self) -> Response:
        """Return the answer. Raises `ApiProblem` if no task was accepted."""
        base = f"/v1/batches/{self.batch}"
        counts = {"accepted": self.accepted, "new": self.new, "refused": self.refused}
        if not self.accepted and self.last is not None:
            last = self.last
            raise ApiProblem(
                last.status,
                last.kind,
                f"no task of the batch was accepted; the last: {last.detail}",
                tuple(Fault(f"/{each['line']}", str(each["detail"])) for each in self.told),
                last.retry_after_s,
                last.headers,
                counts,
            )
        links = {"self": base, "events": f"{base}/events"}
        return answer({"id": self.batch, **counts, "errors": self.told, "links": links}, 202, Location=base)

"""Turns a request into a durable task."""

from __future__ import annotations

import hashlib
import secrets

from actors.core.errors import OverloadedError
from actors.core.messages.journal import Accept, Accepted, ReadTask, TaskView
from actors.core.messages.tasks import Report, Submit, Task
from actors.core.messages.values import Priority
from cluster.http.guard.tenants import Space
from cluster.http.routes.gateway import Gateway
from cluster.http.routes.models import TaskRequest

_DIGITS = 24


def derived(prefix: str, tenant: str, idempotency: str | None) -> str:
    """Return a name: the same for the same caller and idempotency key, a new one each time without a key."""
    if idempotency is None:
        return prefix + secrets.token_hex(_DIGITS // 2)
    told = f"{tenant}\0{idempotency}".encode()
    return prefix + hashlib.sha256(told).hexdigest()[:_DIGITS]


async def inside_name(gateway: Gateway, space: Space, name: str) -> str:
    """Return the name in the store of a caller's task.

    A task that this caller submitted before callers were separated keeps its name: it must not run again.
    """
    if space.is_own:
        found: tuple[TaskView, Report | None] | None = await gateway.ask(ReadTask(gateway.run_id, name))
        if found is not None and space.owns(found[0]):
            return name
    return space.inside(name)


def submit_of(
    request: TaskRequest,
    run_id: str,
    tenant: str,
    *,
    key: str,
    idempotency: str | None,
    group: str = "",
    priority: Priority = Priority.INTERACTIVE,
) -> Submit:
    """Return the message to the pipeline. `key` and `group` are names in the store."""
    return Submit(
        run_id,
        Task(key, request.params),
        tenant,
        request.ranked(priority),
        expires_in_s=request.deadline_s or 0.0,
        until_accepted=True,
        group=group,
        idempotency=idempotency or "",
        digest=request.digest() if idempotency else "",
    )


async def accept(gateway: Gateway, submit: Submit) -> Accepted:
    """Return once the task is durable. Raises the error of the pipeline or the journal, or TimeoutError.

    A request that was accepted before gets the same answer again, also while the backlog is full.
    """
    try:
        return await gateway.accept(submit)
    except OverloadedError:
        if not submit.idempotency or await gateway.ask(ReadTask(submit.run_id, submit.task.key)) is None:
            raise
    again = Accept(
        submit.run_id,
        submit.task,
        submit.tenant,
        submit.priority,
        submit.expires_in_s,
        submit.group,
        submit.idempotency,
        submit.digest,
    )
    accepted: Accepted = await gateway.ask(again)
    return accepted

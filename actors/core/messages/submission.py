"""A task on its way to a pipeline: the rules of `messages.py` hold here too."""

from __future__ import annotations

from msgspec import Struct

from actors.core.messages.actors import Priority, Task


class Submit(Struct, frozen=True):
    """To a pipeline: make a report on this task, as part of this run.

    Answered by the `Report`; where `until_accepted` is set, as soon as the task is durable, by `Accepted`.
    `expires_in_s` is 0 for the configured deadline. `group` names tasks that were handed in together.
    `idempotency` names the request, once for each tenant; `digest` tells whether a repetition says the same.
    """

    run_id: str
    task: Task
    tenant: str = ""
    priority: Priority = Priority.BATCH
    expires_in_s: float = 0.0
    until_accepted: bool = False
    group: str = ""
    idempotency: str = ""
    digest: str = ""

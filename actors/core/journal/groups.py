"""Requests with idempotency keys, and groups of tasks that were submitted together.

Neither is cached: each is used once or twice per task.
"""

from __future__ import annotations

from collections.abc import Mapping

from actors.core.errors import TaskConflictError
from actors.core.journal import keys
from actors.core.journal.batch import Codec, Reader
from actors.core.journal.rows import ACCEPTED
from actors.core.journal.turn import OpenTurn
from actors.core.messages.journal import Accept, GroupView, LoggedEvent, TaskTally
from actors.core.messages.tasks import TaskState
from actors.core.messages.values import Json

_EMPTY: Mapping[str, int] = {ACCEPTED: 0, **{state.value: 0 for state in TaskState}}


def check_request(turn: OpenTurn, record: Accept) -> None:
    """Store the digest of a request with an idempotency key. Raises TaskConflictError if it differs."""
    if not record.idempotency:
        return
    key = keys.request(record.run_id, record.tenant, record.idempotency)
    digest = record.digest.encode("utf-8", "surrogatepass")
    before = turn.store.get(key)
    if before is None:
        turn.store.put(key, digest)
    elif before != digest:
        raise TaskConflictError(
            f"the idempotency key {record.idempotency!r} was used with another request; use a new key"
        )


def open_group(turn: OpenTurn, record: Accept) -> None:
    """Create the group of a task, even if the task was accepted before and belongs to another group."""
    if record.group and turn.store.get(keys.group(record.run_id, record.group)) is None:
        turn.store.put(keys.group(record.run_id, record.group), turn.codec.dumps(dict(_EMPTY)))


def count_in_group(turn: OpenTurn, run_id: str, group: str, event: LoggedEvent) -> None:
    """Add an event to the group of its task, and update the group's counts."""
    turn.store.put(keys.group_event(run_id, group, event.id), b"")
    counted, change = {
        "accepted": (ACCEPTED, 1),
        "ended": (event.data.get("state"), 1),
        "reopened": (event.data.get("state"), -1),
    }.get(event.kind, (None, 0))
    if counted is not None:
        counts = _counts(turn.store, turn.codec, run_id, group) or dict(_EMPTY)
        counts[counted] += change
        turn.store.put(keys.group(run_id, group), turn.codec.dumps(counts))


def read_group(reader: Reader, codec: Codec, run_id: str, group: str) -> GroupView | None:
    """Return the counts of a group, None if there is no such group."""
    counts = _counts(reader, codec, run_id, group)
    return None if counts is None else GroupView(group, TaskTally(**counts))


def _counts(reader: Reader, codec: Codec, run_id: str, group: str) -> dict[str, Json] | None:
    data = reader.get(keys.group(run_id, group))
    return None if data is None else dict(codec.loads(data))

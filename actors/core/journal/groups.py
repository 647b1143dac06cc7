"""Requests by name, and groups of tasks that were handed in together, as the journal keeps them.

Both are read and written in the store itself: they are asked for once or twice a task.
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
    """Keep what a named request said. Raises TaskConflictError where it said something else before."""
    if not record.idempotency:
        return
    key = keys.request(record.run_id, record.tenant, record.idempotency)
    digest = record.digest.encode("utf-8", "surrogatepass")
    before = turn.store.get(key)
    if before is None:
        turn.store.put(key, digest)
    elif before != digest:
        raise TaskConflictError(
            f"the idempotency key {record.idempotency!r} was used with another request; use a new one"
        )


def open_group(turn: OpenTurn, record: Accept) -> None:
    """Have the group of a task be known, also where the task was accepted before and counts elsewhere."""
    if record.group and turn.store.get(keys.group(record.run_id, record.group)) is None:
        turn.store.put(keys.group(record.run_id, record.group), turn.codec.dumps(dict(_EMPTY)))


def count_in_group(turn: OpenTurn, run_id: str, group: str, event: LoggedEvent) -> None:
    """Note that an event is about a task of a group, and what it changes in the group's counts."""
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
    """Return the counts of a group, None where there is no such group."""
    counts = _counts(reader, codec, run_id, group)
    return None if counts is None else GroupView(group, TaskTally(**counts))


def _counts(reader: Reader, codec: Codec, run_id: str, group: str) -> dict[str, Json] | None:
    data = reader.get(keys.group(run_id, group))
    return None if data is None else dict(codec.loads(data))

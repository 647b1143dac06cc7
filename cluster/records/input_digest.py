"""Reads a run's input for its digest, which is stored with the run, and finds changes when it is resumed.

Rule: Single tasks are compared only if the digests differ; this takes some hundred bytes a task.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from actors.core.errors import ConfigError
from actors.core.messages.journal import TaskView
from actors.core.messages.tasks import Task
from actors.core.messages.values import Json
from cluster.input.checked_tasks import CheckedTasks
from cluster.input.digest import digest_of

_SHOWN_KEYS = 5


class InputChangedError(ConfigError):
    """The input has tasks of the run with other params than those that the run accepted."""


@dataclass(slots=True)
class _KeySample:
    """The number of tasks in a set, and the first few keys."""

    count: int = 0
    keys: list[str] = field(default_factory=list)

    def add(self, key: str) -> None:
        self.count += 1
        if self.count <= _SHOWN_KEYS:
            self.keys.append(key)

    def __str__(self) -> str:
        more = ", …" if self.count > _SHOWN_KEYS else ""
        return f"{', '.join(key[:80] for key in self.keys)}{more}"


@dataclass(frozen=True, slots=True)
class InputChanges:
    """The differences between the input and the tasks that the run has accepted."""

    before: int
    now: int
    removed: _KeySample
    added: _KeySample
    changed: _KeySample

    def text(self, run_id: str) -> str:
        """Return the changes in one sentence."""
        parts = [
            f"{sample.count:,} {what} ({sample})"
            for sample, what in (
                (self.removed, "removed"),
                (self.added, "that the run has not accepted"),
                (self.changed, "with other params"),
            )
            if sample.count
        ]
        listed = "; ".join(parts) or "only tasks that it had not accepted yet"
        counts = f"from {self.before:,} to {self.now:,} tasks"
        return f"the input has changed since run {run_id} was started, {counts}: {listed}"


class RunInput:
    """The input tasks of a run. The constructor reads all tasks; each iteration reads them again.

    `read` returns a new iterator each time. `place` names the input in errors. `look` receives each task of
    the first reading and its place, counted from 0. An iteration raises `InputChangedMeanwhileError`.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Task]],
        *,
        place: str = "tasks",
        look: Callable[[int, Task], None] = lambda _place, _task: None,
    ) -> None:
        self._tasks = CheckedTasks(place, read)
        for ordinal, task in enumerate(self._tasks.first()):
            look(ordinal, task)
        self.count = self._tasks.digest.count

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks)

    def stored(self) -> dict[str, Json]:
        """Return the JSON object that is stored with the run."""
        return self._tasks.digest.stored()

    async def changes(self, before: Mapping[str, Json], known: AsyncIterator[TaskView]) -> InputChanges:
        """Compare the input with the accepted tasks `known`. `before` is the stored digest."""
        left = {task.key: digest_of(task.params) for task in self}
        removed, changed = _KeySample(), _KeySample()
        async for view in known:
            digest = left.pop(view.key, None)
            if digest is None:
                removed.add(view.key)
            elif digest != digest_of(view.params):
                changed.add(view.key)
        added = _KeySample()
        for key in left:
            added.add(key)
        return InputChanges(int(before.get("tasks", 0)), self.count, removed, added, changed)


def refuse_changed(changes: InputChanges, run_id: str) -> None:
    """Raise `InputChangedError` if tasks have other params: the run keeps the accepted params."""
    if changes.changed.count:
        raise InputChangedError(
            f"{changes.text(run_id)}. A task keeps the params with which it was accepted: restore them in "
            "the input, or run this input with another --run-id"
        )

"""The tasks of an input that is read several times and may be changed meanwhile.

Rule 1: The first reading decides which tasks the input has. A later reading yields a task only after it has
    compared the task's block with the first reading, so that no task of a changed input is submitted.
Rule 2: Memory holds one block of tasks, and 16 bytes for each block of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b

from actors.core.messages.tasks import Task
from cluster.input.digest import DIGEST_BYTES, InputDigest, canonical, digest_of_bytes
from cluster.input.problems import TaskInputError

_BLOCK_TASKS, _BLOCK_BYTES = 256, 2**20


class InputChangedMeanwhileError(TaskInputError):
    """The input is not as it was when the command began."""

    def __init__(self, place: str, what: str) -> None:
        remedy = "no further row of it is asked; restore it, and start the same job again"
        super().__init__(place, None, f"the input has changed since it was first read: {what}; {remedy}")


class CheckedTasks:
    """Tasks that can be read several times. `read` returns a new stream; `place` names the input in errors.

    `digest` is that of the first reading, which must be complete before another begins.
    """

    def __init__(self, place: str, read: Callable[[], Iterable[Task]]) -> None:
        self.digest = InputDigest()
        self._place = place
        self._read = read
        self._known = bytearray()  # the digests of the blocks

    def first(self) -> Iterator[Task]:
        """Yield the tasks for the first time."""
        for tasks, digest in _blocks(self._read(), self.digest):
            yield from tasks
            self._known += digest

    def __iter__(self) -> Iterator[Task]:
        """Yield the same tasks again. Raises `InputChangedMeanwhileError` if they differ."""
        seen = InputDigest()
        offset = first = 0
        blocks = _blocks(self._read(), seen)
        while True:
            try:
                tasks, digest = next(blocks, ([], b""))
            except TaskInputError as error:  # the first reading found none
                raise InputChangedMeanwhileError(self._place, str(error)) from error
            if digest != self._known[offset : offset + DIGEST_BYTES]:
                what = f"rows {first + 1:,} to {seen.count:,} differ"
                raise InputChangedMeanwhileError(self._place, what if tasks else f"it ends at row {first:,}")
            if not tasks:
                return
            yield from tasks
            offset += DIGEST_BYTES
            first = seen.count


def _blocks(tasks: Iterable[Task], whole: InputDigest) -> Iterator[tuple[list[Task], bytes]]:
    """Yield consecutive tasks with their digest; equal tasks make equal blocks. Adds each task to `whole`."""
    block: list[Task] = []
    size, digest = 0, blake2b(digest_size=DIGEST_BYTES)
    for task in tasks:
        document = canonical([task.key, task.params])
        of_task = digest_of_bytes(document)
        whole.add(of_task)
        digest.update(of_task)
        block.append(task)
        size += len(document)
        if len(block) == _BLOCK_TASKS or size >= _BLOCK_BYTES:
            yield block, digest.digest()
            block, size, digest = [], 0, blake2b(digest_size=DIGEST_BYTES)
    if block:
        yield block, digest.digest()

"""The rows of a table as tasks, which can be iterated several times."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from actors.core.messages.tasks import Task
from actors.core.messages.values import Json
from cluster.input.checked_tasks import CheckedTasks
from cluster.input.digest import InputDigest, digest_of
from cluster.input.formats import FileForm
from cluster.input.local_copy import open_input
from cluster.input.problems import MAX_TASK_BYTES
from cluster.input.records import Reading, row_key
from cluster.input.stream import columns_in, tasks_in, unique_tasks


class RowInput:
    """The rows of one input, as tasks. The constructor reads them once; each iteration reads them again.

    `columns` are the names in the order in which they first occur, with ``key`` before them if the tasks'
    params do not hold their keys; without rows, what the argument `columns` returns. `count` is the number of
    rows and `digest` their hash. `name` is the stem of the file, and `place` names it in errors. With `limit`
    only the first rows are read. With `sample` only
    as many random rows of all `total` rows are iterated, in the order of the input; equal seeds choose equal
    rows. `chosen` are their positions, None for all rows. `parquet` is the file if the rows are in a Parquet
    file. An iteration raises `InputChangedMeanwhileError` if the rows are not those of the first reading.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Task]],
        name: str,
        *,
        place: str = "",
        key_column: str | None = None,
        limit: int | None = None,
        sample: int | None = None,
        seed: int = 0,
        columns: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.name = name
        self.parquet: Path | None = None
        names: dict[str, None] = {}
        self._rows = CheckedTasks(place or name, lambda: itertools.islice(read(), limit))
        digest = self._rows.digest
        is_numbered = True
        for number, task in enumerate(self._rows.first(), 1):
            is_numbered = is_numbered and task.key == row_key(number)
            if not names.keys() >= task.params.keys():
                names.update(dict.fromkeys(task.params))
        self.total = digest.count
        self.chosen = _chosen(self.total, sample, seed)
        if self.chosen is not None:
            digest = InputDigest()
            for task in self:
                digest.add(digest_of([task.key, task.params]))
        self.count = digest.count
        self.digest = digest.hex()
        if not self.total:
            names.update(dict.fromkeys(columns()))
        is_in_params = is_numbered or (key_column or "key") in names
        self.columns = tuple(names) if is_in_params else ("key", *names)

    @classmethod
    def of_file(
        cls,
        path: str,
        *,
        key: str | None = None,
        form: FileForm | None = None,
        limit: int | None = None,
        sample: int | None = None,
        seed: int = 0,
        max_task_bytes: int = MAX_TASK_BYTES,
    ) -> RowInput:
        """Return the rows of a file, of stdin (``-``) or of a URL. Raises `TaskInputError`.

        `key` names the column with the rows' keys. By default this is ``key``, or else the rows' numbers are
        the keys. `form` describes the file; by default its suffix does.
        """
        file = open_input(path, form or FileForm())
        reading = Reading(key, rows=True, max_bytes=max_task_bytes)

        rows = cls(
            lambda: tasks_in(file, reading),
            file.stem,
            place=file.place,
            key_column=key,
            limit=limit,
            sample=sample,
            seed=seed,
            columns=lambda: columns_in(file, reading),
        )
        rows.parquet = file.path if file.format == "parquet" else None
        return rows

    @classmethod
    def of_records(
        cls,
        records: Callable[[], Iterable[Mapping[str, Json]]],
        name: str,
        *,
        key: str | None = None,
        limit: int | None = None,
        sample: int | None = None,
        seed: int = 0,
        max_task_bytes: int = MAX_TASK_BYTES,
        columns: Sequence[str] = (),
    ) -> RowInput:
        """Return rows from memory: `records` returns a new iterator each time. Raises `TaskInputError`.

        `columns` are those of a table without rows.
        """
        reading = Reading(key, rows=True, max_bytes=max_task_bytes)

        def tasks() -> Iterator[Task]:
            return unique_tasks(name, reading, lambda: enumerate(records(), 1))

        return cls(
            tasks, name, key_column=key, limit=limit, sample=sample, seed=seed, columns=lambda: columns
        )

    def __iter__(self) -> Iterator[Task]:
        if self.chosen is None:
            return iter(self._rows)
        chosen = self.chosen
        return (task for number, task in enumerate(self._rows) if number in chosen)


def _chosen(count: int, sample: int | None, seed: int) -> frozenset[int] | None:
    """Return the numbers of the rows of a sample, counted from 0; None for all rows."""
    if sample is None or sample >= count:
        return None
    return frozenset(random.Random(seed).sample(range(count), sample))

"""The stream of tasks of an input: records become tasks, and a duplicate key is an error.

Rule 1: Memory holds a few tasks, and a hash of each key of the user to detect duplicates (at most 24
    bytes each). Row numbers are not hashed.
Rule 2: Every mistake is a `TaskInputError` that names the file and the line, and says what to do.
Rule 3: Nothing is guessed or dropped: a line is a task, blank, or an error.
Rule 4: The size limit of a task holds while it is read: an endless line or quote is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b

from actors.core.messages.tasks import Task
from actors.core.messages.values import Json
from cluster.input.key_hashes import KeyHashes
from cluster.input.local_copy import InputFile
from cluster.input.parquet_file import parquet_columns, parquet_records
from cluster.input.problems import TaskInputError
from cluster.input.records import Reading, TaskMaker
from cluster.input.text_lines import delimited_columns, delimited_records, json_records

Records = Iterable[tuple[int, Json]]  # each with its line or row, counted from 1


def tasks_in(file: InputFile, reading: Reading) -> Iterator[Task]:
    """Return the tasks of `file`, from its beginning. Raises `TaskInputError` during iteration."""
    return unique_tasks(file.place, reading, lambda: records_in(file, reading))


def unique_tasks(place: str, reading: Reading, records: Callable[[], Records]) -> Iterator[Task]:
    """Yield the tasks of the numbered `records`. Raises `TaskInputError`, also at a duplicate key.

    When the hash of a key repeats, the input is read again up to the first task with that key. This finds its
    line, or shows that two different keys share a hash.
    """

    def placed() -> Iterator[tuple[int, Task]]:
        again = TaskMaker(place, reading)
        return ((line, again.task(line, record)) for line, record in records())

    maker = TaskMaker(place, reading)
    seen = KeyHashes()
    for line, record in records():
        task = maker.task(line, record)
        if not maker.is_numbered:
            key = task.key.encode("utf-8", "surrogatepass")
            digest = int.from_bytes(blake2b(key, digest_size=8).digest())
            if not seen.add(digest):
                first = next((earlier for earlier, other in placed() if other.key == task.key), line)
                if first < line:
                    problem = f"the key {task.key[:80]!r} is already on line {first}; keys must be unique"
                    raise TaskInputError(place, line, problem)
        yield task


def columns_in(file: InputFile, reading: Reading) -> Sequence[str]:
    """Return the columns that a file names apart from its rows: those of JSON lines are only in the rows.

    Raises `TaskInputError` for a CSV file without a header.
    """
    if file.format == "jsonl":
        return ()
    if file.format == "parquet":
        return parquet_columns(file)
    return delimited_columns(file, reading)


def records_in(file: InputFile, reading: Reading) -> Records:
    """Yield the records of `file`, each with its line or row. Raises `TaskInputError` during iteration."""
    if file.format == "jsonl":
        return json_records(file, reading)
    if file.format == "parquet":
        return parquet_records(file, reading)
    return delimited_records(file, reading)

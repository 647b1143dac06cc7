"""Removes a run from a store in batches of a bounded size.

Rule 1: the run is claimed and marked before its first row is removed, so that an incomplete run cannot be
    resumed.
Rule 2: the rows that name the run are removed last, so that an interrupted removal can be found and finished.
Rule 3: a run whose owner is alive is not removed. The claim is fenced by the observed writer and heartbeat.
"""

from __future__ import annotations

from msgspec.structs import replace

from actors.core.errors import RunTakenError, StoreError
from actors.core.journal import keys
from actors.core.journal.batch import CheckedCodec, KeyReader, Reader, WriteBatch, range_of
from actors.core.journal.rows import REMOVING, RUNNING, dump_run, load_run
from actors.core.journal.turn import Observed

_MOST = 5_000  # rows in one commit


def begin_removal(
    reader: Reader, codec: CheckedCodec, run_id: str, me: bytes, silent: Observed | None
) -> WriteBatch:
    """Return the batch that claims a run for removal. `silent` is the last observation of a dead owner.

    Raises `RunTakenError` if the run is running and `silent` is None.
    """
    data, writer = reader.get(keys.run(run_id)), reader.get(keys.writer(run_id))
    if data is None or writer is None:
        raise StoreError(f"the store is damaged: run {run_id} lacks its row or its writer")
    row = load_run(codec, data)
    fences: dict[bytes, bytes | None] = {keys.writer(run_id): writer}
    if row.state == RUNNING:
        if silent is None:
            raise RunTakenError(f"run {run_id} is running and cannot be removed; cancel it first")
        fences = {keys.writer(run_id): silent.writer, keys.heartbeat(run_id): silent.heartbeat}
    marked = dump_run(codec, replace(row, state=REMOVING))
    return WriteBatch({keys.writer(run_id): me, keys.run(run_id): marked}, (), fences)


def next_removal(reader: KeyReader, run_id: str, me: bytes, most: int = _MOST) -> WriteBatch | None:
    """Return the next batch of a removal that `me` began, None when nothing is left.

    It reads keys only: the values of `most` rows may take gigabytes.
    """
    fences: dict[bytes, bytes | None] = {keys.writer(run_id): me}
    for kind in keys.MANY_PER_RUN:
        found = reader.scan_keys(*range_of(bytes((kind,)) + keys.part(run_id)), most)
        if found:
            return WriteBatch({}, ((found[0], found[-1] + b"\0"),), fences)
    if reader.get(keys.writer(run_id)) is None:
        return None
    few = [bytes((kind,)) + keys.part(run_id) for kind in keys.ONE_PER_RUN]
    return WriteBatch({}, tuple((key, key + b"\0") for key in few), fences)

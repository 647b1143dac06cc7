"""A run whose store is lost is continued from a backup that was made while it ran."""

from __future__ import annotations

import shutil
import signal
import stat
from collections import Counter
from contextlib import closing

import pytest

from actors.journal.stores.sqlite import SqliteStore
from cluster.backup.file_format import BackupReader
from cluster.records.reading import all_ended, attempts_by_task
from cluster.records.records import found_run

TASKS, ITEMS, IN_FLIGHT = 30, 2, 6
CALLS = TASKS * (ITEMS + 1)
CANARY = "sk-canary-of-the-backup-41"
STORE = ".headrace/state.db"


@pytest.fixture
async def half(driver, start_llm):
    """Return a run in progress and its slow endpoint."""
    endpoint = await start_llm("--latency-s=0.3")
    books = {"name": "books", "base_url": f"{endpoint.base}/v1", "model": "sim", "max_in_flight": IN_FLIGHT}
    path = driver.config(
        tasks={"kind": "range", "count": TASKS},
        llm={"endpoints": [{**books, "api_key": "${CANARY}"}], "clients": 1},
        store={"kind": "sqlite", "lease_s": 1.0},
    )
    process = await driver.start("run", str(path), "--run-id=half", "--engine=local", env={"CANARY": CANARY})
    await endpoint.until(lambda stats: stats["billed"] >= CALLS // 4)
    return process, endpoint


def answered(path):
    """Return the keys of the answered calls, after a check that all rows are of one moment."""
    with closing(SqliteStore(str(path))) as store:
        tasks, run = attempts_by_task(store, "half"), found_run(store, "half")
        assert run.tasks.accepted == len(tasks)
        assert run.tasks.ended == sum(1 for _ in all_ended(store, "half"))
    billed = [each.call_key for task in tasks.values() for each in task if each.billed]
    assert run.spent.counts.billed == len(billed) == len(set(billed))
    return set(billed)


async def test_a_run_is_continued_from_a_backup_and_only_later_answers_are_asked_again(driver, half):
    process, endpoint = half
    env = {"CANARY": CANARY}
    saved = await driver("backup", STORE, "half.backup", "--json")
    assert saved.code == 0, saved.stderr
    assert saved.summary()["running"] == ["half"]
    at_backup = (await endpoint.stats())["billed"]
    refused = await driver("restore", "half.backup", STORE, "--replace")  # its owner is alive
    assert refused.code == 2
    assert "run half is not replaced: it is running" in refused.stderr
    await endpoint.until(lambda stats: stats["billed"] >= at_backup + 2 * IN_FLIGHT)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    shutil.rmtree(driver.directory / ".headrace")
    await endpoint.until(lambda stats: stats["in_flight"] == 0)
    await endpoint.control(latency_s=0.02)

    file = driver.directory / "half.backup"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with file.open("rb") as opened:
        assert not any(CANARY.encode() in key + value for key, value in BackupReader(opened, "").rows())
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    torn = await driver("restore", "half.backup", STORE)
    assert (torn.code, (driver.directory / STORE).exists()) == (2, False)
    assert f"half.backup is not whole: it ends at byte {len(whole) - 9}" in torn.stderr
    file.write_bytes(whole)

    restored = await driver("restore", "half.backup", STORE)
    assert restored.code == 0, restored.stderr
    kept, paid = answered(driver.directory / STORE), (await endpoint.ledger()).entries
    assert CALLS // 4 - IN_FLIGHT <= len(kept) < len({entry.key for entry in paid if entry.billed})
    resumed = await driver("resume", "half", "--json", env=env)
    assert resumed.code == 0, resumed.stderr
    assert resumed.summary()["tasks"]["succeeded"] == TASKS
    assert len(driver.results("half")) == TASKS

    entries = (await endpoint.ledger()).entries
    asked_after = Counter(entry.key for entry in entries[len(paid) :])
    assert not kept & asked_after.keys()  # nothing that the backup had is asked again
    assert len(kept | asked_after.keys()) == CALLS  # and everything else is, once
    assert set(Counter(entry.key for entry in entries if entry.billed).values()) == {1}  # keys are honoured
    asked_twice = {entry.key for entry in paid if entry.billed} & asked_after.keys()
    assert asked_twice == {entry.key for entry in paid if entry.billed} - kept

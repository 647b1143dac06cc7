"""Stores of earlier releases: their runs are continued, and what they paid for is not asked again.

`tests/data/make_store.py` made them, run from a checkout of the release.
"""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from actors.journal.stores.sqlite import SqliteStore
from cluster.records.reading import all_runs, attempts_by_task
from tests.data.make_store import MAP

DATA = Path(__file__).parents[2] / "data"
RELEASES = ("c96b880",)
CALLS = {"killed": 12 * 3, "map": 24}


def answered(path):
    """Return the keys of the answered calls of each run."""
    with closing(SqliteStore(str(path))) as store:
        found = {}
        for run in all_runs(store):
            attempts = [each for task in attempts_by_task(store, run.run_id).values() for each in task]
            found[run.run_id] = {each.call_key for each in attempts if each.billed}
        return found


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("is_moved", [False, True], ids=["as-it-is", "migrated-and-restored"])
async def test_runs_of_an_earlier_release_are_continued_and_no_answer_is_asked_again(
    driver, start_llm_here, release, is_moved
):
    store = driver.directory / ".headrace" / "state.db"
    store.parent.mkdir(mode=0o700)
    shutil.copy(DATA / "stores" / f"{release}.db", store)
    for name in ("run.yaml", "rows.csv"):
        shutil.copy(DATA / name, driver.directory)
    endpoint = await start_llm_here()
    env = {"LLM_URL": f"{endpoint.base}/v1", "LLM_KEY": "sk-canary-of-the-fixture"}
    if is_moved:
        for arguments in (
            ("migrate", str(store)),
            ("backup", str(store), "b"),
            ("restore", "b", "new.db"),
        ):
            done = await driver(*arguments)
            assert done.code == 0, done.stderr
        (driver.directory / "new.db").replace(store)
    before = answered(store)
    map_run = next(run_id for run_id in before if run_id.startswith("map-"))
    assert all(before.values())

    resumed = await driver("resume", "killed", "--config", "run.yaml", "--json", env=env)
    assert resumed.code == 0, resumed.stderr
    mapped = await driver(*MAP, "-y", "--json", env=env)
    assert mapped.code == 0, mapped.stderr
    ended = await driver("resume", "ended", "--config", "run.yaml", "--json", env=env)
    assert ended.code == 0, ended.stderr

    billed = Counter(entry.key for entry in (await endpoint.ledger()).entries if entry.billed)
    assert set(billed.values()) == {1}
    assert len(billed) == sum(CALLS.values()) - len(before["killed"]) - len(before[map_run])
    assert not billed.keys() & before["killed"]
    assert not billed.keys() & before[map_run]
    assert resumed.summary()["tasks"]["succeeded"] == 12
    assert resumed.summary()["calls"]["billed"] == CALLS["killed"]
    after = answered(store)
    assert (len(after["killed"]), len(after[map_run])) == (CALLS["killed"], CALLS["map"])
    assert after["ended"] == before["ended"]
    assert billed.keys() <= after["killed"] | after[map_run]

"""Jobs that Ray reports as running although their runs are silent, as Prometheus reads them."""

from __future__ import annotations

import pytest

from actors.core.journal import keys
from actors.core.journal.batch import WriteBatch
from actors.journal.stores.memory import MemoryStore
from cluster.ray.ghost_jobs import GhostWatch, measured, signs_of_life

LEASE_S = 5.0


@pytest.mark.parametrize(
    ("looks", "ghosts"),
    [
        ([(0, "a1"), (30, "a1")], ["job"]),
        ([(0, "a1"), (30, "a2")], []),
        ([(0, "a1"), (5, "a1")], []),  # only a whole lease counts
        ([(0, "a1"), (3, "a2"), (7, "a2")], []),
        ([(0, "a1"), (30, "a1"), (60, "b1")], []),  # the run was continued
        ([(0, "a1"), (30, None), (60, "a1")], []),  # not listed in between
        ([(0, "a1")], []),
    ],
)
def test_a_job_is_a_ghost_when_the_heartbeat_of_its_run_is_the_same_after_a_whole_lease(looks, ghosts):
    watch = GhostWatch(LEASE_S)
    for now, sign in looks:
        found = watch.look({"job": sign} if sign else {}, now)
    assert found == ghosts


def test_a_run_that_is_not_in_this_store_says_nothing_about_its_job():
    store = MemoryStore()
    store.commit(_batch({keys.writer("known"): b"owner:life", keys.heartbeat("known"): b"1"}))
    assert signs_of_life(store, {"job": "known", "other": "elsewhere"}) == {"job": (b"owner:life", b"1")}


def test_the_metrics_are_in_the_text_format():
    lines = [line for line in measured(3, 1).splitlines() if not line.startswith("#")]
    assert lines == ["headrace_running_jobs 3", "headrace_ghost_jobs 1"]


def _batch(puts):
    return WriteBatch(puts, (), {})

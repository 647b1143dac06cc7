"""Actors of a node that died: what they answer is dealt with, and asyncio has nothing to report."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace

from cluster.assembly import ray as engine


def dead(after=None):
    """Return an actor whose every answer is an error, at once or once `after` is set."""

    async def lost():
        if after is not None:
            await after.wait()
        raise RuntimeError("the node died")

    method = SimpleNamespace(remote=lost)
    return SimpleNamespace(close=method, statistics=method)


async def test_errors_at_the_end_are_not_reported_as_never_retrieved(monkeypatch):
    monkeypatch.setattr(engine, "_CLOSE_WITHIN_S", 0.01)
    reported = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["message"]))
    late = asyncio.Event()
    await engine._closed([dead(), dead(late)])
    assert await engine._answers([dead()]) == []
    late.set()
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()
    assert reported == []


async def test_a_run_without_sources_has_no_snapshot_of_a_source():
    assert await engine._answers([]) == []

"""Ctrl-C: the first stops a run, also while it begins; the second ends the process at once."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from actors.core.errors import HeadraceError, StoppedError
from cluster.run.stopping import stop_on_signal, unless_stopped


async def test_the_second_signal_ends_the_process_and_says_so(capsys):
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stop = stop_on_signal(ended.set_result)
    os.kill(os.getpid(), signal.SIGINT)
    async with asyncio.timeout(5):
        await stop.wait()
        assert not ended.done()
        os.kill(os.getpid(), signal.SIGINT)
        assert await ended == 130
    assert capsys.readouterr().err == "ended immediately by a second SIGINT; the store keeps what was done\n"
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_what_is_done_before_a_signal_is_returned_and_its_error_is_raised():
    async def fails():
        raise HeadraceError("no")

    stop = asyncio.Event()
    assert await unless_stopped(asyncio.sleep(0, "done"), stop, "it slept") == "done"
    with pytest.raises(HeadraceError, match="no"):
        await unless_stopped(fails(), stop, "it failed")


async def test_what_is_stopped_is_cancelled_and_named():
    cancelled = asyncio.Event()

    async def hangs():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    stop = asyncio.Event()
    waiting = asyncio.create_task(unless_stopped(hangs(), stop, "the run began"))
    await asyncio.sleep(0)
    stop.set()
    with pytest.raises(StoppedError, match="interrupted while the run began"):
        await waiting
    assert cancelled.is_set()

"""Ctrl-C: the first stops a run, also while it begins; the second ends the process at once."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from actors.core.errors import HeadraceError, StoppedError
from cluster.run.stopping import stop_on_signal, unless_stopped


@pytest.fixture
def handlers_are_restored():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_the_second_signal_ends_the_process_and_says_so(handlers_are_restored, capfd):
    ended, times = [], iter([0.0, 0.3])
    stop = stop_on_signal(ended.append, lambda: next(times))
    os.kill(os.getpid(), signal.SIGINT)
    async with asyncio.timeout(5):
        await stop.wait()
    assert ended == []
    os.kill(os.getpid(), signal.SIGTERM)
    assert ended == [143]
    assert capfd.readouterr().err == "ended immediately by another SIGTERM; the store keeps what was done\n"


async def test_the_second_signal_ends_the_process_while_the_event_loop_is_blocked(handlers_are_restored):
    ended, times = [], iter([5.0, 6.0])
    stop_on_signal(ended.append, lambda: next(times))
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
    assert ended == [130]


async def test_while_a_run_waits_the_second_signal_ends_the_wait_and_the_third_the_process(
    handlers_are_restored,
):
    ended, times = [], iter([1.0, 2.0, 2.1, 3.0])
    stop = stop_on_signal(ended.append, lambda: next(times))
    os.kill(os.getpid(), signal.SIGINT)
    with stop.waiting() as hurry:
        for _ in range(2):  # the later of them is no further request
            os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(5):
            await hurry.wait()
        assert ended == []
        os.kill(os.getpid(), signal.SIGINT)
    assert ended == [130]


async def test_signals_within_a_third_of_a_second_count_as_one(handlers_are_restored):
    """`timeout` signals its child and then the process group of the child."""
    times = iter([5.0, 5.1, 5.29])
    stop = stop_on_signal(pytest.fail, lambda: next(times))
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    async with asyncio.timeout(5):
        await stop.wait()


def test_a_first_signal_after_the_event_loop_interrupts_what_follows_it(handlers_are_restored):
    async def begins():
        stop_on_signal(pytest.fail)

    with asyncio.Runner() as runner:
        runner.run(begins())
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


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

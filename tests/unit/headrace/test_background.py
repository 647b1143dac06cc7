"""A run in a thread shows its progress in the caller's thread, and stops when the caller is interrupted."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading

import pytest

from cluster.report.console import ProgressView
from headrace.progress.background import run_beside, run_here


class Seen:
    def __init__(self):
        self.lines = []
        self.threads = set()

    def say(self, text):
        self.lines.append(text)
        self.threads.add(threading.current_thread())

    def show(self, view):
        self.say(view.run_id)

    def end(self, text):
        self.say(text)


@pytest.fixture
def seen():
    return Seen()


def shows(host):
    assert threading.current_thread() is not threading.main_thread()
    host.say("begins")
    with host.progress() as progress:
        progress.show(ProgressView("r1"))
    host.end("ended")
    return 7


def fails(host):
    host.say("begins")
    raise ValueError("no")


def stopped_by(interrupt):
    """Return work that calls `interrupt`, and ends once it is asked to stop."""

    def work(host):
        async def until_stopped():
            event = host.stop_event()
            interrupt()
            # A signal just before a thread begins to wait does not end the wait. A run shows its progress
            # twice a second, which does.
            host.say("running")
            await event.wait()
            host.say("stopped")
            return 8

        work.result = asyncio.run(until_stopped())

    return work


def test_what_a_run_shows_is_drawn_by_the_caller_and_its_result_is_returned(seen):
    assert run_here(shows, seen) == 7
    assert seen.lines == ["begins", "r1", "ended"]
    assert seen.threads == {threading.current_thread()}


def test_the_error_of_a_run_is_raised(seen):
    with pytest.raises(ValueError, match="no"):
        run_here(fails, seen)
    assert seen.lines == ["begins"]


def test_ctrl_c_stops_the_run_and_is_raised_after_it_has_ended(seen):
    stopping = stopped_by(lambda: os.kill(os.getpid(), signal.SIGINT))

    def work(host):
        host.continued_by = "the same call"
        stopping(host)

    with pytest.raises(KeyboardInterrupt):
        run_here(work, seen)
    assert stopping.result == 8
    assert seen.lines[-1] == "interrupted; what has ended is stored: the same call"


def test_the_second_ctrl_c_gives_up_what_is_in_flight_and_the_third_does_not_wait(seen):
    given_up, never = threading.Event(), threading.Event()

    def interrupted(host, text):
        os.kill(os.getpid(), signal.SIGINT)
        host.say(text)  # see `stopped_by`

    def work(host):
        async def obeys_twice():
            stop = host.stop_event()
            interrupted(host, "one")
            await stop.wait()
            with stop.waiting() as hurry:
                interrupted(host, "two")
                await hurry.wait()
            given_up.set()
            interrupted(host, "three")

        asyncio.run(obeys_twice())
        never.wait(10)

    clock = itertools.count().__next__
    with pytest.raises(KeyboardInterrupt):
        run_here(work, seen, lambda: float(clock()))
    assert given_up.is_set()
    never.set()


def test_signals_at_the_same_time_are_one_request(seen):
    """`timeout` signals its child and then the process group."""

    def many():
        for _ in range(5):
            os.kill(os.getpid(), signal.SIGINT)

    work = stopped_by(many)
    with pytest.raises(KeyboardInterrupt):
        run_here(work, seen, lambda: 1.0)
    assert work.result == 8, "the caller has waited"


async def test_ctrl_c_is_noticed_under_a_runner_that_has_a_handler_of_its_own(seen):
    before = signal.signal(signal.SIGINT, lambda *_: pytest.fail("the runner only cancels its task"))
    try:
        with pytest.raises(KeyboardInterrupt):
            run_here(stopped_by(lambda: os.kill(os.getpid(), signal.SIGINT)), seen)
    finally:
        assert signal.signal(signal.SIGINT, before) is not signal.SIG_DFL


def test_in_another_thread_no_signal_is_handled(seen):
    results = []
    thread = threading.Thread(target=lambda: results.append(run_here(lambda host: 7, seen)))
    thread.start()
    thread.join()
    assert results == [7]


def test_a_display_that_fails_stops_the_run(seen, monkeypatch):
    def broken(text):
        raise OSError("the notebook is gone")

    monkeypatch.setattr(seen, "say", broken)
    work = stopped_by(lambda: None)

    def speaks(host):
        host.say("begins")
        work(host)

    with pytest.raises(OSError, match="the notebook is gone"):
        run_here(speaks, seen)
    assert work.result == 8


def test_a_stop_before_the_run_has_an_event_is_not_lost(seen):
    def work(host):
        async def late():
            return host.stop_event().is_set()

        host.stop()
        return asyncio.run(late())

    assert run_here(work, seen)


def test_a_run_stops_at_its_deadline(seen):
    def work(host):
        host.stop_after(0.001)
        asyncio.run(until_stopped(host))

    async def until_stopped(host):
        await host.stop_event().wait()

    run_here(work, seen)


def test_a_stop_after_the_end_of_a_run_does_nothing(seen):
    def work(host):
        asyncio.run(event_of(host))
        return host

    async def event_of(host):
        host.stop_event()

    run_here(work, seen).stop()


async def test_a_running_event_loop_goes_on_beside_a_run(seen):
    turns = 0

    def work(host):
        asked.wait(10)
        return shows(host)

    asked = threading.Event()
    running = asyncio.ensure_future(run_beside(work, seen))
    while turns < 3:
        await asyncio.sleep(0)
        turns += 1
    asked.set()
    assert await running == 7
    assert seen.threads == {threading.current_thread()}


async def test_a_run_that_blocks_the_caller_works_within_a_running_event_loop(seen):
    assert run_here(shows, seen) == 7


async def test_the_cancellation_of_the_caller_stops_the_run(seen):
    begun, loop = asyncio.Event(), asyncio.get_running_loop()
    work = stopped_by(lambda: loop.call_soon_threadsafe(begun.set))
    running = asyncio.ensure_future(run_beside(work, seen))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert work.result == 8
    assert seen.lines == ["running", "stopped"]

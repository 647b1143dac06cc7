"""Runs a batch in a thread with its own event loop, while the caller's thread shows its progress.

Rule 1: It works in a notebook, whose event loop is running already, and in any thread.
Rule 2: Ctrl-C, or the cancellation of the caller's task, asks the run to stop. The caller waits until the run
    has stored its answers. The second gives up the answers in flight, and the third does not wait at all.
Rule 3: Only the caller's thread draws, because the output of a notebook's cell belongs to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, Self, TypeVar

from cluster.report.console import ProgressView
from cluster.run.stopping import ONE_REQUEST_S, StopRequest

ResultT = TypeVar("ResultT")
_STOPS = 2  # requests that the run itself obeys: to stop, and to give up the answers in flight
_Act = Callable[[], object]


class Display(Protocol):
    """Shows a run to the user."""

    def say(self, text: str) -> None:
        """Show a message."""

    def show(self, view: ProgressView) -> None:
        """Show a snapshot of the run."""

    def end(self, text: str) -> None:
        """Show how the run ended, instead of its progress."""


class ThreadHost:
    """The host of a run in a thread: it passes what the run shows to the caller's thread.

    post: has the caller's thread execute a function.
    """

    def __init__(self, display: Display, post: Callable[[_Act], object]) -> None:
        self._display = display
        self._post = post
        self._lock = threading.RLock()  # a signal may interrupt its holder
        self._is_stopped = False
        self._set: _Act | None = None  # sets the event of the run, once it has one
        self.continued_by = ""  # what continues the run after an interruption, once it has begun
        self._stop_after_s: float | None = None
        self._note: Callable[[ProgressView], object] = lambda _: None

    def noting(self, note: Callable[[ProgressView], object]) -> ThreadHost:
        """Have the run's thread call `note` with each snapshot, and return this host."""
        self._note = note
        return self

    def say(self, text: str) -> None:
        """Pass a message on."""
        self._post(lambda: self._display.say(text))

    def show(self, view: ProgressView) -> None:
        """Pass a snapshot on."""
        self._note(view)
        self._post(lambda: self._display.show(view))

    def end(self, text: str) -> None:
        """Pass on how the run ended."""
        self._post(lambda: self._display.end(text))

    @contextlib.contextmanager
    def progress(self) -> Iterator[ThreadHost]:
        """Return this host, which passes snapshots on."""
        yield self

    def stop_after(self, seconds: float) -> None:
        """Have the run stop this many seconds after its event loop has begun."""
        self._stop_after_s = seconds

    def stop_event(self) -> StopRequest:
        """Return the request that `stop` makes."""
        event, loop = StopRequest(), asyncio.get_running_loop()
        if self._stop_after_s is not None:
            loop.call_later(self._stop_after_s, event.request)

        def set_there() -> None:
            with contextlib.suppress(RuntimeError):  # the run has ended, and its loop is closed
                loop.call_soon_threadsafe(event.request)

        with self._lock:
            self._set = set_there
            if self._is_stopped:
                event.request()
        return event

    def stop(self) -> None:
        """Ask the run to stop, and a second time, to wait for no answer in flight.

        Any thread may call this, before the run begins or after its end.
        """
        with self._lock:
            self._is_stopped = True
            if self._set is not None:
                self._set()


class _Outcome(Generic[ResultT]):
    """The result or the error of work in a thread."""

    def __init__(self) -> None:
        self._result: list[ResultT] = []
        self._error: BaseException | None = None

    def run(self, work: Callable[[], ResultT]) -> None:
        # A SIGINT that the system hands to this thread would not wake the main thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._result.append(work())
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            self._error = error

    def get(self) -> ResultT:
        if self._error is not None:
            raise self._error
        return self._result[0]


class _Interrupts:
    """Counts Ctrl-C while it is entered, and stops the host. The last one raises KeyboardInterrupt at once.

    Python's own handler could raise it at any place, and that of `asyncio.run` does not interrupt a call.
    """

    def __init__(self, host: ThreadHost, clock: Callable[[], float]) -> None:
        self.count = 0
        self._host = host
        self._clock = clock
        self._last_at = -math.inf
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, _: int, __: object) -> None:
        now = self._clock()
        if now - self._last_at < ONE_REQUEST_S:
            return
        self._last_at = now
        self.count += 1
        self._host.stop()
        if self.count > _STOPS:
            raise KeyboardInterrupt


def run_here(
    work: Callable[[ThreadHost], ResultT], display: Display, clock: Callable[[], float] = time.monotonic
) -> ResultT:
    """Return the result of `work`, which runs in a thread, while this thread draws on `display`.

    Raises KeyboardInterrupt after Ctrl-C, when the work has stopped, and otherwise the error of the work.
    """
    acts: queue.SimpleQueue[_Act | None] = queue.SimpleQueue()
    host, outcome = ThreadHost(display, acts.put), _Outcome[ResultT]()

    def target() -> None:
        outcome.run(lambda: work(host))
        acts.put(None)

    with _Interrupts(host, clock) as interrupts:
        threading.Thread(target=target, name="headrace", daemon=True).start()
        try:
            while (act := acts.get()) is not None:
                act()
        except Exception:
            host.stop()
            while acts.get() is not None:
                pass  # what the run still shows would hide the reason
            raise
    if interrupts.count:
        if host.continued_by:
            display.end(f"interrupted; what has ended is stored: {host.continued_by}")
        raise KeyboardInterrupt
    return outcome.get()


async def run_beside(work: Callable[[ThreadHost], ResultT], display: Display) -> ResultT:
    """Do the same without blocking the running event loop. A cancellation stops the work."""
    loop, ended, outcome = asyncio.get_running_loop(), asyncio.Event(), _Outcome[ResultT]()

    def post(act: _Act) -> None:
        with contextlib.suppress(RuntimeError):  # the caller's loop was closed without waiting
            loop.call_soon_threadsafe(act)

    host = ThreadHost(display, post)

    def target() -> None:
        outcome.run(lambda: work(host))
        post(ended.set)

    threading.Thread(target=target, name="headrace", daemon=True).start()
    cancellations: list[asyncio.CancelledError] = []
    while not ended.is_set():
        try:
            await ended.wait()
        except asyncio.CancelledError as cancellation:
            cancellations.append(cancellation)
            host.stop()
            if len(cancellations) > _STOPS:
                raise
    if cancellations:
        raise cancellations[0]
    return outcome.get()

"""Tracks how long an actor has been away, when that is too long, and when to reconnect."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from actors.transport.courier_settings import CourierSettings, OnRestart

_log = logging.getLogger(__name__)

_LOGGED_AFTER_S = 10.0  # a shorter absence is an ordinary restart


class Absence:
    """The current absence of one actor, if any. Create it on a running event loop.

    on_too_long: called once in each absence that lasts for `fail_after_s`, under `OnRestart.FAIL`.
    trouble: why there is no connection; empty if there is one.
    """

    def __init__(self, peer: str, settings: CourierSettings, on_too_long: Callable[[], None]) -> None:
        self.trouble = ""
        self._loop = asyncio.get_running_loop()
        self._peer = peer
        self._settings = settings
        self._on_too_long = on_too_long
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pause_s = settings.retry_s
        self._is_logged = False
        self._defect = ""  # the last logged one

    def begin(self) -> None:
        """Begin an absence unless one has begun."""
        if self._since is not None:
            return
        self._since = self._loop.time()
        if self._settings.on_restart is OnRestart.FAIL:
            self._timer = self._loop.call_later(self._settings.fail_after_s, self._on_too_long)

    def end(self) -> None:
        """End the absence: there is a connection."""
        if self._is_logged:
            _log.warning("%s is back", self._peer)
        self._since, self._is_logged, self.trouble = None, False, ""
        self.stop()

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def failed(self, why: Exception) -> None:
        """Record that a connection could not be made or broke, and log a long absence once."""
        self.trouble = str(why)
        if self._since is None or self._is_logged or self._loop.time() - self._since < _LOGGED_AFTER_S:
            return
        self._is_logged = True
        _log.warning("%s is away; reconnecting: %s", self._peer, self.trouble)

    def log_defect(self, error: Exception) -> None:
        """Log a defect, unless it is the one logged last: it may occur on every connection."""
        if repr(error) != self._defect:
            self._defect = repr(error)
            _log.critical("a defect in the courier to %s", self._peer, exc_info=error)

    def next_pause_s(self) -> float:
        """Return how long to wait before reconnecting, in seconds: exponential backoff with jitter.

        Without jitter all peers of a lost host would reconnect at the same moment.
        """
        pause_s = self._pause_s * random.uniform(0.5, 1.0)
        self._pause_s = min(self._settings.longest_retry_s, 2 * self._pause_s)
        return pause_s

    def reset_backoff(self) -> None:
        """Reset the backoff: the connection works."""
        self._pause_s = self._settings.retry_s

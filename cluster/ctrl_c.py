"""Ctrl-C where it could be overheard.

Python raises KeyboardInterrupt wherever it is. In a hook of a fork, or as something is freed, nobody can be
told: it is printed, and the program goes on as if nothing had been pressed. Ray forks a lot as it starts.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

_AGAIN_S = 1.0  # far longer than an exception takes to leave: it is not to come again in the clean-up


@contextlib.contextmanager
def heard(again_s: float = _AGAIN_S) -> Iterator[None]:
    """Have Ctrl-C end what goes on in this context: one overheard is pressed again, till it is heard.

    Does nothing outside of the main thread, or where somebody else handles the signal.
    """
    main = threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not main or before is not signal.default_int_handler:
        yield
        return
    pressed: list[threading.Timer] = []

    def on_signal(_: int, __: FrameType | None) -> NoReturn:
        timer = threading.Timer(again_s, signal.pthread_kill, (main.ident, signal.SIGINT))
        timer.daemon = True
        timer.start()
        pressed.append(timer)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        for timer in pressed:
            timer.cancel()
        signal.signal(signal.SIGINT, before)

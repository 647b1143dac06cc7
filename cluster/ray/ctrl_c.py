"""Ctrl-C where it could be overheard.

Python raises KeyboardInterrupt wherever it is. In a hook of a fork, or as something is freed, nobody can be
told: it is printed, and the program goes on as if nothing had been pressed. Ray forks a lot as it starts.

Rule 1: in the midst of a fork nothing is raised; it is pressed again once the fork is over.
Rule 2: what was raised and did not end the context is pressed again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SOON_S = 0.01  # a fork takes less
_AGAIN_S = 1.0  # far longer than an exception takes to leave: it is not to come again in the clean-up

# Held during each fork. Hooks that were there before, logging's above all, are called while it is; its own
# are not Python, so that nothing can be raised in them.
_forking = threading.Lock()
os.register_at_fork(
    before=_forking.acquire, after_in_parent=_forking.release, after_in_child=_forking.release
)


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

    def press_again(in_s: float) -> None:
        timer = threading.Timer(in_s, signal.pthread_kill, (main.ident, signal.SIGINT))
        timer.daemon = True
        timer.start()
        pressed.append(timer)

    def on_signal(_: int, __: FrameType | None) -> None:
        if _forking.locked():
            press_again(_SOON_S)
            return
        press_again(again_s)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        for timer in pressed:
            timer.cancel()
        signal.signal(signal.SIGINT, before)

"""Ctrl-C is heard though the exception that it raises was dropped."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest

from cluster.ray import ctrl_c
from cluster.ray.ctrl_c import heard

WITHIN_S = 10.0


@pytest.fixture(autouse=True)
def as_python_has_it():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press():
    os.kill(os.getpid(), signal.SIGINT)


def press_and_wait():
    press()
    threading.Event().wait(WITHIN_S)


def overhear():
    with contextlib.suppress(KeyboardInterrupt):
        press_and_wait()
    threading.Event().wait(WITHIN_S)


def test_one_that_is_overheard_is_pressed_again():
    with pytest.raises(KeyboardInterrupt), heard(again_s=0.01):
        overhear()


def test_one_that_is_heard_is_not_pressed_again():
    """It would come in the midst of the clean-up."""
    with pytest.raises(KeyboardInterrupt), heard():
        press_and_wait()
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(0.5)  # what is called off ends at once
            assert not thread.is_alive()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def press_during_a_fork(seen):
    with ctrl_c._forking:
        press()
        seen.append("the fork went on")
    threading.Event().wait(WITHIN_S)


def test_in_the_midst_of_a_fork_nothing_is_raised_but_right_after_it():
    """There it would be printed, and heard a second later."""
    seen = []
    with pytest.raises(KeyboardInterrupt), heard(again_s=WITHIN_S):
        press_during_a_fork(seen)
    assert seen == ["the fork went on"]


def test_a_handler_of_somebody_else_stays():
    theirs = []
    signal.signal(signal.SIGINT, lambda *_: theirs.append(1))
    with heard(again_s=0.01):
        press()
    assert theirs == [1]


def test_outside_of_the_main_thread_nothing_is_touched():
    seen = []

    def look():
        with heard():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(WITHIN_S)
    assert seen == [signal.default_int_handler]

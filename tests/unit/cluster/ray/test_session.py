"""Ctrl-C while Ray starts is never lost."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest

from cluster.ray.session import interruptible


@pytest.fixture(autouse=True)
def as_python_has_it():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press():
    os.kill(os.getpid(), signal.SIGINT)


def press_and_go_on(seen):
    with interruptible():
        press()
        seen.append("Ray starts")


def test_ctrl_c_ends_the_start_at_once():
    seen = []
    with pytest.raises(KeyboardInterrupt):
        press_and_go_on(seen)
    assert seen == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_ends_the_start_of_a_background_command_too():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for `command &`
    try:
        with pytest.raises(KeyboardInterrupt):
            press_and_go_on([])
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def press_unheard(seen):
    with interruptible():
        with contextlib.suppress(KeyboardInterrupt):  # as Python does in a fork hook
            press()
        seen.append("Ray starts")


def test_ctrl_c_that_the_code_within_discards_is_raised_at_the_end():
    seen = []
    with pytest.raises(KeyboardInterrupt):
        press_unheard(seen)
    assert seen == ["Ray starts"]


def fail_after_ctrl_c():
    with interruptible():
        with contextlib.suppress(KeyboardInterrupt):
            press()
        raise ConnectionError


def test_an_error_that_follows_from_ctrl_c_is_ctrl_c():
    with pytest.raises(KeyboardInterrupt):
        fail_after_ctrl_c()


def test_an_error_without_ctrl_c_stays():
    with pytest.raises(ConnectionError), interruptible():
        raise ConnectionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_another_library_stays():
    received = []
    signal.signal(signal.SIGINT, lambda *_: received.append(1))
    with interruptible():
        press()
    assert received == [1]


def test_outside_of_the_main_thread_the_handler_stays():
    seen = []

    def look():
        with interruptible():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(10)
    assert seen == [signal.default_int_handler]

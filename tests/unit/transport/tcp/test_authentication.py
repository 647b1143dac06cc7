"""Who is let in: those who know the secret, on both ends, and nobody who only repeats what was said."""

from __future__ import annotations

import pickle

import pytest

from actors.transport.tcp.authentication import (
    GREETING,
    CalledHandshake,
    CallerHandshake,
    HandshakeError,
    Location,
)

SECRET = b"s" * 32
OTHER = b"o" * 32


def shake(caller, called):
    """Carry what the two ends say until neither wants more; return what went over the wire."""
    said = [called.begin()]
    said.append(caller.take(said[-1]))
    said.append(called.take(said[-1]))
    caller.take(said[-1])
    return said


def ends(caller_secret=SECRET, called_secret=SECRET):
    return CallerHandshake(caller_secret, b"1" * 32), CalledHandshake(called_secret, b"2" * 32)


def test_two_who_know_the_secret_let_each_other_in_and_never_say_it():
    caller, called = ends()
    said = shake(caller, called)
    assert (caller.wants, called.wants) == (0, 0)
    assert not any(SECRET in part for part in said)


def test_a_caller_without_the_secret_is_refused():
    with pytest.raises(HandshakeError, match="does not know"):
        shake(*ends(caller_secret=OTHER))


def test_a_caller_lets_nobody_answer_who_does_not_know_the_secret():
    caller, called = ends()
    caller.take(called.begin())
    with pytest.raises(HandshakeError, match="does not know"):
        caller.take(b"\0" * 32)
    assert caller.wants > 0


def test_a_proof_that_is_sent_back_to_its_maker_proves_nothing():
    caller, called = ends()
    answer = caller.take(called.begin())
    with pytest.raises(HandshakeError):
        caller.take(answer[32:])


def test_a_proof_made_for_one_challenge_is_worth_nothing_for_the_next():
    caller, called = ends()
    answer = caller.take(called.begin())
    with pytest.raises(HandshakeError):
        CalledHandshake(SECRET, b"3" * 32).take(answer)


def test_a_port_that_belongs_to_something_else_is_told_apart():
    caller, _ = ends()
    with pytest.raises(HandshakeError, match="another program"):
        caller.take(b"HTTP/1.1 400 Bad Request\r\n".ljust(len(GREETING) + 32))


def test_a_meeting_travels_and_does_not_show_its_secret():
    location = Location("127.0.0.1", 4711, SECRET)
    assert pickle.loads(pickle.dumps(location)) == location  # noqa: S301 - made in this line
    assert "sss" not in repr(location)

"""A connection without a socket: first the handshake, then frames, and an end that is told once."""

from __future__ import annotations

import asyncio
import re

import pytest

from actors.transport.tcp.authentication import CalledHandshake, CallerHandshake
from actors.transport.tcp.connection import TcpConnection
from actors.transport.tcp.frames import Frame, FrameKind, encode

SECRET = b"s" * 32


class Wire(asyncio.Transport):
    """Notes what is written; ends at once when told to."""

    def __init__(self, connection):
        super().__init__()
        self.written = b""
        self.aborted = False
        self.connection = connection

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.aborted

    def abort(self):
        if not self.aborted:
            self.aborted = True
            self.connection.connection_lost(None)

    def taken(self):
        written, self.written = self.written, b""
        return written


class Noting(TcpConnection):
    def __init__(self, handshake, **more):
        super().__init__(handshake, **more)
        self.frames, self.reasons = [], []

    def connection_made(self, transport):
        self.wire = transport
        super().connection_made(transport)

    def on_frame(self, frame):
        self.frames.append(frame)

    def on_closed(self, reason):
        self.reasons.append(reason)


@pytest.fixture
async def called():
    made = Noting(CalledHandshake(SECRET, b"2" * 32))
    made.connection_made(Wire(made))
    yield made
    made.end("the test is over")


def proof_for(called, secret=SECRET):
    return CallerHandshake(secret, b"1" * 32).take(called.wire.taken())


async def test_frames_that_come_with_the_proof_are_read_after_it(called):
    called.data_received(proof_for(called) + b"".join(encode(FrameKind.DELIVERY, b"x")))
    assert called.frames == [Frame(FrameKind.DELIVERY, b"x")]


async def test_a_handshake_in_single_bytes_is_one_too(called):
    for byte in proof_for(called):
        called.data_received(bytes([byte]))
    assert called.is_open


async def test_what_comes_with_a_wrong_proof_is_not_looked_at(called):
    called.data_received(proof_for(called, b"o" * 32) + b"".join(encode(FrameKind.DELIVERY, b"x")))
    assert called.frames == []
    assert len(called.reasons) == 1
    assert "does not know" in called.reasons[0]


async def test_a_frame_that_is_too_large_ends_the_connection(called):
    called.data_received(proof_for(called))
    called.data_received(b"\xff\xff\xff\xff" + bytes([FrameKind.DELIVERY]))
    assert "4,294,967,295 bytes" in called.reasons[0]


async def test_one_who_never_proves_anything_is_shown_out_in_time():
    silent = Noting(CalledHandshake(SECRET, b"2" * 32), within_s=0.0)
    silent.connection_made(Wire(silent))
    async with asyncio.timeout(5):
        while not silent.reasons:
            await asyncio.sleep(0)
    assert "no handshake within" in silent.reasons[0]


async def test_one_who_proves_it_in_time_may_stay():
    prompt = Noting(CalledHandshake(SECRET, b"2" * 32), within_s=0.0)
    prompt.connection_made(Wire(prompt))
    prompt.data_received(proof_for(prompt))
    for _ in range(20):
        await asyncio.sleep(0)
    assert (prompt.is_open, prompt.reasons) == (True, [])


async def test_a_connection_that_has_ended_is_closed_and_takes_nothing(called):
    called.data_received(proof_for(called))
    called.end("enough")
    written = len(called.wire.written)
    called.send(FrameKind.PING)
    assert (called.is_open, called.reasons, len(called.wire.written)) == (False, ["enough"], written)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(None, "the connection was closed by the other end"), (ConnectionResetError("reset"), "broke: .*reset")],
)
async def test_an_end_that_the_other_side_made_says_how(error, reason):
    lost = Noting(CalledHandshake(SECRET, b"2" * 32))
    lost.connection_made(Wire(lost))
    lost.connection_lost(error)
    assert re.search(reason, lost.reasons[0])

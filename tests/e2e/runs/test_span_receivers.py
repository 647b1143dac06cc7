"""A receiver of spans that is slow or sends too much costs neither the process its later spans nor memory."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from itertools import chain

import pytest

from actors.core.tracing.spans import TraceRules, TraceSpan
from actors.runtime.telemetry import otlp
from actors.runtime.telemetry.otlp import OtlpSender
from actors.runtime.telemetry.settings import TraceSection, TraceSettings

SPAN = TraceSpan("call", 1, 2, None, 1.0, 2.0, {})
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
WITHIN_S = 0.4


def drip(text):
    """Return pieces of one byte, which arrive faster than a read may take."""
    for byte in text:
        yield bytes([byte])
        time.sleep(WITHIN_S / 8)


ANSWERS = {
    "head": (lambda: drip(HEAD % 0), False),
    "body": (lambda: chain([HEAD % 200], drip(b"x" * 200)), False),
    "large": (lambda: [HEAD % 10**9, *[b"x" * 10**6] * 1000], True),
}


@contextmanager
def receiver(answers):
    """Answer each connection with the next of `answers`. Yield its URL, and the numbers of bytes sent."""
    sent = [0] * len(answers)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(number, answer):
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.recv(65_536)
                for part in answer():
                    connection.sendall(part)
                    sent[number] += len(part)

        def serve_all():
            with suppress(OSError):
                for number, answer in enumerate(answers):
                    serve(number, answer)

        threading.Thread(target=serve_all, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", sent


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_receiver_has_one_deadline_and_a_bounded_answer(kind, monkeypatch):
    monkeypatch.setattr(otlp, "_EXPORT_WITHIN_S", WITHIN_S)
    answer, is_accepted = ANSWERS[kind]
    with receiver([answer, lambda: [HEAD % 2, b"{}"]]) as (url, sent):
        settings = TraceSettings(TraceRules("life", 1.0), TraceSection(endpoint=url).endpoint)
        sender = OtlpSender(settings, "test")
        began = time.monotonic()
        assert sender.send([SPAN]) is is_accepted
        assert time.monotonic() - began < 4 * WITHIN_S
        assert sender.send([SPAN])  # the next request has a new connection
    assert sent[0] < 50 << 20
    sender.shutdown()

"""Sends spans to an OTLP receiver from a thread, so that no call waits for it.

Rule 1: the queue is bounded. A span for which it has no room is dropped and counted.
Rule 2: after `close` no span is accepted. Those in the queue are sent if the receiver takes them in time.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from actors.core.errors import InvariantError
from actors.core.tracing.spans import TraceSpan

_log = logging.getLogger(__name__)

_MOST_WAITING = 4096
_BATCH = 512
_LINGER_S = 1.0  # how long a batch gathers


class SpanStatistics(Struct, frozen=True):
    """A snapshot. dropped: there was no room in the queue. failed: the receiver did not accept them.

    Those that are being sent are in none of the counts. If `close` does not wait for their end, they failed.
    """

    exported: int = 0
    dropped: int = 0
    failed: int = 0


class SendsSpans(Protocol):
    """Sends batches of spans. All methods but `shutdown` are called in one thread."""

    def send(self, spans: Sequence[TraceSpan]) -> bool:
        """Send spans; return whether the receiver accepted them. It has a deadline."""

    def shutdown(self) -> None:
        """Interrupt `send` soon. May be called in another thread."""


OpenSender: TypeAlias = Callable[[], SendsSpans]


class SpanExporter:
    """A bounded queue of spans, and the thread that sends them. `open_sender` is called in the thread."""

    def __init__(self, open_sender: OpenSender, *, most_waiting: int = _MOST_WAITING) -> None:
        self._open_sender = open_sender
        self._most_waiting = most_waiting
        self._waiting: deque[TraceSpan] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._exported = self._dropped = self._failed = 0
        self._sending = 0  # the spans of the batch that is being sent
        self._sender: SendsSpans | None = None
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def offer(self, span: TraceSpan) -> None:
        """Queue a span, or drop it if the queue is full or closed. Never waits for the receiver."""
        with self._changed:
            if self._is_closing or len(self._waiting) >= self._most_waiting:
                self._dropped += 1
                return
            self._waiting.append(span)
            if len(self._waiting) in (1, _BATCH):
                self._changed.notify()

    def statistics(self) -> SpanStatistics:
        """Return a frozen snapshot."""
        with self._changed:
            return SpanStatistics(self._exported, self._dropped, self._failed)

    def close(self, within_s: float) -> None:
        """Send what is queued, and end the thread. Blocks for at most `within_s` seconds."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(within_s)
        if self._thread.is_alive() and self._sender is not None:
            self._sender.shutdown()
        with self._changed:
            self._dropped += len(self._waiting)
            self._waiting.clear()
            self._failed, self._sending = self._failed + self._sending, 0
        lost = self._dropped + self._failed
        if lost:
            _log.warning("%d of %d spans were not exported", lost, lost + self._exported)

    def check_invariants(self) -> None:
        """Raise InvariantError if the queue exceeds its bound."""
        with self._changed:
            if len(self._waiting) > self._most_waiting:
                raise InvariantError(f"{len(self._waiting)} spans wait in a queue for {self._most_waiting}")

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            accepted = self._send(batch)
            with self._changed:
                if accepted:
                    self._exported += self._sending
                else:
                    self._failed += self._sending
                self._sending = 0
        if self._sender is not None:
            self._sender.shutdown()

    def _send(self, batch: Sequence[TraceSpan]) -> bool:
        try:
            if self._sender is None:
                self._sender = self._open_sender()
            return self._sender.send(batch)
        except Exception:  # noqa: BLE001 - a defect of the SDK must not end the thread: later spans would be lost
            _log.exception("spans could not be exported")
            return False

    def _next_batch(self) -> list[TraceSpan] | None:
        """Wait for spans, then a little longer for more. Return None when all are sent after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            self._changed.wait_for(lambda: len(self._waiting) >= _BATCH or self._is_closing, _LINGER_S)
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            self._sending = len(batch)
        return batch or None

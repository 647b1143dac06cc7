"""What a courier is told, and what it tells of itself."""

from __future__ import annotations

import enum

from msgspec import Struct


class OnRestart(enum.Enum):
    """What becomes of unanswered items when the actor they went to begins anew."""

    RESEND = "resend"  # they may run twice, and that does no harm
    FAIL = "fail"  # the caller decides, item by item


class CourierSettings(Struct, frozen=True):
    """Bounds and pace. Times in seconds.

    interval_s: the distance of deliveries under load.
    retry_s: the pause before another connection is made; it doubles with each that comes to nothing, up to
    `longest_retry_s`.
    fail_after_s: how long an actor may be away before items fail, under `OnRestart.FAIL`.
    """

    max_outstanding: int
    max_outstanding_bytes: int
    on_restart: OnRestart
    interval_s: float = 0.003
    retry_s: float = 0.05
    longest_retry_s: float = 2.0
    fail_after_s: float = 30.0


class CourierStatistics(Struct, frozen=True):
    """What a courier holds and has done. `messages` are deliveries.

    `trouble`: why there is no connection; empty where there is one, or none is needed.
    """

    peer: str
    epoch: str | None
    queued: int
    outstanding: int
    outstanding_bytes: int
    waiting_for_room: int
    sent: int
    answered: int
    messages: int
    restarts: int
    trouble: str = ""

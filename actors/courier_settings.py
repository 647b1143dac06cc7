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

    interval_s: the distance of deliveries under load. retry_s: the pause before another connection is made.
    give_up_s: how long an actor may stay away.
    """

    max_outstanding: int
    max_outstanding_bytes: int
    on_restart: OnRestart
    interval_s: float = 0.003
    retry_s: float = 0.05
    give_up_s: float = 30.0


class CourierStatistics(Struct, frozen=True):
    """What a courier holds and has done. `messages` are deliveries."""

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

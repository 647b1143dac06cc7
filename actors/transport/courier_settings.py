"""The settings and the statistics of a courier."""

from __future__ import annotations

import enum

from msgspec import Struct


class OnRestart(enum.Enum):
    """The policy for items that were sent and not answered when the actor restarts."""

    RESEND = "resend"  # for items that may run twice without harm
    FAIL = "fail"  # the caller decides for each item


class CourierSettings(Struct, frozen=True):
    """Bounds and pacing. Times are in seconds.

    interval_s: the interval between deliveries under load.
    retry_s: the pause before a reconnection; it doubles with each failure, up to `longest_retry_s`.
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
    """A snapshot of a courier.

    messages: deliveries sent.
    trouble: why there is no connection; empty if there is one or none is needed.
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

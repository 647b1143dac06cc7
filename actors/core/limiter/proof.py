"""Tracks how many attempts in flight an endpoint has been seen to answer, and whether it still answers.

An endpoint that hangs refuses nothing. A limit that rises because nothing is refused would rise to its
maximum there, and every attempt in flight may be billed without an answer.

Rule 1: a probe goes no further than a multiple of what an answered attempt had in flight.
Rule 2: a probe that found room is answered before the next one begins, unless answers usually take that long.
"""

from __future__ import annotations

_LEAD = 2.0  # times what was answered: doubled capacity is found without waiting for an answer
_FLOOR = (
    4.0  # with less, an endpoint of one slot with slow answers needs an answer for each of the first steps
)
_PATIENCE = 4.0  # times what an answer usually takes: without one for this long, an endpoint is silent
_AVERAGED_OVER = 50  # answers


class Proof:
    """What answers prove about one endpoint."""

    def __init__(self, now: float) -> None:
        self._carried = 0.0  # the most that an answered attempt had in flight since the last cut below that
        self._cut_to = 0.0  # the limit after the last cut
        self._answers = 0
        self._usual_s = 0.0
        self._answered_at = now
        self._is_unanswered = False  # no answer and no refusal since the last probe began

    @property
    def most(self) -> float:
        """How far a probe may go."""
        return max(_FLOOR, _LEAD * self._carried)

    def is_silent(self, now: float) -> bool:
        """Return whether nothing came since the last probe, for longer than answers take."""
        return self._is_unanswered and now - self._answered_at > _PATIENCE * self._usual_s

    def began(self, in_flight: int, *, is_current: bool) -> None:
        """Record that an attempt sent with `in_flight` is being answered.

        `is_current`: it was sent since the last cut. One sent before proves at most what the cut left. If it
        proved nothing, an endpoint with slow answers and frequent cuts would never have a proof.
        """
        self._carried = max(self._carried, in_flight if is_current else min(in_flight, self._cut_to))

    def answered(self, now: float, took_s: float) -> None:
        """Record a whole answer."""
        self._answers += 1
        self._usual_s += (took_s - self._usual_s) / min(self._answers, _AVERAGED_OVER)
        self._answered_at = now
        self._is_unanswered = False

    def probed(self) -> None:
        """Record that a probe begins."""
        self._is_unanswered = True

    def cut(self, limit: float, *, is_first: bool) -> None:
        """Record a cut to `limit`. `is_first`: it ends the first ramp, which has its own bound."""
        self._carried = max(self._carried, limit) if is_first else min(self._carried, limit)
        self._cut_to = limit
        self._is_unanswered = False

"""Learns from refusals how many attempts may be in flight at an endpoint.

A refusal returns within a round trip. It says that one more than so many in flight was too many. The bound is
then known to within one, and what remains is to notice that it moves.

Rule 1: a refusal speaks of the moment its attempt was sent. One sent before the last cut is not news.
Rule 2: only a probe finds more capacity, and a probe that fails costs a refusal (`probe`, `probe_schedule`).
Rule 3: refusals that do not depend on what is in flight never cut. The limit would end at 1 (`tolerance`).
Rule 4: the limit does not rise on silence. Answers bound every rise (`ramp`, `proof`).
Rule 5: time and randomness are arguments. All times are seconds.
"""

from __future__ import annotations

import enum
import random

from actors.core.errors import InvalidTransitionError, InvariantError
from actors.core.limiter.probe import Probe
from actors.core.limiter.probe_schedule import ProbeSchedule
from actors.core.limiter.proof import Proof
from actors.core.limiter.ramp import Ramp
from actors.core.limiter.recovery import Recovery
from actors.core.limiter.tolerance import Tolerance

_MARGIN = 0.005  # of the bound; requests on the wire come and go, and at the bound itself some are refused
_IN_USE = 0.9  # of the limit; a limit that is not in use and grows has been tested by nothing
_REMEMBERED_S = 300.0  # without a refusal for this long, refusals are not what bounds


class LimitMode(enum.StrEnum):
    """What the limit does."""

    RAMP = "ramp"
    STEADY = "steady"
    PROBE = "probe"
    RECOVERY = "recovery"


_NEXT = {
    LimitMode.RAMP: {LimitMode.STEADY, LimitMode.RECOVERY},
    LimitMode.STEADY: {LimitMode.PROBE, LimitMode.RECOVERY},
    LimitMode.PROBE: {LimitMode.STEADY, LimitMode.RECOVERY},
    LimitMode.RECOVERY: {LimitMode.STEADY, LimitMode.RAMP, LimitMode.RECOVERY},
}


class RefusalBound:
    """The limit of an endpoint that refuses what exceeds its capacity.

    ========  ===================================  ========  ===================================
    mode      event                                next      effect
    ========  ===================================  ========  ===================================
    ramp      the ramp ends                        steady    the limit stays
    steady    a probe is due and the limit is in   probe     one more may be sent
              use
    probe     the probe finds room                 steady    the limit stays, the next probe is
                                                             due
    probe     a refusal beyond the probe's base    steady    the limit from before the probe
    any       a refusal                            recovery  the limit is cut
    recovery  admitted after one cut               steady    the limit stays
    recovery  admitted after several cuts          ramp      towards the limit before the cuts
    any but   a contradiction begins tolerance     steady    the limit before the contradictions
    recovery
    ========  ===================================  ========  ===================================

    `sent_with` counts the attempts in flight when an attempt was sent, itself included.
    """

    def __init__(self, start: int, most: int, *, now: float, rng: random.Random) -> None:
        self.limit = float(min(start, most))
        self.mode = LimitMode.RAMP
        self.epoch = 0  # counts the cuts
        self._most = float(most)
        self._refused_at = -_REMEMBERED_S
        self._ramp = Ramp(now, self._most)
        self._recovery = Recovery(now, self.limit)
        self._probe = Probe(now, self.limit)
        self._schedule = ProbeSchedule(now, self.limit, rng)
        self._tolerance = Tolerance(now)
        self._proof = Proof(now)

    # ---- attempts

    def sent(self, now: float) -> None:
        """Count an attempt that is sent."""
        if self.mode is LimitMode.RECOVERY:
            self._recovery.sent(now)

    def began(self, epoch: int, sent_with: int) -> None:
        """Record that an attempt is being answered."""
        is_current = epoch == self.epoch
        self._proof.began(sent_with, is_current=is_current)
        if is_current:
            self._ramp.prove(sent_with)

    def answered(self, now: float, epoch: int, sent_with: int, *, took_s: float, in_flight: int) -> None:
        """Record a whole answer; `in_flight` attempts are left."""
        is_current = epoch == self.epoch
        self._schedule.answered()
        self._tolerance.answered(now, sent_with)
        self._proof.began(sent_with, is_current=is_current)
        self._proof.answered(now, took_s)
        self._ramp.answered(sent_with, took_s, is_current=is_current)
        if is_current:
            self._recovery.answered()
            if self.mode is LimitMode.RECOVERY:
                self._recovered(now, in_flight)

    def lost(self, now: float, epoch: int) -> None:
        """Record that an attempt ended without a word about capacity."""
        if self.mode is LimitMode.RECOVERY and epoch == self.epoch:
            self._recovery.lost(now)

    def refused(
        self, now: float, epoch: int, sent_with: int, *, took_s: float, in_flight: int, retry_after_s: float
    ) -> float:
        """Record a refusal; `in_flight` attempts are left. Return for how long nothing may be sent."""
        self._refused_at = now
        self._recovery.measure_refusal(took_s)
        if self._tolerance.tolerates_refusal():
            return 0.0
        self._schedule.refused()
        if epoch != self.epoch:
            return 0.0  # one overshoot brings many refusals; a cut for each would end at 1
        is_recovering = self.mode is LimitMode.RECOVERY
        # A canary is refused while more runs than a fallen capacity allows. That is no contradiction.
        if not is_recovering and self._tolerance.begins_with(sent_with, self.limit):
            self._take_back_cuts(now)
            return 0.0
        if self._cut(max(1, min(sent_with - 1, in_flight))):
            self._schedule.hold(now, self.limit)
            self._enter(LimitMode.STEADY)
            return 0.0
        if not is_recovering:
            self._recovery.begin(now, in_flight, self._schedule.held)
        self._enter(LimitMode.RECOVERY)
        return self._recovery.cut(now, retry_after_s)

    # ---- time

    def may_send(self, in_flight: int) -> bool:
        """Return whether one more attempt may be sent beside `in_flight` others."""
        if in_flight >= int(self.limit):
            return False
        return self.mode is not LimitMode.RECOVERY or self._recovery.may_send(self.limit)

    def advance(self, now: float, in_flight: int, *, may_probe: bool, may_open: bool = True) -> None:
        """Let time pass with `in_flight` attempts. `may_open`: a ramp into the unknown may continue."""
        if self.mode is LimitMode.RECOVERY:
            admitted_at = self._recovery.admitted_at()
            if admitted_at is not None and now >= admitted_at:
                self._recovered(now, in_flight)
        elif self.mode is LimitMode.RAMP:
            if not may_open and self.is_opening():
                self._ramp.hold(now)
            else:
                is_full = self._is_full(in_flight)
                self.limit, has_ended = self._ramp.advance(now, self.limit, is_full=is_full)
                if has_ended:
                    self._enter(LimitMode.STEADY)
        elif self.mode is LimitMode.PROBE:
            self._advance_probe(now, in_flight)
        elif may_probe and self._schedule.is_due(now) and self._is_full(in_flight):
            self._begin_probe(now)

    def next_at(self, now: float, in_flight: int) -> float | None:
        """Return when `advance` may have an effect beside `in_flight`, None if only an event can."""
        if self.mode is LimitMode.RECOVERY:
            return self._recovery.admitted_at()
        if self.mode is LimitMode.STEADY:
            return self._schedule.next_at(now)
        if self.mode is LimitMode.PROBE:
            return self._probe.next_at(now, self.limit, in_flight, self._recovery.refusal_s)
        return self._ramp.next_at(now, self.limit, is_full=self._is_full(in_flight))

    def is_refusing(self, now: float) -> bool:
        """Return whether refusals are what bounds this endpoint, as far as is known."""
        return now - self._refused_at < _REMEMBERED_S

    def is_opening(self) -> bool:
        """Return whether this is a ramp into the unknown, not one back to a limit that was held before."""
        return self.mode is LimitMode.RAMP and self._ramp.is_opening

    def move(self, limit: float) -> None:
        """Set the limit for a reason that is not a refusal. This ends a ramp."""
        self.limit = max(1.0, min(self._most, limit))
        if self.mode is LimitMode.RAMP:
            self._enter(LimitMode.STEADY)

    def check_invariants(self) -> None:
        """Raise `InvariantError` if the state is impossible."""
        if not 1 <= self.limit <= self._most:
            raise InvariantError(f"limit {self.limit} is outside 1..{self._most}")
        self._recovery.check_invariants()
        self._schedule.check_invariants()

    # ---- inside

    def _enter(self, mode: LimitMode) -> None:
        if mode not in _NEXT[self.mode]:
            raise InvalidTransitionError("limit", self.mode, f"to {mode}")
        self.mode = mode

    def _is_full(self, in_flight: int) -> bool:
        return in_flight >= max(1.0, _IN_USE * (int(self.limit) - 1))

    def _cut(self, bound: int) -> bool:
        """Cut the limit to `bound`. Return whether only a probe failed, so that its base is still good."""
        self.epoch += 1
        # In the ramp the first refusal comes from the very edge; later ones come when the wire is emptiest.
        level = float(bound if self.mode is LimitMode.RAMP else bound - round(_MARGIN * bound))
        is_failed_probe = self.mode is LimitMode.PROBE and bound >= self._probe.base
        self.limit = max(self._probe.base, level) if is_failed_probe else min(self.limit, level)
        self._proof.cut(self.limit, is_first=self.is_opening())
        self._ramp.cut()
        self._probe.cut()
        return is_failed_probe

    def _take_back_cuts(self, now: float) -> None:
        """Take back the cuts that were made for refusals which do not depend on the limit."""
        self.limit = max(self.limit, self._tolerance.limit_before)
        self._schedule.hold(now, self.limit)
        if self.mode is not LimitMode.STEADY:
            self._enter(LimitMode.STEADY)

    def _recovered(self, now: float, in_flight: int) -> None:
        """Continue after an attempt that was sent since the last cut has been admitted."""
        self._schedule.hold(now, self.limit)
        if not self._recovery.is_repeated:
            self._enter(LimitMode.STEADY)
            return
        # The wait has emptied slots. Filled at once, a capacity that is still low refuses them all. Capacity
        # may also be back where it was, as after an outage. So the limit ramps from what is in flight.
        self._ramp.restart(now, max(self.limit, self._recovery.limit_before))
        self.limit = max(1.0, min(self.limit, in_flight + 1.0))
        self._enter(LimitMode.RAMP)

    def _begin_probe(self, now: float) -> None:
        goal = min(self._most, self._probe.goal(self.limit), float(int(self._proof.most)))
        if goal <= self.limit or self._proof.is_silent(now):
            return  # an endpoint that hangs refuses nothing, and would be sent the maximum
        self.limit = self._probe.begin(now, self.limit, goal)
        self._schedule.begin(now)
        self._proof.probed()
        self._enter(LimitMode.PROBE)

    def _advance_probe(self, now: float, in_flight: int) -> None:
        refusal_s = self._recovery.refusal_s
        self.limit, has_room = self._probe.advance(now, self.limit, in_flight, refusal_s)
        if has_room:
            if not self._proof.is_silent(now):
                self._probe.succeed(self.limit)
            self._schedule.succeed(now)
            self._enter(LimitMode.STEADY)

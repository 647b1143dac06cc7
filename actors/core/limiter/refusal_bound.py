"""How many attempts may be in flight, as far as refusals tell.

A refusal comes back within a round trip and says: beside so many in flight, one more was too many. That is
worth more than a signal to halve: the bound is known to within one, and what is left is to notice its moves.

Rule 1: a refusal speaks of the moment its attempt was sent. One sent before the last cut says nothing new.
Rule 2: looking for more costs refusals. So looks are small, they come the less often the more they agree, and
they are paid from a budget that answers earn.
Rule 3: refusals that come as often however little is in flight are not about what is in flight. To cut for
them would end at 1 and stay there; once they are recognised, as many as before are put up with.
Rule 4: a limit does not rise on silence. A look is bounded by what answers prove (`limiter_proof`).
Rule 5: time and luck are arguments. All times are seconds.

RAMP doubles the limit; STEADY holds it; PROBE has a few more on trial; a refusal leads to DOUBT, in which one
canary goes at a time, until an attempt sent after the cut has not been refused.
"""

from __future__ import annotations

import enum
import random

from actors.core.errors import InvalidTransitionError, InvariantError
from actors.core.limiter.proof import Proof
from actors.core.limiter.strays import Strays

# The ramp. By time and not by answers: refusals come back in a round trip, answers may take a minute.
_SLOWEST_DOUBLING_S = 1.4  # an overshoot is what is sent in a round trip: 3 % of the limit at 60 ms
_FASTEST_DOUBLING_S = 0.1  # where answers come sooner than that, they set the pace
_UNPROVEN = 64  # so far it goes before any answer has come
_LEAD = 1.6  # and then to this many times what an answered attempt had beside it: a queue never refuses
_FIRST_ANSWERS = 50  # of these a fifth were quick: later ones that took longer have queued for the difference
# After a refusal.
_MARGIN = 0.005  # of the bound: requests on the wire come and go, and at the very bound some are refused
_QUIET = 2.0  # latencies of a refusal: an attempt not refused for so long was let in
_LONGEST_QUIET_S = 1.0
_CANARIES = 0.02  # of the limit may go unconfirmed, else a fallen capacity refuses all that is sent meanwhile
_LONGEST_PAUSE_S = 2.0  # at first
# An outage: canaries, refused one after the other.
_OUTAGE = 3
# While it lasts, the pauses between canaries grow to this share of the time it has lasted,
_OUTAGE_SHARE = 0.1
_LONGEST_UNTOLD_S = 4.0  # where the endpoint names no time, and
_LONGEST_TOLD_S = 10.0  # where it does: a longer one could outlast the outage by more than that
_MOST_DOUBLINGS = 60  # of a pause; a float overflows at 1,024
_EMPTY = 0.25  # of what was held, or
_FEW = 5  # in flight: with less, and no answer since, refusals go on telling of the same outage
# Looking for more.
_TRIAL = 5.0  # latencies of a refusal: a sooner verdict takes a lucky gap for room, and falls back at once
_FIRST_INTERVAL_S = 2.0  # to the next look, where the bound has moved
_LONGEST_INTERVAL_S = 16.0  # where looks agree
_AGREEMENT = 0.05  # bounds that differ by less are the same bound
_WASTE = 0.004  # refusals that an answer earns
_SAVINGS = 3.0  # refusals: with one saved a look need not wait, since an endpoint with many answers can pay
_OVERDRAFT = 10.0  # refusals: beyond that, an endpoint with few answers is looked at only once in:
_UNPAID_S = 60.0
_REMEMBERED_S = 300.0  # without a refusal for so long, refusals are not what bounds


class Mode(enum.StrEnum):
    """What is being done about the limit."""

    RAMP = "ramp"
    STEADY = "steady"
    PROBE = "probe"
    DOUBT = "doubt"


_NEXT = {
    Mode.RAMP: {Mode.STEADY, Mode.DOUBT},
    Mode.STEADY: {Mode.PROBE, Mode.DOUBT},
    Mode.PROBE: {Mode.STEADY, Mode.DOUBT},
    Mode.DOUBT: {Mode.STEADY, Mode.RAMP, Mode.DOUBT},
}


class RefusalBound:
    """The limit of an endpoint that refuses what is too much. `sent_with` counts the attempt itself."""

    def __init__(self, start: int, most: int, *, now: float, rng: random.Random) -> None:
        self.limit = float(min(start, most))
        self.mode = Mode.RAMP
        self.epoch = 0  # counts the cuts
        self._most = float(most)
        self._rng = rng
        self._refused_at = -_REMEMBERED_S
        self._refusal_s = 0.05  # how long a refusal takes
        # the ramp
        self._target = float(most)
        self._proven = 0  # the most that an answered attempt of this epoch had in flight
        self._rose_at = now
        self._first_s: list[float] = []  # how long the first answers took
        self._quick_s = 0.0
        self._doubling_s = _SLOWEST_DOUBLING_S
        self._grown_at = now
        # doubt
        self._streak = 0  # cuts since an attempt was let in
        self._canaries = 0
        self._canary_at = now
        self._before = self.limit  # what was held before the streak
        self._doubted_at = now  # when the streak began
        self._is_confirmed = True  # an attempt sent after the last cut has been answered
        self._strays = Strays(now)
        self._proof = Proof(now)
        # looks
        self._held = self.limit  # where the last cut ended
        self._base = self._goal = self.limit
        self._step = 1.0
        self._filled_at: float | None = None
        self._credit = 0.0
        self._interval_s = _FIRST_INTERVAL_S
        self._probe_at = now
        self._probed_at = now

    # ---- what becomes of attempts

    def sent(self, now: float) -> None:
        """Count an attempt that goes out."""
        if self.mode is Mode.DOUBT:
            if not self._canaries:
                self._canary_at = now
            self._canaries += 1

    def began(self, epoch: int, in_flight: int) -> None:
        """Take note that an attempt, sent with `in_flight`, is being answered."""
        self._proof.began(in_flight, is_current=epoch == self.epoch)
        self._prove(epoch, in_flight)

    def answered(self, now: float, epoch: int, sent_with: int, *, took_s: float, in_flight: int) -> None:
        """Take note of a whole answer to an attempt sent with `sent_with` in flight; `in_flight` are left."""
        self._credit = min(_SAVINGS, self._credit + _WASTE)
        self._strays.answered(now, sent_with)
        if took_s < self._doubling_s:
            self._doubling_s = max(_FASTEST_DOUBLING_S, took_s)
        self._is_confirmed = self._is_confirmed or epoch == self.epoch
        self._proof.began(sent_with, is_current=epoch == self.epoch)
        self._proof.answered(now, took_s)
        self._prove(epoch, self._carried(sent_with, took_s))
        if epoch == self.epoch and self.mode is Mode.DOUBT:
            self._trust(now, in_flight)

    def lost(self, now: float, epoch: int) -> None:
        """Take note that an attempt ended without a word about capacity."""
        if self.mode is Mode.DOUBT and epoch == self.epoch and self._canaries:
            self._canaries -= 1
            self._canary_at = now  # the one that is gone may have been the oldest; the rest wait once more

    def refused(
        self, now: float, epoch: int, sent_with: int, *, took_s: float, in_flight: int, wish_s: float
    ) -> float:
        """Take a refusal of an attempt sent with `sent_with` in flight; `in_flight` are left.

        Returns for how long nothing may be sent; 0.0 where that is not needed.
        """
        self._refused_at = now
        # A canary that is not refused for twice as long seems to be let in. In an outage, where each refusal
        # takes another time, the last one alone would have many canaries seem so.
        self._refusal_s = took_s if self._streak < _OUTAGE else max(took_s, self._refusal_s)
        if self._strays.is_refusal_accepted():
            return 0.0
        self._credit = max(-_OVERDRAFT - 1, self._credit - 1.0)
        if epoch != self.epoch:
            return 0.0  # one overshoot brings many refusals; a cut for each would end at 1
        # A canary is refused as long as what runs is more than a fallen capacity: that is no contradiction.
        if self.mode is not Mode.DOUBT and self._strays.is_stray(sent_with, self.limit):
            self._take_back(now)
            return 0.0
        self.epoch += 1
        bound = max(1, min(sent_with - 1, in_flight))
        # In the ramp the first refusal comes from the very edge; later ones come when the wire is emptiest.
        level = float(bound if self.mode is Mode.RAMP else bound - round(_MARGIN * bound))
        is_failed_look = self.mode is Mode.PROBE and bound >= self._base
        self.limit = max(self._base, level) if is_failed_look else min(self.limit, level)
        self._proof.cut(self.limit, is_first=self.is_opening())
        self._step, self._proven = 1.0, 0
        if is_failed_look:
            self._hold(now)
            self._enter(Mode.STEADY)
            return 0.0
        if self.mode is not Mode.DOUBT:
            # The last canary may only have seemed to be let in: its refusal took longer than those before it.
            # Without this, an outage would have what was held before it forgotten,
            self._before = self._held if self._is_confirmed else max(self._held, self._before)
            # and its pauses begin anew.
            if self._is_confirmed or in_flight >= max(_FEW, _EMPTY * self._before):
                self._streak, self._doubted_at = 0, now
        self._is_confirmed = False
        self._streak += 1
        self._canaries = 0
        self._enter(Mode.DOUBT)
        if self._streak == 1:
            return 0.0  # a lone refusal is the price of being at the bound; to stop for it costs 13 %
        return self._pause_s(now - self._doubted_at, wish_s)

    # ---- time

    def may_send(self, in_flight: int) -> bool:
        """Tell whether one more may go beside `in_flight` others."""
        if in_flight >= int(self.limit):
            return False
        return self.mode is not Mode.DOUBT or self._canaries < max(1, int(self.limit * _CANARIES))

    def advance(self, now: float, in_flight: int, *, may_look: bool, may_open: bool = True) -> None:
        """Let time pass with so many in flight. `may_open`: go on with a ramp into the unknown."""
        if self.mode is Mode.DOUBT:
            if self._canaries and now >= self._canary_at + self._quiet_s:
                self._trust(now, in_flight)
        elif self.mode is Mode.RAMP:
            if not may_open and self.is_opening():
                self._grown_at = self._rose_at = now
            else:
                self._ramp(now, in_flight)
        elif self.mode is Mode.PROBE:
            self._probe(now, in_flight)
        elif may_look and self._is_look_due(now) and self._is_full(in_flight):
            self._look(now)

    def next_at(self, now: float, in_flight: int) -> float | None:
        """Return when `advance` may change something beside `in_flight`, None if only an event can."""
        if self.mode is Mode.DOUBT:
            return self._canary_at + self._quiet_s if self._canaries else None
        if self.mode is Mode.STEADY:
            return self._probe_at if now < self._probe_at else None
        if self.mode is Mode.PROBE and self.limit >= self._goal:
            return None if self._filled_at is None else self._filled_at + self._trial_s
        if self.mode is Mode.RAMP and self.limit >= min(self._target, self._provable):
            return self._stalls_at() if self._is_full(in_flight) else None
        is_used = self._is_full(in_flight) if self.mode is Mode.RAMP else in_flight >= int(self.limit) - 1
        # A limit that is not used does not rise. A coarser grain would send more at once than one round trip
        # can refuse.
        return now + 0.02 if is_used else None

    def is_refusing(self, now: float) -> bool:
        """Tell whether refusals are what bounds this endpoint, as far as is known."""
        return now - self._refused_at < _REMEMBERED_S

    def is_opening(self) -> bool:
        """Tell whether this is the ramp into the unknown, not one back to what was held before."""
        return self.mode is Mode.RAMP and self._target >= self._most

    def move(self, limit: float) -> None:
        """Set the limit for a reason that is not a refusal. Ends a ramp."""
        self.limit = max(1.0, min(self._most, limit))
        if self.mode is Mode.RAMP:
            self._enter(Mode.STEADY)

    def check_invariants(self) -> None:
        """Raise `InvariantError` if the state is impossible."""
        if not 1 <= self.limit <= self._most:
            raise InvariantError(f"limit {self.limit} is outside 1..{self._most}")
        if self._canaries < 0 or not -_OVERDRAFT - 1 <= self._credit <= _SAVINGS:
            raise InvariantError(f"{self._canaries} canaries, a credit of {self._credit} refusals")

    # ---- inside

    @property
    def _quiet_s(self) -> float:
        longest_s = _LONGEST_QUIET_S if self._streak < _OUTAGE else _LONGEST_UNTOLD_S
        return min(longest_s, max(0.02, _QUIET * self._refusal_s))

    @property
    def _trial_s(self) -> float:
        return min(1.5, max(0.2, _TRIAL * self._refusal_s))

    def _pause_s(self, doubted_s: float, wish_s: float) -> float:
        """Return how long nothing goes out after a canary was refused as well.

        Capacity has fallen, and what runs must end before more is let in; or there is an outage, and its end
        is found later by the length of this pause.
        """
        outage_s = _OUTAGE_SHARE * doubted_s
        untold_s = min(max(0.25, outage_s), _LONGEST_UNTOLD_S)
        longest_s = min(max(_LONGEST_PAUSE_S, outage_s), _LONGEST_TOLD_S)
        backed_off_s = self._quiet_s * 2.0 ** min(self._streak, _MOST_DOUBLINGS)
        return min(backed_off_s, longest_s, max(wish_s, untold_s))

    def _enter(self, mode: Mode) -> None:
        if mode not in _NEXT[self.mode]:
            raise InvalidTransitionError("limit", self.mode, f"to {mode}")
        self.mode = mode

    def _carried(self, sent_with: int, took_s: float) -> int:
        """Return how many in flight an answer is proof of: of a queue's, only as many as were worked on."""
        if len(self._first_s) < _FIRST_ANSWERS:
            self._first_s.append(took_s)
            self._quick_s = sorted(self._first_s)[len(self._first_s) // 5]
            return sent_with
        return sent_with if took_s <= self._quick_s else int(sent_with * self._quick_s / took_s)

    def _take_back(self, now: float) -> None:
        """Take back the cuts that were made for refusals which do not depend on the limit."""
        self.limit = max(self.limit, self._strays.undisputed)
        self._hold(now)
        if self.mode is not Mode.STEADY:
            self._enter(Mode.STEADY)

    def _is_full(self, in_flight: int) -> bool:
        # Growing while less is asked for would leave a limit that nothing has tested.
        return in_flight >= max(1.0, 0.9 * (int(self.limit) - 1))

    def _is_look_due(self, now: float) -> bool:
        if self._credit >= 1:
            return True
        if self._credit > -_OVERDRAFT:
            return now >= self._probe_at
        # An endpoint of one slot earns a refusal in a quarter of an hour; it would never be seen to grow.
        return now - max(self._probed_at, self._refused_at) > _UNPAID_S

    def _hold(self, now: float) -> None:
        """Keep the limit that a cut has left, and set the time of the next look."""
        if abs(self.limit - self._held) > _AGREEMENT * self._held:
            self._interval_s = _FIRST_INTERVAL_S
            self._credit = max(self._credit, 0.0)  # a bound that moves is worth looking after
        else:
            self._interval_s = min(_LONGEST_INTERVAL_S, 2 * self._interval_s)
        self._held = self.limit
        # Without luck, many limiters behind one capacity would look at the same moment.
        self._probe_at = now + self._interval_s * self._rng.uniform(0.5, 1.0)

    def _trust(self, now: float, in_flight: int) -> None:
        """Go on from a cut: an attempt sent after it was let in."""
        self._hold(now)
        if self._streak == 1:
            self._enter(Mode.STEADY)
            return
        # Waiting has emptied slots. Filled at once, a capacity that is still low refuses them all; and it may
        # be back where it was, as after an outage. So up again from here, to what was held before.
        self._target = max(self.limit, self._before)
        self.limit = max(1.0, min(self.limit, in_flight + 1.0))
        self._grown_at = now
        self._enter(Mode.RAMP)

    def _ramp(self, now: float, in_flight: int) -> None:
        passed = now - self._grown_at
        if passed < 0.01:
            return
        self._grown_at = now
        if self._is_full(in_flight):
            most = min(self._target, self._provable)
            stalls_at = self._stalls_at()
            if self.limit >= most and stalls_at is not None and now >= stalls_at:
                # Whether less would do as well is for a trial to tell, which a ramp bars.
                self.move(self.limit)
                return
            if self.limit < most:
                self._rose_at = now
                # A late call must not make up for lost time in one leap.
                self.limit = min(most, self.limit * 2.0 ** (min(passed, 0.1) / self._doubling_s))
        if self.limit >= self._target:
            self._target = self._most
            self._enter(Mode.STEADY)

    @property
    def _provable(self) -> float:
        """How far a ramp goes with the answers that there are."""
        return max(_UNPROVEN, _LEAD * self._proven)

    def _stalls_at(self) -> float | None:
        """Return when a ramp ends for which no answer proves more; None while too few have come to tell."""
        if len(self._first_s) < _FIRST_ANSWERS or not self.is_opening():
            return None
        return self._rose_at + max(_SLOWEST_DOUBLING_S, 4 * self._quick_s)

    def _prove(self, epoch: int, in_flight: int) -> None:
        if epoch == self.epoch and in_flight > self._proven:
            self._proven = in_flight

    def _look(self, now: float) -> None:
        base = float(int(self.limit))
        goal = min(self._most, base + self._step, float(int(self._proof.most)))
        if goal <= self.limit or self._proof.is_silent(now):
            return  # an endpoint that hangs refuses nothing, and would be sent the maximum
        self._base, self._goal = base, goal
        self.limit = min(goal, base + 1)
        self._grown_at = self._probed_at = now
        self._filled_at = None
        self._proof.looked()
        self._enter(Mode.PROBE)

    def _probe(self, now: float, in_flight: int) -> None:
        if self.limit < self._goal:
            # One after the other over a trial's time: all at once, a failed look has all of them refused.
            if in_flight >= int(self.limit) - 1:
                passed = min(now - self._grown_at, 0.1)
                self.limit = min(self._goal, self.limit + self._step * passed / self._trial_s)
            self._grown_at = now
        elif self._filled_at is None:
            if in_flight >= int(self.limit):
                self._filled_at = now
        elif now >= self._filled_at + self._trial_s:
            # There was room. Three times as much next, or doubled capacity would take minutes to find.
            if not self._proof.is_silent(now):
                self._step = min(3 * self._step, max(1.0, self.limit / 4))
            self._probe_at = now
            self._enter(Mode.STEADY)

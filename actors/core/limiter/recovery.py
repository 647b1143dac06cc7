"""Decides what may be sent after a refusal has cut the limit, until an attempt is admitted again.

What runs may exceed a capacity that has fallen, and an outage refuses everything. In both cases one attempt
at a time, the canary, finds out whether the endpoint admits again. An attempt counts as admitted when it is
answered, or when it is not refused for twice as long as a refusal takes.
"""

from __future__ import annotations

from actors.core.errors import InvariantError

_QUIET = 2.0  # times what a refusal takes: an attempt that is not refused for this long is admitted
_SHORTEST_QUIET_S = 0.02
_LONGEST_QUIET_S = 1.0
_CANARIES = 0.02  # of the limit may be unconfirmed; a fallen capacity refuses all that is sent meanwhile
_OUTAGE = 3  # cuts without an admission between them
_OUTAGE_SHARE = 0.1  # of an outage's duration so far: the pause between canaries
_SHORTEST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 2.0  # at first, where the endpoint sends Retry-After
_LONGEST_UNTOLD_S = 4.0  # without Retry-After
_LONGEST_TOLD_S = 10.0  # with it; a longer pause could outlast the outage by more than that
_MOST_DOUBLINGS = 60  # of a pause; a float overflows at 1,024
_EMPTY = 0.25  # of the limit before the cuts, or
_FEW = 5  # in flight: with less, and no answer since the last cut, a refusal belongs to the same outage


class Recovery:
    """Counts the cuts in a row and the canaries in flight. It is active from a cut to an admission.

    ========  ===================================  ========  ====================================
    state     event                                next      effect
    ========  ===================================  ========  ====================================
    idle      cut, answered since the last one     once      a canary may go at once
    idle      cut, not answered, and little runs   repeated  a pause: the admission was apparent
    once      canary admitted                      idle      the limit stays where the cut left it
    once      canary refused                       repeated  a pause
    repeated  canary admitted                      idle      a ramp back to the limit before
    repeated  canary refused                       repeated  a longer pause
    repeated  three cuts: an outage                repeated  pauses grow with the outage
    any       canary lost                          same      another canary may go
    ========  ===================================  ========  ====================================
    """

    def __init__(self, now: float, limit: float) -> None:
        self.limit_before = limit  # before the first of the cuts in a row
        self.refusal_s = 0.05  # what a refusal takes
        self._cuts = 0  # in a row
        self._began_at = now
        self._canaries = 0
        self._canary_at = now  # when the oldest canary was sent
        self._is_answered = True  # an attempt sent since the last cut

    @property
    def is_repeated(self) -> bool:
        """Whether a canary was refused, too."""
        return self._cuts > 1

    def may_send(self, limit: float) -> bool:
        """Return whether another canary may be sent."""
        return self._canaries < max(1, int(limit * _CANARIES))

    def sent(self, now: float) -> None:
        """Count a canary."""
        if not self._canaries:
            self._canary_at = now
        self._canaries += 1

    def lost(self, now: float) -> None:
        """Forget a canary that ended without an answer or a refusal."""
        if self._canaries:
            self._canaries -= 1
            self._canary_at = now  # the lost one may have been the oldest

    def answered(self) -> None:
        """Record an answer to an attempt that was sent since the last cut."""
        self._is_answered = True

    def measure_refusal(self, took_s: float) -> None:
        """Learn what a refusal takes.

        In an outage the longest counts. There each refusal takes another time, and after a short one many
        canaries would seem admitted.
        """
        self.refusal_s = took_s if self._cuts < _OUTAGE else max(took_s, self.refusal_s)

    def begin(self, now: float, in_flight: int, held: float) -> None:
        """Begin to recover from a limit of `held`, with `in_flight` left.

        The last admission may have been apparent: the canary's refusal took longer than those before it.
        Then the limit from before the outage is kept, and its pauses go on where they were.
        """
        self.limit_before = held if self._is_answered else max(held, self.limit_before)
        if self._is_answered or in_flight >= max(_FEW, _EMPTY * self.limit_before):
            self._cuts, self._began_at = 0, now

    def cut(self, now: float, retry_after_s: float) -> float:
        """Record a cut. Return for how long nothing may be sent.

        A lone refusal is the price of being at the bound. A pause after each would cost 13 % of the goodput.
        """
        self._is_answered = False
        self._cuts += 1
        self._canaries = 0
        if self._cuts == 1:
            return 0.0
        outage_s = _OUTAGE_SHARE * (now - self._began_at)
        untold_s = min(max(_SHORTEST_PAUSE_S, outage_s), _LONGEST_UNTOLD_S)
        longest_s = min(max(_LONGEST_PAUSE_S, outage_s), _LONGEST_TOLD_S)
        backed_off_s = self._quiet_s * 2.0 ** min(self._cuts, _MOST_DOUBLINGS)
        return min(backed_off_s, longest_s, max(retry_after_s, untold_s))

    def admitted_at(self) -> float | None:
        """Return when the oldest canary counts as admitted, None without a canary."""
        return self._canary_at + self._quiet_s if self._canaries else None

    def check_invariants(self) -> None:
        """Raise `InvariantError` if the state is impossible."""
        if self._canaries < 0:
            raise InvariantError(f"{self._canaries} canaries")

    @property
    def _quiet_s(self) -> float:
        longest_s = _LONGEST_QUIET_S if self._cuts < _OUTAGE else _LONGEST_UNTOLD_S
        return min(longest_s, max(_SHORTEST_QUIET_S, _QUIET * self.refusal_s))

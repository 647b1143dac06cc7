"""Detects endpoints that cannot be used, because their configuration is wrong or they cannot be reached.

Rule 1: a rejected key, an unknown model or an unknown parameter affects every call. The first such answer (a
bad answer) takes the endpoint out of use if it has never answered a call well; otherwise several do, without
a good answer between them.
Rule 2: a good answer counts only if its attempt was placed after the first bad one: attempts that began
before a key was revoked may be answered for minutes. Bad answers arrive at once, and good ones take longer.
An attempt that was placed after the first bad one and has been in flight for much longer counts as good.
Rule 3: while the endpoint is out of use, one attempt at a time, the canary, tests it. Any other answer puts
the endpoint back in use.
Rule 4: an endpoint that has never answered, and to which no attempt could connect for a while, has a fault
too. It stays in use: the breaker decides when to try it.
Rule 5: an endpoint that has sent web pages for a while, and never an answer of a model, is out of use: its
base_url is wrong. After such an answer, a page may come from a gateway while the endpoint restarts.
"""

from __future__ import annotations

import math

from msgspec.structs import replace

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limits.form_faults import FormFaults
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.calls import Call

_IN_A_ROW = 3
_NOT_ITS = (Blame.CLUSTER, Blame.SOURCE, Blame.UNKNOWN)  # a file to attach comes from a source
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 15.0
_CANARY_S = 30.0  # a canary without an answer makes room for another after this time
_UNREACHED_S = 15.0
_PAGES_S = 10.0
# An attempt in flight counts as good after max(1 s, 4 times the duration of the last bad answer).
_LET_IN_S, _LET_IN = 1.0, 4.0


def is_unreached(outcome: AttemptEnded) -> bool:
    """Return whether the attempt failed because it could not connect to the endpoint."""
    error = outcome.error
    is_endpoints = error is not None and error.blame is Blame.ENDPOINT
    return is_endpoints and not outcome.sent and error is not None and error.kind is FailureKind.TRANSIENT


class EndpointFaults:
    """Tracks whether an endpoint rejects all calls, and when to send a canary.

    `fault` is None while the endpoint is usable. `forms` has the forms that a usable endpoint rejects.
    `pause_s` is the wait between two canaries, in seconds.
    Attempts are numbered in the order in which they are placed.
    """

    __slots__ = (
        "_address",
        "_canary",
        "_canary_until",
        "_first_bad",
        "_has_answered",
        "_has_succeeded",
        "_in_a_row",
        "_last_good",
        "_let_in_s",
        "_name",
        "_next_canary_at",
        "_no_answer",
        "_no_answer_since",
        "_number",
        "_paused_after",
        "_placed",
        "fault",
        "forms",
        "pause_s",
    )

    def __init__(self, name: str, address: str = "base_url") -> None:
        self.fault: Failure | None = None
        self.forms = FormFaults()
        self._name, self._address = name, address
        # Attempts in flight: their numbers, start times and forms.
        self._placed: dict[int, tuple[int, float, str]] = {}
        self._first_bad = 0  # the number of the first of the bad answers in a row
        self._let_in_s = _LET_IN_S
        self._number = 0
        self._last_good = 0
        self._in_a_row = 0
        self._has_answered = self._has_succeeded = False
        self._canary: int | None = None
        self._canary_until = 0.0
        self._next_canary_at = 0.0
        self.pause_s = _FIRST_PAUSE_S
        self._paused_after = 0  # the number of the last attempt placed before the present pause
        self._no_answer: Failure | None = None  # the fault of the endpoint if it lasts
        self._no_answer_since = 0.0

    def closed_until(self, now: float) -> float | None:
        """Return until when no attempt may be placed, None if one may be placed now."""
        if not self._is_out_of_use:
            return None
        if self._canary is not None and now < self._canary_until:
            return self._canary_until
        return self._next_canary_at if now < self._next_canary_at else None

    @property
    def placed(self) -> int:
        """The number of the attempt that was placed last."""
        return self._number

    def has_answered_since(self, number: int) -> bool:
        """Return whether an attempt placed after attempt `number` was answered well."""
        return self._last_good > number

    def on_placed(self, attempt: int, now: float, form: str = "") -> None:
        """Record an attempt that is sent to a client."""
        self._number += 1
        self._placed[attempt] = self._number, now, form
        if self._is_out_of_use:
            self._canary, self._canary_until = attempt, now + _CANARY_S

    def on_taken_over(self, attempt: int) -> None:
        """Record an attempt in flight that an earlier dispatcher placed."""
        self._placed[attempt] = 0, 0.0, ""

    def on_ended(self, outcome: AttemptEnded, now: float, call: Call | None = None) -> None:
        """Update the fault from the end of an attempt. `call` is None if an earlier dispatcher placed it."""
        number, _, form = self._placed.pop(outcome.id)
        if outcome.id == self._canary:
            self._canary, self._next_canary_at = None, now + self.pause_s
        error = outcome.error
        if outcome.reused or (error is not None and error.blame in _NOT_ITS):
            return  # says nothing about the endpoint
        if error is not None and is_unreached(outcome):
            self._on_unreached(error, now, outcome.took_s)
        elif error is None or error.kind is FailureKind.UNUSABLE:
            self._has_succeeded = True
            self._last_good = max(self._last_good, number)
            self._on_answered(number)
            self.forms.on_answered(form, number)
        elif error.kind is FailureKind.MISCONFIGURED:
            self._on_reached()
            self._on_bad(number, error, now, outcome.took_s, call)
        elif error.kind is FailureKind.PERMANENT:  # it rejected the call, not the configuration
            self._on_answered(number)
        elif error.kind in (FailureKind.REFUSED, FailureKind.TRANSIENT):
            self._on_reached()
        elif error.kind is FailureKind.IN_DOUBT:
            self._on_in_doubt(number, error, now, outcome)

    def shows_wrong_url(self, outcome: AttemptEnded) -> bool:
        """Return whether the attempt got a web page from an endpoint that has never answered well."""
        return outcome.is_page and not self._has_succeeded

    def retract(self, form: str) -> None:
        """Undo the latest bad answer, whose cause was its call, of this form."""
        self.forms.retract(form)
        self._in_a_row -= 1
        if self._is_out_of_use and self._has_succeeded and self._in_a_row < _IN_A_ROW:
            self.fault = None

    def tick(self, now: float) -> None:
        """Update the fault at the time `now`: an unreached endpoint may have a fault by now, or recover."""
        if self.forms:
            for number, placed_at, form in self._placed.values():
                if placed_at + self._let_in_s <= now:
                    self.forms.on_answered(form, number)
        if self._is_out_of_use:
            if self._seems_to_answer(now):
                self._in_a_row = 0
                self.fault = None
            return
        at = self.next_at()
        if at is None or now < at or self._no_answer is None:
            return
        if self._no_answer.kind is FailureKind.MISCONFIGURED:
            self._in_a_row, self._first_bad = 1, self._number
            self._put_out_of_use(self._no_answer, now)
            return
        text = (
            f"endpoint {self._name}: no connection for {now - self._no_answer_since:.0f} s, and none before: "
        )
        text += f"{self._no_answer.message} (check {self._address} of llm.endpoints.{self._name})"
        self.fault = replace(self._no_answer, message=text)

    def next_at(self) -> float | None:
        """Return when `tick` may change the fault, None if it will not."""
        if self._is_out_of_use or self.forms:
            later = [at for number, at, form in self._placed.values() if number > self._first_bad_of(form)]
            if later or self._is_out_of_use:
                return min(later) + self._let_in_s if later else None
        if self._no_answer is None or self.fault is not None or self._placed:
            return None  # an attempt in flight may have connected and be waiting for its answer
        is_page = self._no_answer.kind is FailureKind.MISCONFIGURED
        return self._no_answer_since + (_PAGES_S if is_page else _UNREACHED_S)

    @property
    def _is_out_of_use(self) -> bool:
        return self.fault is not None and self.fault.kind is FailureKind.MISCONFIGURED

    def _seems_to_answer(self, now: float) -> bool:
        """Return whether an attempt placed after the first bad one is in flight long enough to be good."""
        later = [at for number, at, _ in self._placed.values() if number > self._first_bad]
        return any(at + self._let_in_s <= now for at in later)

    def _on_answered(self, number: int) -> None:
        self._on_reached()
        if number > self._first_bad:
            self._in_a_row = 0
            self.fault = None

    def _on_reached(self) -> None:
        self._has_answered = True
        self._on_connected()

    def _on_connected(self) -> None:
        self._no_answer = None
        if not self._is_out_of_use:
            self.fault = None

    def _on_unreached(self, error: Failure, now: float, took_s: float) -> None:
        if not self._has_answered:
            self._on_no_answer(error, now, took_s)

    def _on_in_doubt(self, number: int, error: Failure, now: float, outcome: AttemptEnded) -> None:
        if self.shows_wrong_url(outcome):
            self._on_page(number, error, now, outcome.took_s)
        else:
            self._on_connected()  # it may be slow

    def _on_page(self, number: int, error: Failure, now: float, took_s: float) -> None:
        text = f"endpoint {self._name} sends web pages and no answer of a model: {error.message}"
        text += f" (check base_url of llm.endpoints.{self._name})"
        fault = Failure(FailureKind.MISCONFIGURED, Blame.CONFIG, text)
        if self._is_out_of_use:
            self._on_bad(number, fault, now, took_s, None)
        else:
            self._let_in_s = max(_LET_IN_S, _LET_IN * took_s)
            self._on_no_answer(fault, now, took_s)

    def _on_no_answer(self, error: Failure, now: float, took_s: float) -> None:
        if self._no_answer is None or self._no_answer.kind is not error.kind:
            self._no_answer_since = now - took_s
        self._no_answer = error
        self.tick(now)

    def _first_bad_of(self, form: str) -> float:
        """Return the first bad answer after which attempts of `form` may count as good."""
        if self._is_out_of_use:
            return self._first_bad
        first = self.forms.first_rejected(form)
        return math.inf if first is None else first

    def _on_bad(self, number: int, error: Failure, now: float, took_s: float, call: Call | None) -> None:
        self._let_in_s = max(_LET_IN_S, _LET_IN * took_s)
        if call is not None:
            self.forms.on_rejected(call, number, error)
            if self.forms.is_alone(call.form):
                return  # the endpoint answers calls of other forms
        if not self._in_a_row:
            self._first_bad = number
        self._in_a_row += 1
        if self._is_out_of_use:
            self.fault = error
            if number > self._paused_after:
                self.pause_s = min(2 * self.pause_s, _LONGEST_PAUSE_S)
                self._next_canary_at = now + self.pause_s
                self._paused_after = self._number
        elif (self._in_a_row >= _IN_A_ROW or not self._has_succeeded) and not self._seems_to_answer(now):
            self._put_out_of_use(error, now)

    def _put_out_of_use(self, fault: Failure, now: float) -> None:
        self.fault = fault
        self.pause_s = _FIRST_PAUSE_S
        self._next_canary_at = now + self.pause_s
        self._paused_after = self._number  # an attempt in flight now is not a canary

"""Detects that an endpoint rejects all calls of one form, and answers others: a step has a wrong parameter.

Rule 1: a form is rejected after three configuration errors for at least two calls. Two conditions apply: no
later attempt of this form is answered, and an attempt of another form is.
Rule 2: one call alone says nothing about its form: a web filter may block its text.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from actors.core.errors import Failure
from actors.core.messages.calls import Call

_IN_A_ROW = 3
_CALLS = 2


class _Rejected(Struct):
    """The configuration errors of one form. `first` is the number of the first attempt with one."""

    first: int
    endpoints: tuple[str, ...]  # those that the calls of this form name
    error: Failure
    times: int = 0
    calls: tuple[str, ...] = ()  # the keys of two calls, no more are needed


class FormFaults:
    """The forms that one endpoint rejects. Attempts are numbered in the order in which they are placed."""

    __slots__ = ("_answered", "_rejected")

    def __init__(self) -> None:
        self._answered: dict[str, int] = {}  # the last attempt of each form that was answered
        self._rejected: dict[str, _Rejected] = {}

    def __bool__(self) -> bool:
        """Return whether any form has got configuration errors that no later answer has refuted."""
        return bool(self._rejected)

    def on_answered(self, form: str, number: int) -> None:
        """Record that an attempt of this form was answered, usably or not."""
        if number > self._answered.get(form, 0):
            self._answered[form] = number
        if self._rejected and (rejected := self._rejected.get(form)) and number > rejected.first:
            del self._rejected[form]

    def on_rejected(self, call: Call, number: int, error: Failure) -> None:
        """Record that an attempt got a configuration error."""
        if self._answered.get(call.form, 0) > number:
            return
        known = self._rejected.setdefault(call.form, _Rejected(number, call.endpoints, error))
        known.times += 1
        known.error = error
        if len(known.calls) < _CALLS and call.key not in known.calls:
            known.calls += (call.key,)

    def retract(self, form: str) -> None:
        """Forget the configuration errors of this form, whose cause was a call."""
        self._rejected.pop(form, None)

    def has_answered_since(self, form: str, number: int) -> bool:
        """Return whether an attempt of this form that was placed after attempt `number` was answered."""
        return self._answered.get(form, 0) > number

    def first_rejected(self, form: str) -> int | None:
        """Return the first attempt of this form that got a configuration error, None if there is none."""
        rejected = self._rejected.get(form)
        return None if rejected is None else rejected.first

    def suspects(self, form: str) -> bool:
        """Return whether several calls of this form got configuration errors, and none was answered since."""
        rejected = self._rejected.get(form)
        return rejected is not None and len(rejected.calls) >= _CALLS

    def is_alone(self, form: str) -> bool:
        """Return whether this form is suspect and another form was answered since."""
        if not self.suspects(form):
            return False
        first = self._rejected[form].first
        return any(number > first for other, number in self._answered.items() if other != form)

    def fault(self, form: str) -> Failure | None:
        """Return the error for which the endpoint rejects this form, None if it does not."""
        if not self.is_alone(form):
            return None
        rejected = self._rejected[form]
        return rejected.error if rejected.times >= _IN_A_ROW else None

    def rejected(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each form that the endpoint rejects, with the endpoints that its calls name."""
        for form, known in self._rejected.items():
            if self.fault(form) is not None:
                yield form, known.endpoints

"""Attempts that are under way, those included that an earlier dispatcher began.

A dispatcher that begins anew learns from its clients what they have in flight. The calls that these attempts
are for are offered again a little later: until then such an attempt is unclaimed.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from actors.core.dispatch.endpoint import EndpointState
from actors.core.dispatch.open_call import CallState, OpenCall
from actors.core.dispatch.placement import estimate
from actors.core.errors import InvariantError
from actors.core.limits.budget import Cost
from actors.core.messages.attempts import Attempt, Held, Progress
from actors.core.messages.values import Usage
from actors.core.queue.fair_queue import FairQueue


class Flight(Struct, frozen=True):
    """One attempt and where it is. `record` is None while it is unclaimed."""

    record: OpenCall | None
    endpoint: EndpointState
    estimate: Usage
    reserved: Cost | None = None  # of the budget
    is_hedge: bool = False
    unscaled_tokens: int = 0  # what the text of the question suggests, whatever the endpoint
    held: Held | None = None

    @property
    def streams(self) -> bool:
        """Whether its answer is to be streamed, as far as is known."""
        return self.record is not None and bool(self.record.streams)

    @classmethod
    def begun(
        cls, record: OpenCall, endpoint: EndpointState, reserved: Cost, *, is_hedge: bool = False
    ) -> Flight:
        """Return an attempt that is about to be handed over."""
        may_take = estimate(endpoint, record)
        tokens = record.input_tokens
        return cls(record, endpoint, may_take, reserved, is_hedge=is_hedge, unscaled_tokens=tokens)

    def request(self, attempt: int, record: OpenCall, now: float) -> Attempt:
        """Return the request to make for `record`."""
        return record.attempt(attempt, self.endpoint.name, now, self.estimate, is_hedge=self.is_hedge)


class Flights:
    """Attempts by their ids."""

    def __init__(self) -> None:
        self._flights: dict[int, Flight] = {}
        self._unclaimed: dict[str, list[int]] = {}  # by the key of the call that they are for

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, attempt: int) -> bool:
        return attempt in self._flights

    def __getitem__(self, attempt: int) -> Flight:
        return self._flights[attempt]

    @property
    def claimed(self) -> int:
        """How many calls the attempts are for; those that have their answer are not counted."""
        records = {id(it.record): it.record for it in self._flights.values() if it.record is not None}
        return sum(record.state is CallState.SENT for record in records.values())

    def begin(self, attempt: int, flight: Flight) -> OpenCall:
        """Take note that an attempt is being handed over; return its call, whose next one in number it is."""
        record = flight.record
        if record is None:
            raise InvariantError(f"attempt {attempt} is begun for no call")
        record.number += 1
        record.flying += (attempt,)
        self._flights[attempt] = flight
        return record

    def adopt(self, held: Held, endpoint: EndpointState, reserved: Cost | None) -> None:
        """Take in an attempt that an earlier dispatcher began."""
        self._flights[held.id] = Flight(None, endpoint, held.estimate, reserved, held=held)
        self._unclaimed.setdefault(held.call_key, []).append(held.id)

    def claim(self, record: OpenCall) -> bool:
        """Return whether attempts at this call are under way, which are its own from now on."""
        attempts = self._unclaimed.pop(record.call.key, None)
        if attempts is None:
            return False
        if record.state is not CallState.SENT:
            record.move(CallState.SENT)
        for attempt in attempts:
            flight = self._flights[attempt]
            if flight.held is not None:
                record.number = max(record.number, flight.held.number)
            record.flying += (attempt,)
            self._flights[attempt] = replace(flight, record=record)
        return True

    def rejoin(self, record: OpenCall | None, queue: FairQueue[OpenCall]) -> None:
        """Have a call that was offered before wait for attempts at it that have just become known.

        Asked again meanwhile, it would be paid for twice.
        """
        if record is None or record.state is CallState.FOLLOWING:
            return
        if record.state is CallState.QUEUED and record.ticket is not None:
            queue.remove(record.ticket)
            record.ticket = None
        self.claim(record)

    def on_streamed(self, progress: Progress) -> None:
        """Have the endpoints learn how far the streams of their attempts have come."""
        for mark in progress.marks:
            flight = self._flights.get(mark.attempt)
            if flight is not None:
                flight.endpoint.on_streamed(mark)

    def end(self, attempt: int) -> Flight | None:
        """Forget an attempt that has ended; return what was known of it."""
        flight = self._flights.pop(attempt, None)
        if flight is not None and flight.record is not None:
            flight.record.flying = tuple(it for it in flight.record.flying if it != attempt)
        elif flight is not None and flight.held is not None:
            key = flight.held.call_key
            self._unclaimed[key].remove(attempt)
            if not self._unclaimed[key]:
                del self._unclaimed[key]
        return flight

    def of_task(self, run_id: str, task: str) -> Iterator[int]:
        """Yield the attempts made for a task. Costs O(attempts under way)."""
        for attempt, flight in self._flights.items():
            if flight.record is not None and flight.record.owner == (run_id, task):
                yield attempt

    def check_invariants(self) -> None:
        """Raise InvariantError where the parts disagree."""
        for key, attempts in self._unclaimed.items():
            flights = [self._flights.get(attempt) for attempt in attempts]
            if not flights or any(flight is None or flight.record is not None for flight in flights):
                raise InvariantError(f"an attempt kept for call {key} is not waiting for it")

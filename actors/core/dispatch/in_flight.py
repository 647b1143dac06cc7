"""The attempts in flight, including those of an earlier dispatcher.

A restarted dispatcher asks its clients for their attempts in flight. The pipelines offer the calls of these
attempts again a little later; until then such an attempt is unclaimed.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from actors.core.dispatch.endpoint import EndpointState
from actors.core.dispatch.open_call import CallState, OpenCall
from actors.core.errors import InvariantError
from actors.core.limits.budget import Cost
from actors.core.messages.attempts import Attempt, Held, StreamProgress
from actors.core.messages.values import Usage
from actors.core.queue.routes import Routes


class InFlight(Struct, frozen=True):
    """One attempt in flight. `record` is None while it is unclaimed."""

    record: OpenCall | None
    endpoint: EndpointState
    estimate: Usage
    reserved: Cost | None = None  # of the budget
    is_hedge: bool = False
    unscaled_tokens: int = 0  # estimated from the text of the question alone, 0 if unknown
    held: Held | None = None

    @property
    def streams(self) -> bool:
        """Whether the answer is streamed. False if that is unknown."""
        return self.record is not None and bool(self.record.streams)

    @classmethod
    def begun(
        cls, record: OpenCall, endpoint: EndpointState, reserved: Cost, *, is_hedge: bool = False
    ) -> InFlight:
        """Return an attempt that was just placed and is about to be sent to a client."""
        tokens = 0 if record.call.attachments else record.input_tokens  # a bound teaches no ratio
        return cls(record, endpoint, record.estimate, reserved, is_hedge=is_hedge, unscaled_tokens=tokens)

    def request(self, attempt: int, record: OpenCall, now: float) -> Attempt:
        """Return the message that asks a client to make the attempt."""
        return record.attempt(attempt, self.endpoint.name, now, self.estimate, is_hedge=self.is_hedge)


class AttemptsInFlight:
    """The attempts in flight by their ids."""

    def __init__(self) -> None:
        self._in_flight: dict[int, InFlight] = {}
        self._unclaimed: dict[str, list[int]] = {}  # by the key of their call

    def __len__(self) -> int:
        return len(self._in_flight)

    def __contains__(self, attempt: int) -> bool:
        return attempt in self._in_flight

    def __getitem__(self, attempt: int) -> InFlight:
        return self._in_flight[attempt]

    @property
    def claimed(self) -> int:
        """The number of calls with attempts in flight, without calls that have ended."""
        records = {id(it.record): it.record for it in self._in_flight.values() if it.record is not None}
        return sum(record.state is CallState.SENT for record in records.values())

    def begin(self, attempt: int, entry: InFlight) -> OpenCall:
        """Add an attempt that is being sent to a client, and return its call."""
        record = entry.record
        if record is None:
            raise InvariantError(f"attempt {attempt} has no call")
        record.number += 1
        record.in_flight += (attempt,)
        self._in_flight[attempt] = entry
        return record

    def adopt(self, held: Held, endpoint: EndpointState, reserved: Cost | None) -> None:
        """Add an attempt of an earlier dispatcher."""
        self._in_flight[held.id] = InFlight(None, endpoint, held.estimate, reserved, held=held)
        self._unclaimed.setdefault(held.call_key, []).append(held.id)

    def claim(self, record: OpenCall) -> bool:
        """Assign the unclaimed attempts of a call to it. Return whether there are any."""
        attempts = self._unclaimed.pop(record.call.key, None)
        if attempts is None:
            return False
        if record.state is not CallState.SENT:
            record.move(CallState.SENT)
        for attempt in attempts:
            entry = self._in_flight[attempt]
            if entry.held is not None:
                record.number = max(record.number, entry.held.number)
            record.in_flight += (attempt,)
            self._in_flight[attempt] = replace(entry, record=record)
        return True

    def rejoin(self, record: OpenCall | None, routes: Routes[OpenCall, EndpointState]) -> None:
        """Make an open call wait for its attempts that a client has just reported.

        Otherwise another attempt would be made meanwhile, and the call would be paid for twice.
        """
        if record is None or record.state is CallState.FOLLOWING:
            return
        if record.state is CallState.QUEUED and record.ticket is not None:
            routes.of(record.call.endpoints).queue.remove(record.ticket)
            record.ticket = None
        self.claim(record)

    def on_streamed(self, progress: StreamProgress) -> None:
        """Pass the progress of streams to the endpoints of their attempts."""
        for mark in progress.marks:
            entry = self._in_flight.get(mark.attempt)
            if entry is not None:
                entry.endpoint.on_streamed(mark)

    def end(self, attempt: int) -> InFlight | None:
        """Remove an attempt that has ended and return it, None if it is unknown."""
        entry = self._in_flight.pop(attempt, None)
        if entry is not None and entry.record is not None:
            entry.record.in_flight = tuple(it for it in entry.record.in_flight if it != attempt)
        elif entry is not None and entry.held is not None:
            key = entry.held.call_key
            self._unclaimed[key].remove(attempt)
            if not self._unclaimed[key]:
                del self._unclaimed[key]
        return entry

    def of_task(self, run_id: str, task: str) -> Iterator[int]:
        """Yield the attempts in flight of a task. Costs O(attempts in flight)."""
        for attempt, entry in self._in_flight.items():
            if entry.record is not None and entry.record.owner == (run_id, task):
                yield attempt

    def check_invariants(self) -> None:
        """Raise InvariantError if an unclaimed attempt is unknown or has a call."""
        for key, attempts in self._unclaimed.items():
            entries = [self._in_flight.get(attempt) for attempt in attempts]
            if not entries or any(entry is None or entry.record is not None for entry in entries):
                raise InvariantError(f"an unclaimed attempt of call {key} is unknown or claimed")

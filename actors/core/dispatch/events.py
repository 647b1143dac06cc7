"""The events that the dispatcher's state machine processes, and the instructions that it returns."""

from __future__ import annotations

from msgspec import Struct

from actors.core.messages.attempts import Abort, Attempt, AttemptEnded, Held, SetShare, StreamProgress
from actors.core.messages.calls import Call, Completion

# ---- events ----------------------------------------------------------------------------------------------


class CallOffered(Struct, frozen=True):
    """A pipeline offers a call. While a call is open, its key identifies it."""

    call: Call


class TaskCancelled(Struct, frozen=True):
    """A task was cancelled: its calls need no answers."""

    task: str
    run_id: str = ""


class SpentBefore(Struct, frozen=True):
    """The amounts that the run had spent before this dispatcher started. Must be the first event.

    counted: attempts of an earlier dispatcher that clients hold and that these amounts include.
    """

    cost_usd: float
    tokens: int
    counted: tuple[int, ...] = ()


class ClientBegan(Struct, frozen=True):
    """A client actor takes attempts from now on. `held`: its attempts of an earlier dispatcher."""

    client: str
    held: tuple[Held, ...] = ()


class ClientLeft(Struct, frozen=True):
    """A client actor has stopped and will not return."""

    client: str


class DrainBegan(Struct, frozen=True):
    """No attempt begins from now on. `Drained` follows once none is in flight."""


class AttemptDone(Struct, frozen=True):
    """A client reports the outcome of an attempt."""

    outcome: AttemptEnded


class Streamed(Struct, frozen=True):
    """A client reports the progress of the streams of some attempts."""

    progress: StreamProgress


class Lost(Struct, frozen=True):
    """A client was lost with this attempt. `may_have_run`: whether its request may have been sent."""

    attempt: int
    may_have_run: bool


Event = (
    CallOffered
    | TaskCancelled
    | SpentBefore
    | ClientBegan
    | ClientLeft
    | DrainBegan
    | AttemptDone
    | Streamed
    | Lost
)

# ---- instructions ----------------------------------------------------------------------------------------


class Tell(Struct, frozen=True):
    """Send `message` to `client`. An `urgent` message is sent without a linger."""

    client: str
    message: Attempt | SetShare | Abort
    urgent: bool = False


class Complete(Struct, frozen=True):
    """Answer the pipelines that offered the call."""

    completion: Completion


class Refuse(Struct, frozen=True):
    """Refuse a call because the queue is full. The pipeline offers it again after `retry_after_s`."""

    key: str
    retry_after_s: float


class Drained(Struct, frozen=True):
    """No attempt is in flight, and none will begin."""


Instruction = Tell | Complete | Refuse | Drained

"""What happens to the dispatcher, and what it wants done: events in, instructions out."""

from __future__ import annotations

from msgspec import Struct

from actors.core.messages.attempts import Abort, Attempt, AttemptEnded, Held, SetShare, StreamProgress
from actors.core.messages.calls import Call, Completion

# ---- events ----------------------------------------------------------------------------------------------


class CallOffered(Struct, frozen=True):
    """A pipeline asks. The same key again, while its call is open, is the same call."""

    call: Call


class TaskCancelled(Struct, frozen=True):
    """Nobody wants the answers to this task's calls any more."""

    task: str
    run_id: str = ""


class SpentBefore(Struct, frozen=True):
    """What the run had spent before this dispatcher began. Comes before anything else.

    `counted` are attempts of an earlier dispatcher that clients hold, and that are in these sums already.
    """

    cost_usd: float
    tokens: int
    counted: tuple[int, ...] = ()


class ClientBegan(Struct, frozen=True):
    """A client actor takes attempts from now on. It has `held` in flight for an earlier dispatcher."""

    client: str
    held: tuple[Held, ...] = ()


class ClientLeft(Struct, frozen=True):
    """A client actor is gone for good."""

    client: str


class AttemptDone(Struct, frozen=True):
    """A client tells what became of an attempt."""

    outcome: AttemptEnded


class Streamed(Struct, frozen=True):
    """A client tells how far the streams of some attempts have come."""

    progress: StreamProgress


class Lost(Struct, frozen=True):
    """The client that had this attempt was lost with it. `may_have_run`: the request may have been sent."""

    attempt: int
    may_have_run: bool


Event = CallOffered | TaskCancelled | SpentBefore | ClientBegan | ClientLeft | AttemptDone | Streamed | Lost

# ---- instructions ----------------------------------------------------------------------------------------


class Tell(Struct, frozen=True):
    """Send this message to this client; an `urgent` one waits for no company."""

    client: str
    message: Attempt | SetShare | Abort
    urgent: bool = False


class Complete(Struct, frozen=True):
    """Answer whoever offered the call."""

    completion: Completion


class Refuse(Struct, frozen=True):
    """The queue is full: have the call offered again later."""

    key: str
    retry_after_s: float


Instruction = Tell | Complete | Refuse

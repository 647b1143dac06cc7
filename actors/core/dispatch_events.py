"""What happens to the dispatcher, and what it wants done: events in, instructions out."""

from __future__ import annotations

from dataclasses import dataclass

from actors.core.messages import Abort, Attempt, AttemptEnded, Call, Completion, Held, SetShare
from actors.core.stream_messages import Progress

# ---- events ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offered:
    """A pipeline asks. The same key again, while its call is open, is the same call."""

    call: Call


@dataclass(frozen=True, slots=True)
class TaskCancelled:
    """Nobody wants the answers to this task's calls any more."""

    task: str
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class SpentBefore:
    """What the run had spent before this dispatcher began. Comes before anything is sent."""

    cost_usd: float
    tokens: int


@dataclass(frozen=True, slots=True)
class ClientBegan:
    """A client actor takes attempts from now on. It has `held` in flight for an earlier dispatcher."""

    client: str
    held: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientLeft:
    """A client actor is gone for good."""

    client: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A client tells what became of an attempt."""

    outcome: AttemptEnded


@dataclass(frozen=True, slots=True)
class Streamed:
    """A client tells how far the streams of some attempts have come."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Lost:
    """The client that had this attempt was lost with it. `may_have_run`: the request may have been sent."""

    attempt: int
    may_have_run: bool


Event = Offered | TaskCancelled | SpentBefore | ClientBegan | ClientLeft | Ended | Streamed | Lost

# ---- instructions ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tell:
    """Send this message to this client; an `urgent` one waits for no company."""

    client: str
    message: Attempt | SetShare | Abort
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Complete:
    """Answer whoever offered the call."""

    completion: Completion


@dataclass(frozen=True, slots=True)
class Refuse:
    """The queue is full: have the call offered again later."""

    key: str
    retry_after_s: float


Instruction = Tell | Complete | Refuse

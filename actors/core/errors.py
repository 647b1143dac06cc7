"""Defines the errors: each says who is to blame and whether a retry can help.

Rule 1: an exception is translated once, where the details are still known (a status code, an errno, a parse
position). Only errors defined here cross an actor boundary.
Rule 2: every class can be pickled. ``Exception.__init__`` receives all arguments, because unpickling calls
the class with ``self.args``.
Rule 3: an unclassified error is `Blame.UNKNOWN` and permanent. It is always reported.
"""

from __future__ import annotations

import enum
import re
from typing import ClassVar

from msgspec import Struct


class Blame(enum.StrEnum):
    """The part that has to change for the failure to end."""

    CONFIG = "config"  # the configuration
    TASK = "task"  # the submitted task
    SOURCE = "source"  # the data source
    ENDPOINT = "endpoint"  # the model's endpoint
    CLUSTER = "cluster"  # a process, a node or the network between actors
    LIMIT = "limit"  # a configured bound: deadline, budget, queue
    UNKNOWN = "unknown"  # unclassified: presumably a defect of this program


class FailureKind(enum.StrEnum):
    """The result of a failed fetch or attempt, as the retry rules distinguish it."""

    REFUSED = "refused"  # rejected before any work: not billed, may be retried
    TRANSIENT = "transient"  # a temporary failure: not billed, may be retried
    IN_DOUBT = "in_doubt"  # sent, result unknown: it may have been processed and billed
    UNUSABLE = "unusable"  # answered and billed, but the answer does not have the required form
    PERMANENT = "permanent"  # the same request would fail again
    MISCONFIGURED = "misconfigured"  # every request fails until the endpoint's configuration is corrected
    DEADLINE = "deadline"  # the deadline has passed
    CANCELLED = "cancelled"  # a cancellation was requested
    BUDGET = "budget"  # a ceiling on money or tokens is reached
    UNSTORED = "unstored"  # the journal could not store it; the task does not end


_STATUS = re.compile(r"^HTTP (\d{3})\b|\banswered (\d{3})$")


class Failure(Struct, frozen=True):
    """A failure as a value. Actors exchange it; reports and ``why`` show it.

    `message` says what happened and what to do, and holds no secret. `retry_after_s` is the wait in seconds
    that the other side asked for, None if it did not.
    """

    kind: FailureKind
    blame: Blame
    message: str
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"

    def outline(self) -> str:
        """Return the kind, and the HTTP status if there is one, without a text from outside."""
        found = _STATUS.search(self.message)
        return f"{self.kind}, HTTP {found[1] or found[2]}" if found else self.kind.value


def text_of(error: BaseException) -> str:
    """Return the message of an error, or the name of its type if it has none, as a TimeoutError does."""
    try:
        return str(error).strip() or type(error).__name__
    except Exception:  # noqa: BLE001 - the `__str__` of any package; its error would replace this one
        return type(error).__name__


class HeadraceError(Exception):
    """Base class of all errors defined here. `blame` and `retry` are class attributes."""

    blame: ClassVar[Blame] = Blame.UNKNOWN
    retry: ClassVar[bool] = False

    def __str__(self) -> str:
        return super().__str__() or type(self).__name__

    def failure(self) -> Failure:
        """Return this error as a value that can travel."""
        kind = FailureKind.TRANSIENT if self.retry else FailureKind.PERMANENT
        return Failure(kind, self.blame, str(self))


class ConfigError(HeadraceError):
    """The configuration is invalid. The message lists every problem, one per line."""

    blame = Blame.CONFIG


class SourceError(HeadraceError):
    """A source cannot answer this request, and a retry would not help."""

    blame = Blame.SOURCE


class SourceBoundError(SourceError):
    """A source's data about a task exceeds a configured bound."""

    blame = Blame.LIMIT


class SourceUnavailableError(SourceError):
    """A source is temporarily unavailable. `retry_after_s` is the wait that the source asked for."""

    retry = True

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])

    def failure(self) -> Failure:
        """Return this error as a value that can travel."""
        return Failure(FailureKind.TRANSIENT, self.blame, str(self), self.retry_after_s)


class PeerLostError(HeadraceError):
    """The addressed actor is gone. `may_have_run`: it may have executed the request first."""

    blame = Blame.CLUSTER
    retry = True

    def __init__(
        self,
        peer: str,
        may_have_run: bool,  # noqa: FBT001 - unpickling is positional
        reason: str = "",
    ) -> None:
        super().__init__(peer, may_have_run, reason)
        self.peer = peer
        self.may_have_run = may_have_run
        self.reason = reason

    def __str__(self) -> str:
        fate = "the request may have run" if self.may_have_run else "the request did not run"
        return f"actor {self.peer} was lost{f' ({self.reason})' if self.reason else ''}; {fate}"


class OverloadedError(HeadraceError):
    """A bound is reached. The caller may submit the same again after `retry_after_s` seconds."""

    blame = Blame.LIMIT
    retry = True

    def __init__(self, what: str, retry_after_s: float) -> None:
        super().__init__(what, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.args[0]} is full; try again in {self.retry_after_s:.1f} s"


class ShareExceededError(OverloadedError):
    """One caller has used up its share while other callers have tasks in the backlog."""


class UnsendableError(HeadraceError):
    """One message cannot be pickled, or unpickled at the receiver. Other messages are not affected."""


class MessageTooLargeError(HeadraceError):
    """One message exceeds the largest size that can be sent. Other messages are not affected."""

    blame = Blame.LIMIT

    def __init__(self, size: int, most: int) -> None:
        super().__init__(size, most)
        self.size = size
        self.most = most

    def __str__(self) -> str:
        return (
            f"a message has {self.size:,} bytes; the maximum is {self.most:,}: have the source return less "
            "for a task, or split the task"
        )


class InvalidTransitionError(HeadraceError):
    """A state machine received an event that its state does not allow. Nothing was changed."""

    def __init__(self, what: str, state: str, event: str) -> None:
        super().__init__(what, state, event)

    def __str__(self) -> str:
        what, state, event = self.args
        return f"{what}: {event} is not possible in state {state}"


class UnprocessableError(HeadraceError):
    """One record or query hit a defect of this program. It was not stored; others were not affected."""


class InvariantError(HeadraceError):
    """An invariant does not hold: a defect of this program."""


class StoreError(HeadraceError):
    """The store is unusable: damaged, of another version, or configured so that it may lose data."""

    blame = Blame.CONFIG


class StoreUnavailableError(StoreError):
    """The store is temporarily unavailable, such as a full disk or a stopped server. Nothing was lost."""

    blame = Blame.CLUSTER
    retry = True


class FencedError(HeadraceError):
    """Another owner has taken this run over. This process must not write to it any more."""

    blame = Blame.CLUSTER


class StoppedError(HeadraceError):
    """Ctrl-C or SIGTERM stopped this process before it finished what the message names."""


class InvalidRunIdError(ConfigError):
    """The given id is not a valid id of a run."""


class RunTakenError(HeadraceError):
    """Another owner is running this run."""

    blame = Blame.CONFIG


class ConfigChangedError(HeadraceError):
    """The run was begun with another configuration. The message lists the differences."""

    blame = Blame.CONFIG


class TaskConflictError(HeadraceError):
    """The run already has a task with this key and other params."""

    blame = Blame.TASK

"""What can go wrong, whose fault it is, and whether to try again.

Rule 1: an exception is translated once, at the edge where the information still exists (a status code, an
errno, a parse position); past an actor boundary only what is defined here travels.
Rule 2: every class pickles. Arguments go to ``Exception.__init__`` in full, because unpickling calls the
class with ``self.args``.
Rule 3: what nobody classified is `Blame.UNKNOWN`, permanent and loud.
"""

from __future__ import annotations

import enum
from typing import ClassVar

from msgspec import Struct


class Blame(enum.StrEnum):
    """Who has to act for the failure to go away."""

    CONFIG = "config"  # whoever wrote the configuration
    TASK = "task"  # whoever submitted the task
    SOURCE = "source"  # the data source
    ENDPOINT = "endpoint"  # the model's endpoint
    CLUSTER = "cluster"  # a process, a node or the network between actors
    LIMIT = "limit"  # a bound that was configured: deadline, budget, queue
    UNKNOWN = "unknown"  # nobody classified it: a defect until shown otherwise


class FailureKind(enum.StrEnum):
    """What became of a fetch or an attempt, as far as the retry rules need to know."""

    REFUSED = "refused"  # turned away before any work: certainly not billed, worth another try
    TRANSIENT = "transient"  # failed in a way that passes: certainly not billed, worth another try
    IN_DOUBT = "in_doubt"  # sent, fate unknown: it may have been done and billed
    UNUSABLE = "unusable"  # answered and billed, but the answer does not fit
    PERMANENT = "permanent"  # the same request would fail again
    MISCONFIGURED = "misconfigured"  # so would every other one, until the endpoint's configuration is mended
    DEADLINE = "deadline"  # no time is left
    CANCELLED = "cancelled"  # somebody asked to stop
    BUDGET = "budget"  # a ceiling on money or tokens is reached
    UNSTORED = "unstored"  # the journal could not store it: no word about the call, and no end of its task


class Failure(Struct, frozen=True):
    """A failure as a value: what actors tell each other, what a report and ``why`` show to people.

    `message` says what happened and what to do, and never holds a secret. `retry_after_s` is the other
    side's own wish, in seconds, None where it had none.
    """

    kind: FailureKind
    blame: Blame
    message: str
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


def text_of(error: BaseException) -> str:
    """Return what an error says; where it says nothing, as a TimeoutError does, the name of its type."""
    return str(error).strip() or type(error).__name__


class HeadraceError(Exception):
    """Base of all errors defined here. `blame` and `retry` are per class."""

    blame: ClassVar[Blame] = Blame.UNKNOWN
    retry: ClassVar[bool] = False

    def __str__(self) -> str:
        return super().__str__() or type(self).__name__

    def failure(self) -> Failure:
        """Return this error as a value that can travel."""
        kind = FailureKind.TRANSIENT if self.retry else FailureKind.PERMANENT
        return Failure(kind, self.blame, str(self))


class ConfigError(HeadraceError):
    """The configuration cannot be used. The message lists every problem, one a line."""

    blame = Blame.CONFIG


class SourceError(HeadraceError):
    """A source cannot answer this request, and asking again would not help."""

    blame = Blame.SOURCE


class SourceBoundError(SourceError):
    """What a source holds about a task is more than a bound of the configuration allows."""

    blame = Blame.LIMIT


class SourceUnavailableError(SourceError):
    """A source cannot answer now; it may later. `retry_after_s` is the source's own wish."""

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
    """The actor that was asked is gone. `may_have_run` tells whether it may have acted before that."""

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
    """A bound is reached. Offer the same again after `retry_after_s`."""

    blame = Blame.LIMIT
    retry = True

    def __init__(self, what: str, retry_after_s: float) -> None:
        super().__init__(what, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.args[0]} is full; try again in {self.retry_after_s:.1f} s"


class ShareExceededError(OverloadedError):
    """One caller holds all it may while others are there. Offer the same again after `retry_after_s`."""


class UnsendableError(HeadraceError):
    """The content of one message cannot be sent to another process, or read there. No other is affected."""


class MessageTooLargeError(HeadraceError):
    """One message has more bytes than may be sent at once. No other is affected."""

    blame = Blame.LIMIT

    def __init__(self, size: int, most: int) -> None:
        super().__init__(size, most)
        self.size = size
        self.most = most

    def __str__(self) -> str:
        return (
            f"a message of {self.size:,} bytes; one may have {self.most:,} at the most: have the source give "
            "less about a task, or split the task"
        )


class InvalidTransitionError(HeadraceError):
    """A state machine was given an event that its state does not allow. Nothing was changed."""

    def __init__(self, what: str, state: str, event: str) -> None:
        super().__init__(what, state, event)

    def __str__(self) -> str:
        what, state, event = self.args
        return f"{what}: {event} is not possible in state {state}"


class UnprocessableError(HeadraceError):
    """One record or query met a defect of this program. Nothing of it was stored; no other was affected."""


class InvariantError(HeadraceError):
    """A rule that must always hold does not: a defect of this program."""


class StoreError(HeadraceError):
    """The store cannot be used as it is: damaged, of another version, or set up so that it may lose data."""

    blame = Blame.CONFIG


class StoreUnavailableError(StoreError):
    """The store cannot be reached or written now: a full disk, a server that is down. Nothing was lost."""

    blame = Blame.CLUSTER
    retry = True


class FencedError(HeadraceError):
    """Another owner has taken this run over: whoever gets this must write nothing more to it."""

    blame = Blame.CLUSTER


class StoppedError(HeadraceError):
    """Somebody asked this process to stop, by Ctrl-C or SIGTERM, before it was done with what it says."""


class InvalidRunIdError(ConfigError):
    """No run may be named so."""


class RunTakenError(HeadraceError):
    """Somebody else runs this run now."""

    blame = Blame.CONFIG


class ConfigChangedError(HeadraceError):
    """The run was begun with another configuration. The message lists the differences."""

    blame = Blame.CONFIG


class TaskConflictError(HeadraceError):
    """The run has a task of this key already, with other params."""

    blame = Blame.TASK

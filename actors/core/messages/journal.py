"""What actors tell the journal and what it answers: one frozen struct per message.

The rules of `messages.py` hold here too. All that the journal answers is durable by then. Every message names
its run; within a run a task is named by its key.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from actors.core.messages.attempts import AttemptEnded, Held
from actors.core.messages.tasks import Fetched, Report, Task
from actors.core.messages.values import CallCounts, Json, Priority, Usage

# ---- runs ------------------------------------------------------------------------------------------------


class OpenRun(Struct, frozen=True):
    """This journal's application runs `run_id` from now on. Answered by `RunOpened`.

    `config` is the canonical form of what the run does, without secrets. `origin` is what a resume needs to
    load the configuration again (path, text, overrides). Raises `RunTakenError` while another owner is alive,
    `ConfigChangedError` where the run was begun with another `config` and `accept_config` is not set.
    """

    run_id: str
    name: str
    config: Mapping[str, Json]
    origin: Mapping[str, Json] = field(default_factory=dict)
    accept_config: bool = False


class TaskTally(Struct, frozen=True):
    """How many tasks of a run were accepted, and how those that ended did."""

    accepted: int = 0
    succeeded: int = 0
    partial: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        """Tasks that have a report."""
        return self.succeeded + self.partial + self.failed + self.cancelled


class RunOpened(Struct, frozen=True):
    """The run is this application's. `began_at` is in seconds since 1970.

    `is_new`: it was begun in this life of the journal, and has no task yet. `origin` is what it was begun
    with, before this opening changed it.
    """

    run_id: str
    is_new: bool
    began_at: float
    tasks: TaskTally
    origin: Mapping[str, Json] = field(default_factory=dict)


class CloseRun(Struct, frozen=True):
    """The driver ends the run `run_id`.

    `state`: "succeeded", "partial", "failed", "interrupted" or "cancelled".

    Answered by `Done`. The next owner need not wait for the lease of this one to run out. Raises
    `InvalidTransitionError` where a run with open tasks is said to have succeeded, or to be partial.
    """

    run_id: str
    state: str
    summary: Mapping[str, Json] = field(default_factory=dict)


class ReadSpent(Struct, frozen=True):
    """What the calls of `run_id` came to so far. Answered by `Spent`.

    `held` are attempts under way, which the dispatcher that asks counts itself.
    """

    run_id: str
    held: tuple[Held, ...] = ()


class Spent(Struct, frozen=True):
    """What calls came to. An attempt whose end nobody told is in doubt.

    `planned` and `reused` are those of ended tasks. `in_doubt` is the estimate of what is in doubt, without
    those of the query's `held` that have not ended; `ended` names the others of them.
    """

    counts: CallCounts
    usage: Usage
    in_doubt: Usage = field(default_factory=Usage)
    ended: tuple[int, ...] = ()


# ---- tasks -----------------------------------------------------------------------------------------------


class Accept(Struct, frozen=True):
    """Pipeline to journal: take this task in. Answered by `Accepted`; the same again gets the same answer.

    Raises `TaskConflictError` where the key is known with other params, `idempotency` with another `digest`.
    """

    run_id: str
    task: Task
    tenant: str = ""
    priority: Priority = Priority.BATCH
    expires_in_s: float = 600.0
    group: str = ""
    idempotency: str = ""
    digest: str = ""


class Answer(Struct, frozen=True):
    """The stored answer to a call, and what it took when it was made."""

    values: Mapping[str, Json]
    usage: Usage


class Accepted(Struct, frozen=True):
    """The task's row is durable. `is_new`: it was not there before. `report` is set where the task has ended.

    `fetched` is what its sources gave in an earlier life of the pipeline, None where they were not all asked.
    `answers` are those of its calls, by call key. `age_s` is the time since its acceptance, on
    the journal's clock.
    """

    task: str
    is_new: bool
    accepted_at: float
    report: Report | None = None
    fetched: tuple[Fetched, ...] | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    age_s: float = 0.0


class Collected(Struct, frozen=True):
    """Pipeline to journal: what all sources gave for a task. The first stands. Answered by `Done`."""

    run_id: str
    task: str
    fetched: tuple[Fetched, ...]


class Note(Struct, frozen=True):
    """Pipeline to journal: a task has come this far. Answered by `Done`.

    Becomes an event, unless the task has one of this kind and data, or has ended.
    """

    run_id: str
    task: str
    kind: str  # "started", "evaluated", "dimension"
    data: Mapping[str, Json] = field(default_factory=dict)


class Finish(Struct, frozen=True):
    """Pipeline to journal: the end of a task. Answered by the `Report` that stands: the first one.

    The journal puts in the counts and the usage of all attempts that were made for the task; of `report`'s
    own counts it keeps `planned` and `reused`.
    """

    run_id: str
    report: Report


class Reopen(Struct, frozen=True):
    """The owner of a run to its journal: a task is to be done again. Answered by `Done`.

    Takes back the end that the task had at `ended_at`, and no later one: so a repetition changes nothing.
    What was paid for its calls stays counted; answers that are kept are used again. Raises
    `InvalidTransitionError` where the task is unknown or its run is closed.
    """

    run_id: str
    task: str
    ended_at: float


# ---- calls -----------------------------------------------------------------------------------------------


class Intent(Struct, frozen=True):
    """Client to journal: this attempt may be sent from now on.

    Answered by `Cleared` (send it), or by the `Answer` that the call, or an equal one where `content` is set,
    has already. `attempt` is unique over all lives of a dispatcher. `content` names equal calls of all runs.
    `idempotency_key` is the attempt's own: answers under one key are billed once where the endpoint repeats
    them; empty stands for the call key. `estimate` is what it may take. An intent gives up the attempts at
    its call whose end is unknown, unless it `is_hedge`: made beside one of them on purpose. Raises
    `InvalidTransitionError` where the task has ended or is unknown: send nothing.
    """

    run_id: str
    task: str
    call_key: str
    attempt: int
    endpoint: str
    number: int
    content: str = ""
    idempotency_key: str = ""
    estimate: Usage = field(default_factory=Usage)
    is_hedge: bool = False


class Cleared(Struct, frozen=True):
    """The intent is durable and the call has no answer."""


class AttemptOutcome(Struct, frozen=True):
    """Client to journal: what became of an attempt whose intent was cleared. Answered by `Done`.

    The first answer to a call stands; a later one is counted, since it was paid for.
    """

    run_id: str
    task: str
    call_key: str
    ended: AttemptEnded
    content: str = ""


# ---- reading ---------------------------------------------------------------------------------------------


class RunView(Struct, frozen=True):
    """A run as the store knows it. Times are seconds since 1970. `state` is "running" until it is closed."""

    run_id: str
    name: str
    state: str
    began_at: float
    ended_at: float | None
    tasks: TaskTally
    spent: Spent
    config: Mapping[str, Json]
    origin: Mapping[str, Json]
    summary: Mapping[str, Json]


class TaskView(Struct, frozen=True):
    """A task as the store knows it. `state` is "accepted" until it has a report.

    `ordinal` counts in order of acceptance, from 0.
    """

    key: str
    ordinal: int
    state: str
    params: Mapping[str, Json]
    tenant: str
    priority: Priority
    accepted_at: float
    ended_at: float | None
    expires_in_s: float
    group: str = ""


class GroupView(Struct, frozen=True):
    """Tasks that were handed in together: how many were accepted, and how those that ended did."""

    group: str
    tasks: TaskTally


class AttemptView(Struct, frozen=True):
    """One request as the store knows it. `outcome` is None while nobody told its end.

    `in_doubt`: it counts as in doubt, which one that is billed does as well where it was given up before.
    `repeats`: this stands for so many requests in a row that ended alike.
    """

    call_key: str
    attempt: int
    number: int
    endpoint: str
    began_at: float
    ended_at: float | None
    outcome: str | None  # "answered", "reused" or a `FailureKind`
    message: str
    billed: bool
    usage: Usage
    in_doubt: bool = False
    is_hedge: bool = False
    repeats: int = 1


class LoggedEvent(Struct, frozen=True):
    """Something that happened to a task.

    `id` counts the run's events from 1 without a gap, `task_id` those of the task.
    """

    id: int
    task_id: int
    task: str
    at: float
    kind: str  # "accepted", a `Note.kind`, "collected", "ended", "reopened"
    data: Mapping[str, Json]


class ReadRun(Struct, frozen=True):
    """Answered by `RunView`, None where there is no such run."""

    run_id: str


class ReadTask(Struct, frozen=True):
    """Answered by `tuple[TaskView, Report | None]`, None where there is no such task."""

    run_id: str
    task: str


class ReadTasks(Struct, frozen=True):
    """Answered by a tuple of `TaskView`, in order of acceptance, after the ordinal `after`.

    `state` keeps those in that state ("accepted" or a `TaskState`); "" keeps all. `tenant` keeps those whose
    inside name is that tenant's; None keeps all. Only an empty answer means that no more follow: one holds
    fewer than `limit` where they are large.
    """

    run_id: str
    state: str = ""
    after: int = -1
    limit: int = 100
    tenant: str | None = None


class ReadGroup(Struct, frozen=True):
    """Answered by `GroupView`, None where no task was handed in under this group."""

    run_id: str
    group: str


class ReadEvents(Struct, frozen=True):
    """Asks for the events of a run with an id above `after`, or of one task by its `task_id`.

    Answered by a tuple of `LoggedEvent`.

    With `group`: those of the run that are about a task of that group. Where there is none yet the answer
    waits for one, for up to `wait_s`. It holds fewer than `limit` where they are large.
    """

    run_id: str
    task: str | None = None
    after: int = 0
    limit: int = 100
    wait_s: float = 0.0
    group: str | None = None


class AwaitCancel(Struct, frozen=True):
    """Answered by `Done` once a cancellation of `run_id`, an open run of this journal, is requested."""

    run_id: str


Record = OpenRun | CloseRun | Accept | Collected | Note | Finish | Reopen | Intent | AttemptOutcome
Query = ReadSpent | ReadRun | ReadTask | ReadTasks | ReadGroup | ReadEvents

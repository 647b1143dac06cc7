"""Messages to the journal and its answers.

The journal answers a record once it is durable. Every message names its run, and a task by its key within it.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from actors.core.messages.attempts import AttemptEnded, Held
from actors.core.messages.tasks import Fetched, Report, Task
from actors.core.messages.values import CallCounts, Json, Priority, Usage

# ---- runs ------------------------------------------------------------------------------------------------


class OpenRun(Struct, frozen=True):
    """Driver to journal: this application owns the run `run_id` from now on. Answered by `RunOpened`.

    `config` is the canonical configuration of the run, without secrets. `origin` is what a resume needs to
    load the configuration again (path, text, overrides). Raises `RunTakenError` while another owner is alive,
    and `ConfigChangedError` if the run was begun with another `config` and `accept_config` is not set.
    """

    run_id: str
    name: str
    config: Mapping[str, Json]
    origin: Mapping[str, Json] = field(default_factory=dict)
    accept_config: bool = False


class TaskTally(Struct, frozen=True):
    """The number of accepted tasks, and of ended tasks by state."""

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
    """This application owns the run. `began_at` is in seconds since 1970.

    `is_new`: the run was begun in this life of the journal and has no task yet. `origin` is the stored
    origin, before this `OpenRun` changed it.
    """

    run_id: str
    is_new: bool
    began_at: float
    tasks: TaskTally
    origin: Mapping[str, Json] = field(default_factory=dict)


class CloseRun(Struct, frozen=True):
    """Driver to journal: the run `run_id` has ended. Answered by `Done`.

    `state` is "succeeded", "partial", "failed", "interrupted" or "cancelled". The next owner does not have to
    wait for the end of this owner's lease. Raises `InvalidTransitionError` if `state` is "succeeded" or
    "partial" and the run has open tasks.
    """

    run_id: str
    state: str
    summary: Mapping[str, Json] = field(default_factory=dict)


class ReadSpent(Struct, frozen=True):
    """Asks for the counts and the usage of the calls of `run_id`. Answered by `Spent`.

    `held` lists attempts in flight, which the asking dispatcher counts itself.
    """

    run_id: str
    held: tuple[Held, ...] = ()


class KeepHistory(Struct, frozen=True):
    """Dispatcher to journal: store this packed history of a run instead of the earlier one. Gets `Done`."""

    run_id: str
    packed: bytes


class ReadHistory(Struct, frozen=True):
    """Answered by the packed history of a run, None if there is none."""

    run_id: str


class ReceiptLine(Struct, frozen=True):
    """The billed answers of one model at an endpoint in one form, which stands for a step."""

    endpoint: str
    model: str
    form: str
    calls: int
    usage: Usage


class Spent(Struct, frozen=True):
    """Counts and usage of calls. An attempt whose end is not recorded is in doubt.

    `planned` and `reused` cover ended tasks only. `in_doubt` is the estimated usage of the attempts in doubt,
    without those of the query's `held` that have not ended. `ended` lists the `held` that have ended. `lines`
    divides `usage`; answers that an earlier version recorded are in no line.
    """

    counts: CallCounts
    usage: Usage
    in_doubt: Usage = field(default_factory=Usage)
    ended: tuple[int, ...] = ()
    lines: tuple[ReceiptLine, ...] = ()


# ---- tasks -----------------------------------------------------------------------------------------------


class Accept(Struct, frozen=True):
    """Pipeline to journal: accept this task. Answered by `Accepted`, also if it is repeated.

    Raises `TaskConflictError` if the run has the key with other params, or `idempotency` with another
    `digest`.
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
    """The stored answer to a call, and the usage of the attempt that obtained it."""

    values: Mapping[str, Json]
    usage: Usage


class Accepted(Struct, frozen=True):
    """The task is durable. `is_new`: it was not stored before. `report` is set if the task has ended.

    `fetched` holds what the sources returned in an earlier life of the pipeline, None if not all of them have
    answered. `answers` holds the stored answers by call key, each with the usage of all its billed attempts.
    `age_s` is the time since the acceptance, by the journal's clock.
    """

    task: str
    is_new: bool
    accepted_at: float
    report: Report | None = None
    fetched: tuple[Fetched, ...] | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    age_s: float = 0.0


class Collected(Struct, frozen=True):
    """Pipeline to journal: the data from all sources for a task. Answered by `Done`.

    A later record for the same task changes nothing.
    """

    run_id: str
    task: str
    fetched: tuple[Fetched, ...]


class Note(Struct, frozen=True):
    """Pipeline to journal: the progress of a task. Answered by `Done`.

    It becomes an event, unless the task has an event with this kind and data, or has ended.
    """

    run_id: str
    task: str
    kind: str  # "started", "evaluated", "dimension"
    data: Mapping[str, Json] = field(default_factory=dict)


class Finish(Struct, frozen=True):
    """Pipeline to journal: the end of a task. Answered by the stored `Report`, which is the first one.

    The journal replaces the report's counts and usage by those of all attempts for the task. It keeps only
    the report's own `planned` and `reused`.
    """

    run_id: str
    report: Report


class Reopen(Struct, frozen=True):
    """Owner of a run to journal: reopen a task that has ended. Answered by `Done`.

    Undoes only the end at `ended_at`, so that a repeated record changes nothing. The cost of its calls stays
    counted, and stored answers are used again. Raises `InvalidTransitionError` if the task is unknown or its
    run is closed.
    """

    run_id: str
    task: str
    ended_at: float


# ---- calls -----------------------------------------------------------------------------------------------


class Intent(Struct, frozen=True):
    """Client to journal: this attempt is about to be sent.

    Answered by `Cleared` (send it), or by an `Answer` if the call, or with `content` an equal call, already
    has one. `attempt` is unique across all lives of a dispatcher. `content` identifies equal calls across
    runs. `idempotency_key` is the key of the attempt, empty if it is the call key: answers that an endpoint
    repeats under one key are billed once. `estimate` is the expected usage. An intent supersedes the attempts
    at its call whose end is unknown, unless `is_hedge`: then it is made in addition to one of them. Raises
    `InvalidTransitionError` if the task has ended or is unknown; then the attempt must not be sent.
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
    """Client to journal: the end of an attempt whose intent was cleared. Answered by `Done`.

    The first answer to a call is kept. Later answers are only counted, since they were billed. `form` and
    `model` are those of the request; they name the line of the run's receipt.
    """

    run_id: str
    task: str
    call_key: str
    ended: AttemptEnded
    content: str = ""
    form: str = ""
    model: str = ""


# ---- reading ---------------------------------------------------------------------------------------------


class RunView(Struct, frozen=True):
    """A stored run. Times are in seconds since 1970. `state` is "running" until the run is closed."""

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
    """A stored task. `state` is "accepted" until the task has a report.

    `ordinal` numbers the run's tasks in order of acceptance, from 0.
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
    """Tasks that were submitted together, counted by state."""

    group: str
    tasks: TaskTally


class AttemptView(Struct, frozen=True):
    """A stored attempt. `outcome` is None until its end is recorded.

    `in_doubt`: it counts as in doubt. A billed attempt does so too if another had superseded it. `repeats` is
    the number of attempts with the same outcome that this one represents. `unended`: it has no end and was
    not superseded. While the run's owner is alive, such an attempt is in flight.
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
    unended: bool = False


class LoggedEvent(Struct, frozen=True):
    """An event of a task.

    `id` numbers the run's events from 1 without gaps; `task_id` numbers those of the task.
    """

    id: int
    task_id: int
    task: str
    at: float
    kind: str  # "accepted", a `Note.kind`, "collected", "ended", "reopened"
    data: Mapping[str, Json]


class ReadRun(Struct, frozen=True):
    """Answered by `RunView`, None if there is no such run."""

    run_id: str


class ReadTask(Struct, frozen=True):
    """Answered by `tuple[TaskView, Report | None]`, None if there is no such task."""

    run_id: str
    task: str


class ReadTasks(Struct, frozen=True):
    """Answered by a tuple of `TaskView`, in order of acceptance, after the ordinal `after`.

    `state` selects the tasks in a state ("accepted" or a `TaskState`); "" selects all. `tenant` selects the
    tasks of a tenant by their internal names; None selects all. An answer may hold fewer than `limit` tasks
    if they are large; only an empty answer means the end.
    """

    run_id: str
    state: str = ""
    after: int = -1
    limit: int = 100
    tenant: str | None = None


class ReadLatest(Struct, frozen=True):
    """Asks for tasks as `ReadTasks` does, latest first, with an ordinal below `before`; None: all.

    Answered by `LatestTasks`.
    """

    run_id: str
    state: str = ""
    before: int | None = None
    limit: int = 100
    tenant: str | None = None


class LatestTasks(Struct, frozen=True):
    """A page of tasks, latest first. `before` continues it; None: the page ends with the first task."""

    tasks: tuple[TaskView, ...]
    before: int | None


class FindTasks(Struct, frozen=True):
    """Asks for the tasks whose keys begin with `prefix`, in order of their keys.

    Answered by a tuple of `TaskView`, after the task with the ordinal `after`. It may hold fewer than `limit`
    tasks if they are large; only an empty answer means the end.
    """

    run_id: str
    prefix: str
    after: int = -1
    limit: int = 100


class ReadFailures(Struct, frozen=True):
    """Asks for the reports of tasks in `state`, accepted after the ordinal `after`; `tenant` None: of all.

    Answered by a tuple of `Report` without dimensions and, unless there is just one, without items. It holds
    fewer than `limit` reports if they are large.
    """

    run_id: str
    state: str
    after: int = -1
    limit: int = 1_000
    tenant: str | None = None


class ReadAttempts(Struct, frozen=True):
    """Answered by a tuple of the first `limit` `AttemptView`s of a task, in the order in which they began."""

    run_id: str
    task: str
    limit: int = 1_000


class ReadGroup(Struct, frozen=True):
    """Answered by `GroupView`, None if no task was submitted in this group."""

    run_id: str
    group: str


class ReadEvents(Struct, frozen=True):
    """Asks for the events of a run after the id `after`, or of one task after the `task_id` `after`.

    Answered by a tuple of `LoggedEvent`. `group` selects the run's events about tasks of a group. If there is
    no event yet, the answer waits for one for up to `wait_s` seconds. It may hold fewer than `limit` events
    if they are large.
    """

    run_id: str
    task: str | None = None
    after: int = 0
    limit: int = 100
    wait_s: float = 0.0
    group: str | None = None


class AwaitCancel(Struct, frozen=True):
    """Answered by `Done` once the cancellation of `run_id`, an open run of this journal, is requested."""

    run_id: str


Record = (
    OpenRun | CloseRun | Accept | Collected | Note | Finish | Reopen | Intent | AttemptOutcome | KeepHistory
)
Query = (
    ReadSpent
    | ReadHistory
    | ReadRun
    | ReadTask
    | ReadAttempts
    | ReadTasks
    | ReadLatest
    | FindTasks
    | ReadFailures
    | ReadGroup
    | ReadEvents
)

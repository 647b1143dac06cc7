"""What a journal has to answer, said as plainly as can be: lists and dictionaries, no store, no caches."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from msgspec.structs import replace

from actors.core.errors import FailureKind, FencedError, InvalidTransitionError, TaskConflictError
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.journal import (
    Accept,
    Accepted,
    Answer,
    AttemptOutcome,
    Cleared,
    CloseRun,
    Collected,
    Finish,
    Intent,
    Note,
    Reopen,
    Spent,
)
from actors.core.messages.tasks import Report
from actors.core.messages.values import CallCounts, Done, Usage

ONE = Usage(10, 5, 0.25)  # what every answer takes; its sums are exact
ESTIMATE = Usage(20, 30, 0.5)  # of every attempt


@dataclass
class Try:
    """An attempt, and its end where that was told. `reused` where it was answered without being made.

    `told` counts the ends in order. `given_up`: another was cleared while its end was unknown.
    """

    call: str
    key: str
    ended: AttemptEnded | None = None
    reused: bool = False
    told: int = 0
    given_up: bool = False


def usage_of(answers):
    return Usage(answers * 10, answers * 5, answers * 0.25)


@dataclass
class ModelTask:
    params: dict
    tries: dict[int, Try] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    noted: list = field(default_factory=list)
    fetched: tuple | None = None
    report: Report | None = None
    ended_at: float = 0.0

    def paid(self):
        """Return the billed attempts, by what an endpoint does: it repeats an answer at no charge."""
        new, repeated = defaultdict(list), defaultdict(list)
        for each in self.tries.values():
            ended = None if each.reused else each.ended
            if ended is not None and (ended.error is None or ended.error.kind is FailureKind.UNUSABLE):
                (repeated if each.ended.replayed else new)[each.call, each.key].append(each)
        paid = [each for some in new.values() for each in some]
        return paid + [
            min(some, key=lambda each: each.told) for key, some in repeated.items() if key not in new
        ]

    def known(self):
        """Return the answers, each with the usage of all billed attempts at its call."""
        times = Counter(each.call for each in self.paid())
        return {call: Answer(one.values, usage_of(times[call])) for call, one in self.answers.items()}

    def spent(self):
        """Return what the attempts came to."""
        counts = Counter()
        for each in self.tries.values():
            if each.reused:
                continue
            error = None if each.ended is None else each.ended.error
            sent = each.ended is None or each.ended.sent
            match "in_doubt" if each.ended is None else error and error.kind:
                case FailureKind.UNUSABLE:
                    counts["unusable"] += 1
                case FailureKind.REFUSED:
                    counts["refused"] += 1
                case FailureKind.IN_DOUBT | FailureKind.CANCELLED if sent:
                    counts["in_doubt"] += 1
                case FailureKind.TRANSIENT | FailureKind.PERMANENT if sent:
                    counts["failed"] += 1
        doubt = counts["in_doubt"]
        paid = self.paid()
        counts["billed"] = len(paid)
        counts["in_doubt"] += sum(each.given_up for each in paid)
        in_doubt = Usage(doubt * 20, doubt * 30, doubt * 0.5)
        return CallCounts(**counts), usage_of(len(paid)), in_doubt


@dataclass
class ModelRun:
    writer: bytes
    created_by: bytes
    state: str = "running"
    tasks: dict[str, ModelTask] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)

    def spent(self):
        counts, usage, in_doubt = CallCounts(), Usage(), Usage()
        for task in self.tasks.values():
            some, took, may_have_taken = task.spent()
            reported = task.report.calls if task.report else CallCounts()
            counts += replace(some, planned=reported.planned, reused=reported.reused)
            usage += took
            in_doubt += may_have_taken
        return Spent(counts, usage, in_doubt)


class Model:
    """All runs, as they have to be. `tell` returns what is to be answered, an error by its type."""

    def __init__(self, keep):
        self.keep = keep
        self.now = 0.0
        self.runs: dict[str, ModelRun] = {}
        self.known: dict[str, Answer] = {}  # by content

    def tell(self, me, record):  # noqa: PLR0911 - one line a rule
        run = self.runs.get(record.run_id)
        if run is None:
            return InvalidTransitionError
        if run.writer != me:
            return FencedError
        if isinstance(record, CloseRun):
            if record.state == "succeeded" and not all(task.report for task in run.tasks.values()):
                return InvalidTransitionError
            run.state = record.state
            return Done()
        if isinstance(record, Accept):
            return self.accept(run, record)
        if isinstance(record, Reopen) and run.state != "running":
            return InvalidTransitionError
        key = record.report.key if isinstance(record, Finish) else record.task
        if key not in run.tasks:
            return InvalidTransitionError
        return self.tell_of_task(run, key, run.tasks[key], record)

    def accept(self, run, record):
        key = record.task.key
        if run.state != "running":
            return InvalidTransitionError
        task = run.tasks.get(key)
        if task is None:
            run.tasks[key] = task = ModelTask(record.task.params)
            run.events.append((key, "accepted"))
            return Accepted(key, True, 0.0)
        if task.params != record.task.params:
            return TaskConflictError
        if task.report:
            return Accepted(key, False, 0.0, task.report)
        return Accepted(key, False, 0.0, fetched=task.fetched, answers=task.known())

    def tell_of_task(self, run, key, task, record):
        match record:
            case Intent():
                return self.intent(task, record)
            case AttemptOutcome():
                return self.outcome(task, record)
            case Note() if task.report is None and (record.kind, record.data) not in task.noted:
                task.noted.append((record.kind, record.data))
                run.events.append((key, record.kind))
            case Collected() if task.report is None and task.fetched is None:
                task.fetched = record.fetched
                run.events.append((key, "collected"))
            case Finish():
                if task.report is None:
                    counts, usage, _ = task.spent()
                    made = record.report.calls
                    planned = max(made.planned, len({each.call for each in task.tries.values()}))
                    counts = replace(counts, planned=planned, reused=made.reused)
                    task.report = replace(record.report, calls=counts, usage=usage)
                    task.ended_at = self.now
                    run.events.append((key, "ended"))
                return task.report
            case Reopen() if task.report is not None and task.ended_at == record.ended_at:
                task.report = None
                task.noted.clear()
                run.events.append((key, "reopened"))
                if self.keep == "reports":
                    task.answers.clear()
                if self.keep == "reports" or not all(one.items for one in task.fetched or ()):
                    task.fetched = None
        return Done()

    def intent(self, task, record):
        if task.report is not None:
            return InvalidTransitionError
        if record.call_key in task.answers:
            return task.answers[record.call_key]
        if record.attempt in task.tries:
            return Cleared()
        made = task.tries[record.attempt] = Try(record.call_key, record.idempotency_key)
        answer = self.known.get(record.content)
        if answer is None:
            for each in task.tries.values():
                open_ = each.ended is None and not each.reused and each is not made
                each.given_up |= open_ and each.call == record.call_key
            return Cleared()
        made.reused = True
        task.answers[record.call_key] = answer
        return answer

    def outcome(self, task, record):
        made = task.tries[record.ended.id]
        if made.ended is None:
            made.ended = record.ended
            made.told = 1 + max(each.told for each in task.tries.values())
            if record.ended.values is not None:
                answer = Answer(record.ended.values, record.ended.usage)
                if task.report is None:
                    task.answers.setdefault(record.call_key, answer)
                if record.content:
                    self.known[record.content] = answer
        return Done()


def state_of(task):
    return task.report.state.value if task.report else "accepted"

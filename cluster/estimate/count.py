"""Counts a job in one pass over its rows: what is answered, what is left, and the tokens of what is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from actors.core.estimate.totals import Reservoir
from actors.core.messages.tasks import Task, TaskState
from cluster.estimate.questions import Find, JobQuestions, StepFacts

_DONE = (TaskState.SUCCEEDED, TaskState.PARTIAL)  # a task in another state is asked again


@dataclass(slots=True)
class StepTally:
    """The open questions of a step: how many there are at most, and the tokens of their prompts.

    longest: the tokens of the longest prompt.
    """

    asked: int = 0
    tokens: int = 0
    longest: int = 0


@dataclass(frozen=True, slots=True)
class DrawnRow:
    """A row of the sample: its place in the input, and the tokens of what is asked about every row."""

    task: Task
    counted: int
    place: int


@dataclass(slots=True)
class JobCount:
    """The counts of one pass over the rows.

    different: rows about which different things are asked. empty: rows about which nothing is asked, because
    a value is null. open: rows with a question that is not answered. tallies: their open questions by step.
    population: the rows that are open or that the run has answered. counted: the tokens of the questions that
    are asked about every row, over that population. drawn: a random sample of it.
    """

    facts: tuple[StepFacts, ...]
    rows: int = 0
    different: int = 0
    empty: int = 0
    open: int = 0
    tallies: list[StepTally] = field(default_factory=list)
    counted: int = 0
    population: int = 0
    drawn: tuple[DrawnRow, ...] = ()


def count_rows(
    questions: JobQuestions | None,
    rows: Iterable[Task],
    find: Find,
    ended: Mapping[str, str],
    *,
    size: int,
    seed: int,
) -> JobCount:
    """Count the rows of a job. `ended` holds the states of the tasks that the job's run has ended, by key.

    Without `questions` sources decide what is asked, and each row is a task of which nothing more is known.
    A sample of `size` rows is drawn. Equal seeds draw the same rows from the same input, also when the run
    has answered some of them.
    """
    found = JobCount(() if questions is None else questions.facts)
    found.tallies = [StepTally() for _ in found.facts]
    reservoir: Reservoir[DrawnRow] = Reservoir(size, seed)
    seen: set[int] = set()
    for task in rows:
        found.rows += 1
        counted, is_open = 0, ended.get(task.key) not in _DONE
        if questions is not None:
            about = questions.about(task, find)
            if about is None:
                found.empty += 1
                continue
            if about.digest in seen:
                continue
            seen.add(about.digest)
            counted = about.counted
            is_open = is_open and bool(about.open)
            for question in about.open if is_open else ():
                tally = found.tallies[question.step]
                tally.asked += 1
                tally.tokens += question.tokens
                tally.longest = max(tally.longest, question.tokens)
        found.different += 1
        found.open += is_open
        if is_open or task.key in ended:
            found.population += 1
            found.counted += counted
            reservoir.offer(DrawnRow(task, counted, found.rows - 1))
    found.drawn = reservoir.rows
    return found

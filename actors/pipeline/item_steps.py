"""Asks the steps of the configuration about the items of a task: those of one item in order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

from msgspec import Struct, field

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.calls import Call, Completion
from actors.core.messages.tasks import Item, ItemResult, ItemState, Task
from actors.core.messages.values import Json, Usage
from actors.core.task.templates import NullValueError
from actors.pipeline.calls import CallMaker, CallSender
from actors.pipeline.step_batches import StepBatches, Submitted
from actors.pipeline.step_question import StepQuestion, step_questions
from actors.pipeline.steps import ComputeJob
from actors.pipeline.task_rules import TaskJob, TaskRules

_CALLS_A_TURN = 50  # of the event loop: a task of 10,000 items would block it, and all others in the process


class _CompiledStep:
    """A step: its question, and what makes its calls. A step that is computed makes none."""

    __slots__ = ("computation", "maker", "name", "question")

    def __init__(self, question: StepQuestion, rules: TaskRules) -> None:
        step = question.rules
        self.name = step.name
        self.question = question
        self.computation = step.computation
        self.maker = CallMaker(
            step.form,
            0 if step.is_plain else step.max_tokens,  # numbers are not billed as output
            step.model,
            step.parameters,
            form_tokens=rules.form_tokens.get(step.form, 0),
            share=rules.share_answers,
            endpoints=step.endpoints,
            served_at=step.served_at,
            files=step.files,
        )


class _Asked(Struct, frozen=True):
    """A question that has been sent."""

    step: _CompiledStep
    call: Call
    answer: asyncio.Future[Completion]


class _Computing(Struct, frozen=True):
    """A computed step that has been submitted."""

    step: _CompiledStep
    fields: Submitted


class _ItemRun(Struct):
    """The state of one item. `asked` is None once no answer is awaited."""

    item: Item
    values: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    position: int = 0  # of the step that is next
    asked: _Asked | _Computing | None = None
    state: ItemState = ItemState.SUCCEEDED
    error: Failure | None = None
    step: str = ""

    def end(self, state: ItemState, error: Failure, step: str = "") -> None:
        self.state, self.error, self.step, self.asked = state, error, step, None

    def result(self) -> ItemResult:
        return ItemResult(
            self.item.id, self.item.source, self.state, self.values, self.error, self.step, self.usage
        )


class ItemSteps:
    """Asks the steps about items, and computes those that need no model. The items run concurrently."""

    def __init__(self, rules: TaskRules, sender: CallSender, batches: StepBatches) -> None:
        self._sender = sender
        self._batches = batches
        self._steps = [_CompiledStep(question, rules) for question in step_questions(rules)]

    async def run(self, job: TaskJob, items: Sequence[Item]) -> tuple[ItemResult, ...]:
        """Return the result of each item, in the order of `items`.

        Raises StoreUnavailableError if an answer could not be stored: the task must not end.
        """
        task, runs = job.asked, []
        for number, item in enumerate(items):
            if number % _CALLS_A_TURN == 0:
                await asyncio.sleep(0)
            run = _ItemRun(item)
            if item.error is None:
                await self._ask_next(job, task, run)
            else:
                run.end(ItemState.FAILED, item.error)
            runs.append(run)
        if len(self._steps) == 1 or len(runs) == 1:  # no item waits to ask more while another is awaited
            return tuple([await self._finish(job, task, run) for run in runs])
        finishing = [asyncio.ensure_future(self._finish(job, task, run)) for run in runs]
        try:
            return tuple(await asyncio.gather(*finishing))
        finally:
            for each in finishing:
                each.cancel()

    async def _finish(self, job: TaskJob, task: Task, run: _ItemRun) -> ItemResult:
        """Wait for the answers about an item, and ask the remaining steps about it."""
        while run.asked is not None:
            asked = run.asked
            if isinstance(asked, _Computing):
                await self._computed(job, task, run, asked)
                continue
            completion = await self._sender.completion(job, asked.call, asked.answer)
            run.usage += completion.usage
            if completion.values is not None:
                run.values[asked.step.name] = completion.values
                await self._ask_next(job, task, run)
            elif completion.error is not None:
                run.end(ItemState.FAILED, completion.error, asked.step.name)
        return run.result()

    async def _computed(self, job: TaskJob, task: Task, run: _ItemRun, computing: _Computing) -> None:
        """Wait for the fields of a computed step, and ask the next one."""
        fields = await self._batches.result(job, computing.fields)
        if job.trace is not None:
            job.trace.answered(computing.step.name, failed=isinstance(fields, Failure))
        if isinstance(fields, Failure):
            run.end(ItemState.FAILED, fields, computing.step.name)
            return
        run.values[computing.step.name] = cast("Mapping[str, Json]", fields)
        await self._ask_next(job, task, run)

    async def _ask_next(self, job: TaskJob, task: Task, run: _ItemRun) -> None:
        """Ask the next step whose condition holds about an item, if there is one."""
        run.asked = None
        while run.position < len(self._steps):
            step = self._steps[run.position]
            run.position += 1
            if not step.question.is_asked(run.values):
                continue
            if step.computation is not None:
                values = step.question.item_values(task, run.item, run.values)
                if job.trace is not None:
                    job.trace.asked(step.name)
                run.asked = _Computing(step, self._batches.submit(ComputeJob(step.computation, values)))
                return
            try:
                prompt = step.question.prompt(task, run.item, run.values)
                attached = step.question.attachments(task, run.item)
            except NullValueError as error:
                failure = Failure(FailureKind.PERMANENT, Blame.TASK, str(error))
                run.end(ItemState.SKIPPED, failure, step.name)
            except ValueError as error:
                failure = Failure(FailureKind.PERMANENT, Blame.CONFIG, str(error))
                run.end(ItemState.FAILED, failure, step.name)
            else:
                left_s = self._sender.time_left(job)
                call = step.maker.call(job, prompt, left_s, item=run.item.id, attachments=attached)
                run.asked = _Asked(step, call, await self._sender.send(job, call))
            return


def not_asked(items: Sequence[Item], why: str) -> tuple[ItemResult, ...]:
    """Return the results of items about which nothing is asked."""
    failure = Failure(FailureKind.PERMANENT, Blame.SOURCE, why)
    return tuple(
        [ItemResult(item.id, item.source, ItemState.FAILED, error=item.error or failure) for item in items]
    )

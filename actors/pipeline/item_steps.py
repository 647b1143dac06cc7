"""Asks the steps of the configuration about the items of a task: those of one item in order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.calls import Call, Completion
from actors.core.messages.tasks import Item, ItemResult, ItemState, Task
from actors.core.messages.values import Json, Usage
from actors.core.task.prompts import compile_template, evaluate_prompt, row_prompt
from actors.pipeline.calls import CallMaker, CallSender
from actors.pipeline.task_rules import StepRules, TaskJob, TaskRules

_CALLS_A_TURN = 50  # of the event loop: a task of 10,000 items would block it, and all others in the process


class _CompiledStep:
    """A step, compiled once."""

    __slots__ = ("maker", "name", "template")

    def __init__(self, step: StepRules, rules: TaskRules) -> None:
        self.name = step.name
        self.template = compile_template(step.prompt)
        self.maker = CallMaker(
            step.form,
            step.max_tokens,
            step.model,
            step.parameters,
            form_tokens=rules.form_tokens.get(step.form, 0),
            share=rules.share_answers,
            endpoints=step.endpoints,
        )


class _Asked(Struct, frozen=True):
    """A question that has been sent."""

    step: _CompiledStep
    call: Call
    answer: asyncio.Future[Completion]


class _ItemRun(Struct):
    """The state of one item. `asked` is None once no answer is awaited."""

    item: Item
    values: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    position: int = 0  # of the step that is next
    asked: _Asked | None = None
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
    """Asks the steps about items. The items of a task run concurrently."""

    def __init__(self, rules: TaskRules, sender: CallSender) -> None:
        self._sender = sender
        self._is_map = rules.is_map
        self._steps = [_CompiledStep(step, rules) for step in rules.steps]

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
        return tuple([await self._finish(job, task, run) for run in runs])

    async def _finish(self, job: TaskJob, task: Task, run: _ItemRun) -> ItemResult:
        """Wait for the answers about an item, and ask the remaining steps about it."""
        while run.asked is not None:
            asked = run.asked
            completion = await self._sender.completion(job, asked.call, asked.answer)
            run.usage += completion.usage
            if completion.values is not None:
                run.values[asked.step.name] = completion.values
                await self._ask_next(job, task, run)
            elif completion.error is not None:
                run.end(ItemState.FAILED, completion.error, asked.step.name)
        return run.result()

    async def _ask_next(self, job: TaskJob, task: Task, run: _ItemRun) -> None:
        """Ask the next step about an item, if there is one."""
        run.asked = None
        if run.position == len(self._steps):
            return
        step = self._steps[run.position]
        run.position += 1
        try:
            if self._is_map:
                prompt = row_prompt(step.template, task)
            else:
                prompt = evaluate_prompt(step.template, task, run.item)
        except ValueError as error:
            run.end(ItemState.FAILED, Failure(FailureKind.PERMANENT, Blame.CONFIG, str(error)), step.name)
            return
        call = step.maker.call(job, prompt, self._sender.time_left(job), item=run.item.id)
        run.asked = _Asked(step, call, await self._sender.send(job, call))


def not_asked(items: Sequence[Item], why: str) -> tuple[ItemResult, ...]:
    """Return the results of items about which nothing is asked."""
    failure = Failure(FailureKind.PERMANENT, Blame.SOURCE, why)
    return tuple(
        [ItemResult(item.id, item.source, ItemState.FAILED, error=item.error or failure) for item in items]
    )

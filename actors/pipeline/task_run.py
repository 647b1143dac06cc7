"""Runs a task: collect, evaluate, generate, combine. Tasks run independently of one another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import cast

from msgspec import Struct, field
from msgspec.structs import replace

from actors.core.errors import (
    Blame,
    Failure,
    FailureKind,
    HeadraceError,
    OverloadedError,
    PeerLostError,
    StoreUnavailableError,
)
from actors.core.limits.token_estimate import text_tokens
from actors.core.messages.calls import Call, Completion
from actors.core.messages.journal import Accepted
from actors.core.messages.protocols import FromDispatcher, FromSource, ToDispatcher, ToSource
from actors.core.messages.tasks import DimensionResult, Evaluation, Fetch, Fetched, Item, Report, Submit, Task
from actors.core.messages.values import CallCounts, Json, Usage
from actors.core.task.dimensions import Aggregate, DimensionSettings, Observation, observe, seed_of
from actors.core.task.prompts import CallKeys, compile_template, evaluate_prompt, synthesize_prompt
from actors.core.task.reports import TaskOutcome, combine
from actors.core.task_names import given_name
from actors.pipeline.batches import Batches, BatchStatistics
from actors.pipeline.steps import AggregateJob, StepJob, StepResult, Steps, VerifyJob
from actors.pipeline.task_recorder import TaskRecorder
from actors.transport.courier import Courier

EVALUATE, SYNTHESIZE = "evaluate", "synthesize"  # the names of the two forms

# Actors answer by the deadline of the task. One that has not answered this long after it is away.
_GRACE_S = 5.0
_CALLS_A_TURN = 50  # of the event loop: a task of 10,000 items would block it, and all others in the process
_STEP_GRACE_S = 30.0  # a step may have to wait for a worker to start


class TaskRules(Struct, frozen=True):
    """The part of the configuration that tasks are run by.

    share_answers: whether equal calls of all tasks and runs share an answer (``llm.cache``).
    form_tokens: approximate tokens that a question takes beside its prompt, by the name of its form.
    """

    dimensions: tuple[DimensionSettings, ...]
    evaluate_prompt: str
    evaluate_tokens: int
    synthesize_tokens: int
    model: str
    call_parameters: Mapping[str, Json]
    required_sources: frozenset[str]
    task_deadline_s: float
    share_answers: bool = False
    form_tokens: Mapping[str, int] = field(default_factory=dict)
    max_collected_bytes: int = 2**25


class TaskJob(Struct):
    """A running task, with the totals of its calls. `deadline` is a time on the clock of this process."""

    submit: Submit
    known: Accepted
    deadline: float
    counts: CallCounts = field(default_factory=CallCounts)
    usage: Usage = field(default_factory=Usage)

    @property
    def key(self) -> str:
        """The task's key."""
        return self.submit.task.key

    @property
    def asked(self) -> Task:
        """The task under the name that its caller gave it, which sources and prompts use."""
        task = self.submit.task
        return replace(task, key=given_name(task.key))

    def add(self, completion: Completion) -> None:
        """Add the counts and the usage of a call."""
        self.counts += completion.counts
        self.usage += completion.usage


class TaskRunner:
    """Runs tasks through their four stages."""

    def __init__(
        self,
        rules: TaskRules,
        dispatcher: Courier[ToDispatcher, FromDispatcher],
        sources: Mapping[str, Courier[ToSource, FromSource]],
        recorder: TaskRecorder,
        *,
        steps: Steps,
        clock: Callable[[], float],
    ) -> None:
        self._rules = rules
        self._dispatcher = dispatcher
        self._sources = sources
        self._recorder = recorder
        self._clock = clock
        self._evaluate_template = compile_template(rules.evaluate_prompt)
        self._synthesize_templates = [
            None if dimension.synthesize is None else compile_template(dimension.synthesize)
            for dimension in rules.dimensions
        ]
        self._call_keys = lru_cache(maxsize=16)(
            lambda run_id: CallKeys(run_id, rules.model, rules.call_parameters)
        )
        self._steps: Batches[StepJob, StepResult] = Batches(
            steps.run,
            parallel=steps.parallel,
            max_jobs=256,
            interval_s=steps.interval_s,
            timeout_s=rules.task_deadline_s,
            clock=clock,
        )

    async def close(self) -> None:
        """Close the couriers to the sources, and cancel running steps."""
        self._steps.close()
        for courier in self._sources.values():
            await courier.close()

    def statistics(self) -> BatchStatistics:
        """Return a frozen snapshot of the batches of steps."""
        return self._steps.statistics()

    async def run_task(self, job: TaskJob) -> Report:
        """Run a task and return its report."""
        fetched = await self._collect(job)
        items = tuple(item for each in fetched for item in each.items)
        evaluations, failed_evaluations = await self._evaluate(job, items, fetched)
        results, failed_dimensions = await self._generate(job, evaluations)
        outcome = TaskOutcome(
            fetched=fetched,
            evaluated=len(evaluations),
            results=results,
            failed_evaluations=failed_evaluations,
            failed_dimensions=failed_dimensions,
            calls=job.counts,
            usage=job.usage,
        )
        return combine(job.submit.task, self._rules.dimensions, outcome, self._rules.required_sources)

    # ---- collect -----------------------------------------------------------------------------------------

    async def _collect(self, job: TaskJob) -> tuple[Fetched, ...]:
        """Fetch from all sources at once. The result of a source that fails is its error."""
        if job.known.fetched is not None:
            return job.known.fetched
        asked = (self._fetch(job, name, courier) for name, courier in self._sources.items())
        fetched = _bounded(await asyncio.gather(*asked), self._rules.max_collected_bytes)
        await self._recorder.collected(job.submit.run_id, job.key, fetched)
        return fetched

    async def _fetch(self, job: TaskJob, source: str, courier: Courier[Fetch, Fetched]) -> Fetched:
        """Fetch from one source. If it is away, wait for it until the deadline of the task."""
        fetch = Fetch(job.asked, self._time_left(job))
        try:
            return await courier.call(fetch, within_s=self._patience_s(job))
        except PeerLostError as error:
            return Fetched(source, (), _late(error))
        except HeadraceError as error:
            return Fetched(source, (), error.failure())

    # ---- evaluate ----------------------------------------------------------------------------------------

    async def _evaluate(
        self, job: TaskJob, items: Sequence[Item], fetched: Sequence[Fetched]
    ) -> tuple[tuple[Evaluation, ...], dict[str, Failure]]:
        """Have the model evaluate each item; return the evaluations, and the failures by item id."""
        evaluations: list[Evaluation] = []
        failed: dict[str, Failure] = {}
        if any(each.error and each.source in self._rules.required_sources for each in fetched):
            return (), {}  # the task has failed: further calls would cost money without use
        asked = []
        for number, item in enumerate(items):
            if number % _CALLS_A_TURN == 0:
                await asyncio.sleep(0)
            if item.error is not None:
                failed[item.id] = item.error
                continue
            try:
                prompt = evaluate_prompt(self._evaluate_template, job.asked, item)
            except ValueError as error:
                failed[item.id] = Failure(FailureKind.PERMANENT, Blame.CONFIG, str(error))
                continue
            call = self._call(job, EVALUATE, prompt, self._rules.evaluate_tokens, item=item.id)
            asked.append((item, call, await self._ask(job, call)))
        for item, call, future in asked:
            completion = await self._completion(job, call, future)
            if completion.values is not None:
                evaluations.append(Evaluation(item.id, item.source, completion.values))
            elif completion.error is not None:
                failed[item.id] = completion.error
        numbers = {"evaluated": len(evaluations), "failed": len(failed)}
        await self._recorder.note(job.submit.run_id, job.key, "evaluated", numbers)
        return tuple(evaluations), failed

    # ---- generate ----------------------------------------------------------------------------------------

    async def _generate(
        self, job: TaskJob, evaluations: tuple[Evaluation, ...]
    ) -> tuple[tuple[DimensionResult, ...], dict[str, Failure]]:
        """Generate all dimensions concurrently; return the results, and the failures by dimension name."""
        if not evaluations:
            return (), {}
        failed: dict[str, Failure] = {}
        results = await asyncio.gather(
            *(
                self._dimension(job, index, evaluations, failed)
                for index in range(len(self._rules.dimensions))
            )
        )
        return tuple(result for result in results if result is not None), failed

    async def _dimension(
        self, job: TaskJob, index: int, evaluations: tuple[Evaluation, ...], failed: dict[str, Failure]
    ) -> DimensionResult | None:
        """Generate one dimension in three steps: aggregate, synthesize, verify."""
        settings = self._rules.dimensions[index]
        observations = observe(settings, evaluations)
        aggregated = await self._aggregate(job, AggregateJob(index, observations, seed_of(job.key)))
        if isinstance(aggregated, Failure):
            failed[settings.name] = aggregated
            return None
        answer = await self._synthesize(job, index, aggregated, observations, failed)
        known_ids = tuple(evaluation.item_id for evaluation in evaluations)
        result = await self._verify(job, VerifyJob(index, aggregated, answer, known_ids))
        if isinstance(result, Failure):
            failed[settings.name] = result
            return None
        made = {"name": result.name, "score": result.score, "n": result.n}
        await self._recorder.note(job.submit.run_id, job.key, "dimension", made)
        return result

    async def _aggregate(self, job: TaskJob, step: AggregateJob) -> Aggregate | Failure:
        return cast("Aggregate | Failure", await self._step(job, step))

    async def _verify(self, job: TaskJob, step: VerifyJob) -> DimensionResult | Failure:
        return cast("DimensionResult | Failure", await self._step(job, step))

    async def _step(self, job: TaskJob, step: StepJob) -> StepResult | Failure:
        """Run a step. It may take until `_STEP_GRACE_S` after the deadline of the task."""
        try:
            async with asyncio.timeout(self._time_left(job) + _STEP_GRACE_S):
                return await self._steps.submit(step)
        except TimeoutError:
            text = "no time was left for the task: a step of its dimension did not end"
            return Failure(FailureKind.DEADLINE, Blame.CLUSTER, text)

    async def _synthesize(
        self,
        job: TaskJob,
        index: int,
        aggregated: Aggregate,
        observations: tuple[Observation, ...],
        failed: dict[str, Failure],
    ) -> Mapping[str, Json] | None:
        """Have the model write the finding. Return None if none is wanted, or if it failed.

        Adds a failure to `failed`.
        """
        settings, template = self._rules.dimensions[index], self._synthesize_templates[index]
        if template is None:
            return None
        try:
            prompt = synthesize_prompt(template, job.asked, settings, aggregated, observations)
        except ValueError as error:
            failed[settings.name] = Failure(FailureKind.PERMANENT, Blame.CONFIG, str(error))
            return None
        call = self._call(job, SYNTHESIZE, prompt, self._rules.synthesize_tokens, dimension=settings.name)
        completion = await self._completion(job, call, await self._ask(job, call))
        if completion.error is not None:
            failed[settings.name] = completion.error
        return completion.values

    # ---- calls -------------------------------------------------------------------------------------------

    def _call(
        self, job: TaskJob, form: str, prompt: str, max_tokens: int, *, item: str = "", dimension: str = ""
    ) -> Call:
        submit = job.submit
        shared = self._rules.share_answers
        return Call(
            key=self._call_keys(submit.run_id).key(job.key, item, form, dimension, prompt),
            form=form,
            prompt=prompt,
            tokens=text_tokens(prompt) + self._rules.form_tokens.get(form, 0) + max_tokens,
            output_tokens=max_tokens,
            task=job.key,
            tenant=submit.tenant,
            priority=submit.priority,
            expires_in_s=self._time_left(job),
            run_id=submit.run_id,
            content=self._call_keys("").key("", "", form, "", prompt) if shared else "",
        )

    async def _ask(self, job: TaskJob, call: Call) -> asyncio.Future[Completion]:
        """Send a call to the dispatcher, or return the answer that the journal already has."""
        answer = job.known.answers.get(call.key)
        if answer is None:
            return await self._dispatcher.send(call, within_s=self._patience_s(job))
        known: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        counts = CallCounts(planned=1, reused=1)
        known.set_result(Completion(call.key, answer.values, None, Usage(), counts))
        return known

    async def _completion(self, job: TaskJob, call: Call, future: Awaitable[Completion]) -> Completion:
        """Wait for the completion of a call. Send it again while the dispatcher has no room for it."""
        while True:
            try:
                completion = await future
            except OverloadedError as error:
                if self._time_left(job) > error.retry_after_s:
                    await asyncio.sleep(error.retry_after_s)
                    call = replace(call, expires_in_s=self._time_left(job))
                    future = await self._dispatcher.send(call, within_s=self._patience_s(job))
                    continue
                completion = Completion(call.key, None, error.failure(), Usage(), CallCounts(planned=1))
            except PeerLostError as error:  # the dispatcher was away until after the deadline of the task
                counts = CallCounts(planned=1, in_doubt=int(error.may_have_run))
                completion = Completion(call.key, None, _late(error), Usage(), counts)
            except HeadraceError as error:
                completion = Completion(call.key, None, error.failure(), Usage(), CallCounts(planned=1))
            if completion.error is not None and completion.error.kind is FailureKind.UNSTORED:
                raise StoreUnavailableError(completion.error.message)  # leaves the task unfinished
            job.add(completion)
            return completion

    def _time_left(self, job: TaskJob) -> float:
        return max(0.0, job.deadline - self._clock())

    def _patience_s(self, job: TaskJob) -> float:
        """Return how long to wait for another actor: the deadline applies even if all of them are away."""
        return self._time_left(job) + _GRACE_S


def _bounded(fetched: Sequence[Fetched], most: int) -> tuple[Fetched, ...]:
    """Return `fetched`, with an error for each source whose items exceed `most` bytes in total.

    All items go to the journal in one message, whose size is bounded.
    """
    kept: list[Fetched] = []
    total = 0
    for each in fetched:
        if total + each.size <= most:
            total += each.size
            kept.append(each)
            continue
        text = (
            f"its items have {each.size:,} bytes, {total + each.size:,} together with those of the sources "
            f"before it; the limit is {most:,}; request fewer items, or raise limits.max_collected_bytes"
        )
        failure = Failure(FailureKind.PERMANENT, Blame.LIMIT, text)
        kept.append(replace(each, items=(), error=failure, size=0))
    return tuple(kept)


def _late(error: PeerLostError) -> Failure:
    """Return the failure of a task for which an actor was away until its deadline."""
    return Failure(FailureKind.DEADLINE, Blame.CLUSTER, f"no time was left for the task: {error}")

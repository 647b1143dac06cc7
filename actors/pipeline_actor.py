"""The way of a task: collect, evaluate, generate, combine. Tasks flow independently of one another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeVar

import ray

from actors.batches import Batches, BatchStatistics
from actors.core.dimensions import Aggregate, DimensionSettings, Observation, observe, seed_of
from actors.core.errors import Blame, Failure, FailureKind, HeadraceError, OverloadedError
from actors.core.messages import (
    Call,
    CallCounts,
    Completion,
    DimensionResult,
    Evaluation,
    Fetch,
    Fetched,
    Item,
    Json,
    Report,
    Submit,
    Task,
    TaskState,
    Usage,
)
from actors.core.prompts import (
    CallKeys,
    compile_template,
    estimate_tokens,
    evaluate_prompt,
    synthesize_prompt,
)
from actors.core.reports import Outcome, combine
from actors.courier import Courier
from actors.courier_settings import CourierSettings, CourierStatistics, OnRestart
from actors.dimension_tasks import AggregateJob, VerifyJob, aggregate_batch, verify_batch
from actors.inbox import Inbox, Reply
from actors.process import settle_in
from actors.ray_link import Address, RayLink, Reachable

_log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

_UNHURRIED_S = 0.1  # between messages about fetches and reports: no slot at an endpoint waits for them

EVALUATE, SYNTHESIZE = "evaluate", "synthesize"  # the names of the two forms


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What a pipeline is told. `parallel` is how many dimension batches run at once: the cluster's cores."""

    dimensions: tuple[DimensionSettings, ...]
    evaluate_prompt: str
    evaluate_tokens: int
    synthesize_tokens: int
    model: str
    call_parameters: Mapping[str, Json]
    required_sources: frozenset[str]
    active_tasks: int
    accepted_tasks: int
    task_deadline_s: float
    parallel: int = 2


@dataclass(frozen=True, slots=True)
class PipelineStatistics:
    """A snapshot of a pipeline."""

    name: str
    active: int
    accepted: int
    ended: int
    to_dispatcher: CourierStatistics
    aggregations: BatchStatistics
    verifications: BatchStatistics


@dataclass(slots=True)
class _Ledger:
    """What the calls of one task came to."""

    counts: CallCounts = field(default_factory=CallCounts)
    usage: Usage = field(default_factory=Usage)

    def add(self, completion: Completion) -> None:
        self.counts += completion.counts
        self.usage += completion.usage


@dataclass(frozen=True, slots=True)
class _Job:
    """A task on its way. `deadline` is a time on this process's clock."""

    run_id: str
    task: Task
    deadline: float
    ledger: _Ledger


class Pipeline(Reachable):
    """Answers `Submit` with a `Report`, always; or with `OverloadedError` when its backlog is full."""

    def __init__(
        self,
        name: str,
        settings: PipelineSettings,
        dispatcher: Address,
        sources: Mapping[str, Address],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._settings = settings
        self._clock = clock
        self._evaluate_template = compile_template(settings.evaluate_prompt)
        self._synthesize_templates = [
            None if dimension.synthesize is None else compile_template(dimension.synthesize)
            for dimension in settings.dimensions
        ]
        self._call_keys = lru_cache(maxsize=16)(
            lambda run_id: CallKeys(run_id, settings.model, settings.call_parameters)
        )
        self._dispatcher: Courier[Call, Completion] = Courier(
            RayLink(dispatcher),
            peer="dispatcher",
            settings=CourierSettings(
                max_outstanding=100_000, max_outstanding_bytes=256 << 20, on_restart=OnRestart.RESEND
            ),
            size_of=lambda call: len(call.prompt) + 256,
        )
        self._sources: dict[str, Courier[Fetch, Fetched]] = {
            source: Courier(
                RayLink(address),
                peer=source,
                settings=CourierSettings(
                    max_outstanding=10_000,
                    max_outstanding_bytes=64 << 20,
                    on_restart=OnRestart.RESEND,
                    interval_s=_UNHURRIED_S,
                ),
            )
            for source, address in sources.items()
        }
        self._aggregations: Batches[AggregateJob, Aggregate] = Batches(
            lambda jobs: aggregate_batch.remote(settings.dimensions, jobs),
            parallel=settings.parallel,
            max_jobs=256,
            timeout_s=settings.task_deadline_s,
        )
        self._verifications: Batches[VerifyJob, DimensionResult] = Batches(
            lambda jobs: verify_batch.remote(settings.dimensions, jobs),
            parallel=settings.parallel,
            max_jobs=256,
            timeout_s=settings.task_deadline_s,
        )
        self._accepted: deque[tuple[Submit, Reply, float]] = deque()
        self._active: set[asyncio.Task[None]] = set()
        self._ended = 0
        self._inbox = Inbox(self._on_item, interval_s=_UNHURRIED_S)
        settle_in()

    async def statistics(self) -> PipelineStatistics:
        """Return a frozen snapshot."""
        return PipelineStatistics(
            name=self._name,
            active=len(self._active),
            accepted=len(self._accepted),
            ended=self._ended,
            to_dispatcher=self._dispatcher.statistics(),
            aggregations=self._aggregations.statistics(),
            verifications=self._verifications.statistics(),
        )

    def __repr__(self) -> str:
        return f"{self._name}({len(self._active)} active, {len(self._accepted)} accepted)"

    # ---- admission ---------------------------------------------------------------------------------------

    def _on_item(self, item: Submit, reply: Reply) -> None:
        if len(self._accepted) >= self._settings.accepted_tasks:
            reply(OverloadedError(f"the backlog of {self._name}", 1.0))
            return
        self._accepted.append((item, reply, self._clock()))
        self._open_tasks()

    def _open_tasks(self) -> None:
        while self._accepted and len(self._active) < self._settings.active_tasks:
            submit, reply, accepted_at = self._accepted.popleft()
            job = _Job(submit.run_id, submit.task, accepted_at + self._settings.task_deadline_s, _Ledger())
            running = asyncio.create_task(self._answer(job, reply))
            self._active.add(running)
            running.add_done_callback(self._on_task_done)

    def _on_task_done(self, running: asyncio.Task[None]) -> None:
        self._active.discard(running)
        self._ended += 1
        self._open_tasks()

    async def _answer(self, job: _Job, reply: Reply) -> None:
        started = self._clock()
        try:
            report = await self.run_task(job)
        except Exception as error:  # noqa: BLE001 - a defect fails its own task, loudly, and no other
            _log.exception("task %s failed", job.task.key)
            report = _defect(job, error)
        reply(replace(report, elapsed_s=self._clock() - started))

    # ---- the way of a task -------------------------------------------------------------------------------

    async def run_task(self, job: _Job) -> Report:
        """Return the report on a task: collect, evaluate, generate, combine."""
        fetched = await self._collect(job)
        items = tuple(item for each in fetched for item in each.items)
        evaluations, failed_evaluations = await self._evaluate(job, items, fetched)
        results, failed_dimensions = await self._generate(job, evaluations)
        outcome = Outcome(
            fetched=fetched,
            evaluated=len(evaluations),
            results=results,
            failed_evaluations=failed_evaluations,
            failed_dimensions=failed_dimensions,
            calls=job.ledger.counts,
            usage=job.ledger.usage,
        )
        return combine(job.task, self._settings.dimensions, outcome, self._settings.required_sources)

    async def _collect(self, job: _Job) -> tuple[Fetched, ...]:
        """Ask every source at once; one that fails leaves its error in place of items."""
        asked = [
            (name, await courier.send(Fetch(job.task, self._time_left(job))))
            for name, courier in self._sources.items()
        ]
        return tuple([await _fetched(name, future) for name, future in asked])

    async def _evaluate(
        self, job: _Job, items: Sequence[Item], fetched: Sequence[Fetched]
    ) -> tuple[tuple[Evaluation, ...], dict[str, Failure]]:
        """Have the model judge every item; return the verdicts, and what failed by item id."""
        evaluations: list[Evaluation] = []
        failed: dict[str, Failure] = {}
        if any(each.error and each.source in self._settings.required_sources for each in fetched):
            return (), {}  # the task has failed already: what is not asked is not paid for
        asked = []
        for item in items:
            try:
                prompt = evaluate_prompt(self._evaluate_template, job.task, item)
            except ValueError as error:
                failed[item.id] = Failure(FailureKind.PERMANENT, Blame.CONFIG, str(error))
                continue
            call = self._call(job, EVALUATE, prompt, self._settings.evaluate_tokens, item=item.id)
            asked.append((item, call, await self._dispatcher.send(call)))
        for item, call, future in asked:
            completion = await self._completion(job, call, future)
            if completion.values is not None:
                evaluations.append(Evaluation(item.id, item.source, completion.values))
            elif completion.error is not None:
                failed[item.id] = completion.error
        return tuple(evaluations), failed

    async def _generate(
        self, job: _Job, evaluations: tuple[Evaluation, ...]
    ) -> tuple[tuple[DimensionResult, ...], dict[str, Failure]]:
        """Make every dimension's result, side by side; return the results, and what failed by name."""
        if not evaluations:
            return (), {}
        failed: dict[str, Failure] = {}
        results = await asyncio.gather(
            *(
                self._dimension(job, index, evaluations, failed)
                for index in range(len(self._settings.dimensions))
            )
        )
        return tuple(result for result in results if result is not None), failed

    async def _dimension(
        self, job: _Job, index: int, evaluations: tuple[Evaluation, ...], failed: dict[str, Failure]
    ) -> DimensionResult | None:
        """Make one dimension's result in three steps: aggregate, synthesize, verify."""
        settings = self._settings.dimensions[index]
        observations = observe(settings, evaluations)
        aggregated = await self._aggregations.submit(AggregateJob(index, observations, seed_of(job.task.key)))
        if isinstance(aggregated, Failure):
            failed[settings.name] = aggregated
            return None
        answer = await self._synthesize(job, index, aggregated, observations, failed)
        known_ids = tuple(evaluation.item_id for evaluation in evaluations)
        result = await self._verifications.submit(VerifyJob(index, aggregated, answer, known_ids))
        if isinstance(result, Failure):
            failed[settings.name] = result
            return None
        return result

    async def _synthesize(
        self,
        job: _Job,
        index: int,
        aggregated: Aggregate,
        observations: tuple[Observation, ...],
        failed: dict[str, Failure],
    ) -> Mapping[str, Json] | None:
        """Have the model write the finding; None where none is wanted or it failed, which is noted."""
        settings, template = self._settings.dimensions[index], self._synthesize_templates[index]
        if template is None:
            return None
        try:
            prompt = synthesize_prompt(template, job.task, settings, aggregated, observations)
        except ValueError as error:
            failed[settings.name] = Failure(FailureKind.PERMANENT, Blame.CONFIG, str(error))
            return None
        tokens = self._settings.synthesize_tokens
        call = self._call(job, SYNTHESIZE, prompt, tokens, dimension=settings.name)
        completion = await self._completion(job, call, await self._dispatcher.send(call))
        if completion.error is not None:
            failed[settings.name] = completion.error
        return completion.values

    # ---- calls -------------------------------------------------------------------------------------------

    def _call(
        self, job: _Job, form: str, prompt: str, max_tokens: int, *, item: str = "", dimension: str = ""
    ) -> Call:
        return Call(
            key=self._call_keys(job.run_id).key(job.task.key, item, form, dimension, prompt),
            form=form,
            prompt=prompt,
            tokens=estimate_tokens(len(prompt), max_tokens),
            task=job.task.key,
            run_id=job.run_id,
            expires_in_s=self._time_left(job),
        )

    async def _completion(self, job: _Job, call: Call, future: Awaitable[Completion]) -> Completion:
        """Return the end of a call; offer it again while the dispatcher has no room for it."""
        while True:
            try:
                completion = await future
            except OverloadedError as error:
                if self._time_left(job) > error.retry_after_s:
                    await asyncio.sleep(error.retry_after_s)
                    call = replace(call, expires_in_s=self._time_left(job))
                    future = await self._dispatcher.send(call)
                    continue
                completion = Completion(call.key, None, error.failure(), Usage(), CallCounts(planned=1))
            except HeadraceError as error:
                completion = Completion(call.key, None, error.failure(), Usage(), CallCounts(planned=1))
            job.ledger.add(completion)
            return completion

    def _time_left(self, job: _Job) -> float:
        return max(0.0, job.deadline - self._clock())


async def _fetched(source: str, future: Awaitable[Fetched]) -> Fetched:
    try:
        return await future
    except HeadraceError as error:
        return Fetched(source, (), error.failure())


def _defect(job: _Job, error: Exception) -> Report:
    return Report(
        key=job.task.key,
        state=TaskState.FAILED,
        overall=None,
        dimensions=(),
        sources={},
        calls=job.ledger.counts,
        usage=job.ledger.usage,
        elapsed_s=0.0,
        errors=(f"a defect of this program: {type(error).__name__}: {error}"[:500],),
    )


PipelineActor = ray.remote(Pipeline)

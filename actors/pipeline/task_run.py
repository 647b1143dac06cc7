"""Runs a task: collect, evaluate, generate, combine. Tasks run independently of one another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from msgspec.structs import replace

from actors.core.errors import Blame, Failure, FailureKind, HeadraceError, PeerLostError
from actors.core.messages.protocols import FromDispatcher, FromSource, ToDispatcher, ToSource
from actors.core.messages.tasks import (
    DimensionResult,
    Fetch,
    Fetched,
    ItemResult,
    ItemState,
    Report,
)
from actors.core.messages.values import Json
from actors.core.task.dimensions import Aggregate, Observation, observe, seed_of
from actors.core.task.prompts import own_item, synthesize_prompt
from actors.core.task.reports import TaskOutcome, combine
from actors.core.task.templates import compile_template
from actors.pipeline.batches import BatchStatistics
from actors.pipeline.calls import CallMaker, CallSender, late
from actors.pipeline.item_steps import ItemSteps, not_asked
from actors.pipeline.step_batches import StepBatches
from actors.pipeline.steps import AggregateJob, PureSteps, VerifyJob
from actors.pipeline.task_recorder import TaskRecorder
from actors.pipeline.task_rules import SYNTHESIZE, TaskJob, TaskRules
from actors.transport.courier import Courier


class TaskRunner:
    """Runs tasks through their four stages."""

    def __init__(
        self,
        rules: TaskRules,
        dispatcher: Courier[ToDispatcher, FromDispatcher],
        sources: Mapping[str, Courier[ToSource, FromSource]],
        recorder: TaskRecorder,
        *,
        steps: PureSteps,
        clock: Callable[[], float],
    ) -> None:
        self._rules = rules
        self._sender = CallSender(dispatcher, clock)
        self._sources = sources
        self._recorder = recorder
        self._steps = StepBatches(steps, self._sender.time_left, timeout_s=rules.task_deadline_s, clock=clock)
        self._items = ItemSteps(rules, self._sender, self._steps)
        self._synthesize_templates = [
            None if dimension.synthesize is None else compile_template(dimension.synthesize)
            for dimension in rules.dimensions
        ]
        self._findings = CallMaker(
            SYNTHESIZE,
            rules.synthesize_tokens,
            rules.model,
            rules.call_parameters,
            form_tokens=rules.form_tokens.get(SYNTHESIZE, 0),
            share=rules.share_answers,
            endpoints=rules.finding_endpoints,
            served_at=rules.served_at,
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
        fetched: tuple[Fetched, ...] = ()
        if self._rules.is_map:
            evaluated = await self._items.run(job, (own_item(job.asked),))
        else:
            fetched = await self._collect(job)
            evaluated = await self._evaluate(job, fetched)
        results, failed_dimensions = await self._generate(job, evaluated)
        outcome = TaskOutcome(
            fetched=fetched,
            items=evaluated,
            results=results,
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
        fetch = Fetch(job.asked, self._sender.time_left(job))
        try:
            return await courier.call(fetch, within_s=self._sender.patience_s(job))
        except PeerLostError as error:
            return Fetched(source, (), late(error))
        except HeadraceError as error:
            return Fetched(source, (), error.failure())

    # ---- evaluate ----------------------------------------------------------------------------------------

    async def _evaluate(self, job: TaskJob, fetched: Sequence[Fetched]) -> tuple[ItemResult, ...]:
        """Have the model evaluate each item; return the results in the order of the sources."""
        items = tuple(item for each in fetched for item in each.items)
        failed = [
            each.source for each in fetched if each.error and each.source in self._rules.required_sources
        ]
        if failed:  # the task has failed: calls would cost money without use
            return not_asked(items, f"not asked, because required source {failed[0]} failed")
        results = await self._items.run(job, items)
        succeeded = sum(result.state is ItemState.SUCCEEDED for result in results)
        numbers = {"evaluated": succeeded, "failed": len(results) - succeeded}
        await self._recorder.note(job.submit.run_id, job.key, "evaluated", numbers)
        if self._rules.keeps_text:
            pairs = zip(results, items, strict=True)
            return tuple([replace(result, text=item.text) for result, item in pairs])
        return results

    # ---- generate ----------------------------------------------------------------------------------------

    async def _generate(
        self, job: TaskJob, items: tuple[ItemResult, ...]
    ) -> tuple[tuple[DimensionResult, ...], dict[str, Failure]]:
        """Generate all dimensions concurrently; return the results, and the failures by dimension name."""
        if not any(item.values for item in items):
            return (), {}
        failed: dict[str, Failure] = {}
        results = await asyncio.gather(
            *(self._dimension(job, index, items, failed) for index in range(len(self._rules.dimensions)))
        )
        return tuple(result for result in results if result is not None), failed

    async def _dimension(
        self, job: TaskJob, index: int, items: tuple[ItemResult, ...], failed: dict[str, Failure]
    ) -> DimensionResult | None:
        """Generate one dimension in three steps: aggregate, synthesize, verify."""
        settings = self._rules.dimensions[index]
        observations = observe(settings, items)
        aggregated = await self._aggregate(job, AggregateJob(index, observations, seed_of(job.key)))
        if isinstance(aggregated, Failure):
            failed[settings.name] = aggregated
            return None
        answer = await self._synthesize(job, index, aggregated, observations, failed)
        known_ids = tuple(item.item_id for item in items if item.values)
        result = await self._verify(job, VerifyJob(index, aggregated, answer, known_ids))
        if isinstance(result, Failure):
            failed[settings.name] = result
            return None
        made = {"name": result.name, "score": result.score, "n": result.n}
        await self._recorder.note(job.submit.run_id, job.key, "dimension", made)
        return result

    async def _aggregate(self, job: TaskJob, step: AggregateJob) -> Aggregate | Failure:
        return cast("Aggregate | Failure", await self._steps.result(job, self._steps.submit(step)))

    async def _verify(self, job: TaskJob, step: VerifyJob) -> DimensionResult | Failure:
        return cast("DimensionResult | Failure", await self._steps.result(job, self._steps.submit(step)))

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
        call = self._findings.call(job, prompt, self._sender.time_left(job), dimension=settings.name)
        completion = await self._sender.completion(job, call, await self._sender.send(job, call))
        if completion.error is not None:
            failed[settings.name] = completion.error
        return completion.values


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

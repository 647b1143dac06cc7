"""Makes the calls of tasks, sends them to the dispatcher, and waits for their completions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache

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
from actors.core.messages.protocols import FromDispatcher, ToDispatcher
from actors.core.messages.values import CallCounts, Json, Usage
from actors.core.task.attachments import AttachmentRules
from actors.core.task.call_keys import CallKeys, content_keys
from actors.pipeline.task_rules import TaskJob
from actors.transport.courier import Courier

# Actors answer by the deadline of the task. One that has not answered this long after it is away.
_GRACE_S = 5.0
_NO_FILES = AttachmentRules()


class CallMaker:
    """Makes calls of one form. The part that all of them share is computed once.

    form_tokens: approximate tokens of a question besides its prompt and its answer.
    share: whether equal calls of all tasks and runs share an answer.
    endpoints: the names of the endpoints that may answer, empty for all.
    served_at: see `content_keys`.
    files: the rules for the files that are sent with the prompts.
    """

    def __init__(
        self,
        form: str,
        max_tokens: int,
        model: str,
        parameters: Mapping[str, Json],
        *,
        form_tokens: int = 0,
        share: bool = False,
        endpoints: tuple[str, ...] = (),
        served_at: str = "",
        files: AttachmentRules = _NO_FILES,
    ) -> None:
        self._files = files
        self._form = form
        self._max_tokens = max_tokens
        self._tokens = form_tokens + max_tokens
        self._endpoints = endpoints
        self._keys = lru_cache(maxsize=16)(lambda run_id: CallKeys(run_id, model, parameters))
        self._contents = content_keys(model, parameters, served_at) if share else None

    def call(
        self,
        job: TaskJob,
        prompt: str,
        expires_in_s: float,
        *,
        item: str = "",
        dimension: str = "",
        attachments: tuple[str, ...] = (),
    ) -> Call:
        """Return the call that asks `prompt` about an item or a dimension of a task."""
        submit, content = job.submit, ""
        if self._contents is not None:
            places = self._files.places(attachments)
            content = self._contents.key("", "", self._form, "", prompt, places)
        return Call(
            key=self._keys(submit.run_id).key(job.key, item, self._form, dimension, prompt, attachments),
            form=self._form,
            prompt=prompt,
            tokens=text_tokens(prompt) + self._tokens + self._files.tokens(attachments),
            output_tokens=self._max_tokens,
            task=job.key,
            tenant=submit.tenant,
            priority=submit.priority,
            expires_in_s=expires_in_s,
            run_id=submit.run_id,
            content=content,
            endpoints=self._endpoints,
            attachments=attachments,
        )


class CallSender:
    """Sends the calls of tasks to the dispatcher, and adds what they cost to the totals of their task."""

    def __init__(self, dispatcher: Courier[ToDispatcher, FromDispatcher], clock: Callable[[], float]) -> None:
        self._dispatcher = dispatcher
        self._clock = clock

    def time_left(self, job: TaskJob) -> float:
        """Return the seconds until the deadline of a task."""
        return max(0.0, job.deadline - self._clock())

    def patience_s(self, job: TaskJob) -> float:
        """Return how long to wait for another actor: the deadline applies even if all of them are away."""
        return self.time_left(job) + _GRACE_S

    async def send(self, job: TaskJob, call: Call) -> asyncio.Future[Completion]:
        """Send a call to the dispatcher, or return the answer that the journal already has."""
        answer = job.known.answers.get(call.key)
        if job.trace is not None:
            job.trace.asked(call.form)
        if answer is None:
            return await self._dispatcher.send(call, within_s=self.patience_s(job))
        known: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        counts = CallCounts(planned=1, reused=1)
        known.set_result(Completion(call.key, answer.values, None, answer.usage, counts))
        return known

    async def completion(self, job: TaskJob, call: Call, future: Awaitable[Completion]) -> Completion:
        """Wait for the completion of a call. Send it again while the dispatcher has no room for it."""
        while True:
            try:
                completion = await future
            except OverloadedError as error:
                if self.time_left(job) > error.retry_after_s:
                    await asyncio.sleep(error.retry_after_s)
                    call = replace(call, expires_in_s=self.time_left(job))
                    future = await self._dispatcher.send(call, within_s=self.patience_s(job))
                    continue
                completion = Completion(call.key, None, error.failure(), Usage(), CallCounts(planned=1))
            except PeerLostError as error:  # the dispatcher was away until after the deadline of the task
                counts = CallCounts(planned=1, in_doubt=int(error.may_have_run))
                completion = Completion(call.key, None, late(error), Usage(), counts)
            except HeadraceError as error:
                completion = Completion(call.key, None, error.failure(), Usage(), CallCounts(planned=1))
            if completion.error is not None and completion.error.kind is FailureKind.UNSTORED:
                raise StoreUnavailableError(completion.error.message)  # leaves the task unfinished
            if job.trace is not None:
                job.trace.answered(call.form, failed=completion.error is not None)
            job.add(completion)
            return completion


def late(error: PeerLostError) -> Failure:
    """Return the failure of a task for which an actor was away until its deadline."""
    return Failure(FailureKind.DEADLINE, Blame.CLUSTER, f"no time was left for the task: {error}")

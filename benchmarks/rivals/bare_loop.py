"""A program that a user could write in an afternoon: one asyncio loop with aiohttp and a semaphore.

It has two forms: the calls alone, and the whole job (fetches, calls, dimensions).

    python -m benchmarks.rivals.bare_loop JOB --form calls|whole
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Self

import aiohttp
import orjson
import uvloop

from benchmarks.w1.contender import Run, take_part
from benchmarks.w1.job import (
    FIELDS,
    SOURCES,
    W1Job,
    answer_in,
    estimate,
    evaluation_prompt,
    finding_prompt,
    items_in,
    request,
)


async def calls_alone(job: W1Job) -> int:
    """Make the calls of `job` alone and return the number of answers."""
    async with Bare(job) as bare:
        waiting: set[asyncio.Task[Any]] = set()
        for prompt in job.prompts():
            await bare.slots.acquire()
            task = asyncio.create_task(bare.ask_in_slot(prompt))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        await asyncio.gather(*waiting)
        return bare.answered


async def whole_job(job: W1Job) -> int:
    """Do all tasks at once and return the number of answered calls."""
    async with Bare(job) as bare:
        await asyncio.gather(*(bare.report(key) for key in job.task_keys()))
        return bare.answered


class Bare:
    """A client session and a semaphore with a slot for each request that the model accepts."""

    def __init__(self, job: W1Job) -> None:
        self._job = job
        self.slots = asyncio.Semaphore(job.cap)
        self.answered = 0

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, prompt: str) -> dict[str, Any]:
        """Wait for a slot and return the model's answer."""
        await self.slots.acquire()
        return await self.ask_in_slot(prompt)

    async def ask_in_slot(self, prompt: str) -> dict[str, Any]:
        """Return the model's answer and release the slot that the caller has acquired."""
        try:
            headers = {"Content-Type": "application/json"}
            body = orjson.dumps(request(prompt))
            async with self._session.post(
                self._job.completions_url(), data=body, headers=headers
            ) as response:
                answer = answer_in(await response.read())
            self.answered += 1
            return answer
        finally:
            self.slots.release()

    async def report(self, key: str) -> dict[str, Any]:
        """Do one task."""
        fetched = await asyncio.gather(*(self._fetch(source, key) for source in SOURCES))
        items = [item for each in fetched for item in each]
        ratings = await asyncio.gather(*(self.ask(evaluation_prompt(key, item)) for item in items))
        findings = await asyncio.gather(
            *(self._dimension(key, name, [rating[name] for rating in ratings], items) for name in FIELDS)
        )
        return {"key": key, "findings": findings}

    async def _dimension(self, key: str, name: str, values: list[float], items: list[Any]) -> dict[str, Any]:
        estimated = estimate(key, values)
        answer = await self.ask(finding_prompt(key, name, values, items))
        return {**estimated, "finding": answer["note"]}

    async def _fetch(self, source: str, key: str) -> list[dict[str, Any]]:
        async with self._session.get(self._job.source_url(source, key)) as response:
            return items_in(await response.read())


@contextlib.contextmanager
def _prepared(_: W1Job, options: argparse.Namespace) -> Iterator[Run]:
    form = {"calls": calls_alone, "whole": whole_job}[options.form]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield lambda job: runner.run(form(job))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--form", choices=("calls", "whole"), default="whole")
    take_part(parser, _prepared)

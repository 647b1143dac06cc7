"""What a user would write in an afternoon: one asyncio loop with aiohttp, no actors and no dispatcher.

Two forms, the yardsticks for W1: the calls alone, and the whole job (fetches, calls, dimensions).
"""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import numpy as np
import orjson

_FIELDS = ("quality", "value", "service", "risk")
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {"type": "number", "minimum": 0, "maximum": 1} for name in _FIELDS},
        "note": {"type": "string"},
    },
    "required": [*_FIELDS, "note"],
    "additionalProperties": False,
}
_RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "rating", "strict": True, "schema": _SCHEMA},
}


@dataclass(frozen=True, slots=True)
class Job:
    """So many tasks, with five sources of four items each, at a model that carries `cap` requests."""

    model_url: str
    sources_url: str
    tasks: int
    cap: int
    salt: int  # makes every run's requests new to a server that remembers


async def calls_alone(job: Job) -> int:
    """Make the calls of `job` and nothing else; return how many were answered."""
    async with _Bare(job) as bare:
        prompts = (f"Rate {job.salt} {n}: a text of some length about it" for n in range(job.tasks * 24))
        waiting: set[asyncio.Task[Any]] = set()
        for prompt in prompts:
            await bare.slots.acquire()
            task = asyncio.create_task(bare.ask_in_slot(prompt, _RESPONSE_FORMAT))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        await asyncio.gather(*waiting)
        return bare.answered


async def whole_job(job: Job) -> int:
    """Do all that a task needs, for every task at once; return how many calls were answered."""
    async with _Bare(job) as bare:
        await asyncio.gather(*(bare.report(f"task-{job.salt}-{n}") for n in range(job.tasks)))
        return bare.answered


class _Bare:
    def __init__(self, job: Job) -> None:
        self._job = job
        self.slots = asyncio.Semaphore(job.cap)
        self.answered = 0

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, prompt: str, response_format: dict[str, Any]) -> Any:
        await self.slots.acquire()
        return await self.ask_in_slot(prompt, response_format)

    async def ask_in_slot(self, prompt: str, response_format: dict[str, Any]) -> Any:
        try:
            body = orjson.dumps(
                {
                    "model": "sim",
                    "messages": [{"role": "user", "content": prompt}],
                    "max_tokens": 120,
                    "response_format": response_format,
                }
            )
            headers = {"Content-Type": "application/json"}
            async with self._session.post(
                f"{self._job.model_url}/chat/completions", data=body, headers=headers
            ) as response:
                answer = orjson.loads(await response.read())
            self.answered += 1
            return orjson.loads(answer["choices"][0]["message"]["content"])
        finally:
            self.slots.release()

    async def report(self, key: str) -> dict[str, Any]:
        fetched = await asyncio.gather(*(self._fetch(f"source{n}", key) for n in range(5)))
        items = [item for each in fetched for item in each]
        ratings = await asyncio.gather(
            *(
                self.ask(f"Rate what this says about {key}:\n{item['text']}", _RESPONSE_FORMAT)
                for item in items
            )
        )
        scores = np.array([[rating[name] for name in _FIELDS] for rating in ratings])
        findings = await asyncio.gather(
            *(self._dimension(key, name, scores[:, column], items) for column, name in enumerate(_FIELDS))
        )
        return {"key": key, "findings": findings}

    async def _dimension(self, key: str, name: str, values: Any, items: list[Any]) -> dict[str, Any]:
        """Estimate, with a bootstrap interval as Headrace makes one; then have the finding written."""
        rng = np.random.default_rng(random.Random(key).getrandbits(32))
        resampled = rng.choice(values, (200, len(values))).mean(axis=1)
        low, high = np.quantile(resampled, (0.05, 0.95))
        lines = "\n".join(f"[{item['id']}] {value:.3f}" for item, value in zip(items, values, strict=True))
        answer = await self.ask(f"Write one finding about the {name} of {key}:\n{lines}", _RESPONSE_FORMAT)
        return {
            "score": float(values.mean()),
            "low": float(low),
            "high": float(high),
            "finding": answer["note"],
        }

    async def _fetch(self, source: str, key: str) -> list[Any]:
        url = f"{self._job.sources_url}/{source}/{key}?items=4&latency_s=0.05"
        async with self._session.get(url) as response:
            document = orjson.loads(await response.read())
        results: list[Any] = document["results"]
        return results


def ideal_calls_per_s(cap: int, latency_s: float, sigma: float) -> float:
    """Return what `cap` requests in flight can carry: the mean of a lognormal is above its median."""
    return cap / (latency_s * math.exp(sigma**2 / 2))

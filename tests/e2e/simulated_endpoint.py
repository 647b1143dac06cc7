"""A simulated endpoint as a process of its own, and a client that speaks to it over HTTP.

The fixture `start_llm` starts them.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson

from simulators.ledger import read_ledger
from simulators.process import SimulatorProcess


def asked_again(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Return how many questions were asked once more between two statistics of an endpoint that honours keys.

    What was streamed the first time and is not now, or now and not then, is another body under the same key.
    The endpoint turns that down for nothing, and it is asked at once as it was: one question, not two.
    """
    requests, billed, refused = (after[name] - before[name] for name in ("requests", "billed", "refused"))
    again: int = requests - billed - refused
    assert refused <= again, f"{refused} were turned down, and {again} asked again"
    return again


class SimulatedEndpoint:
    """One running simulator and a client of it."""

    def __init__(self, process: SimulatorProcess, session: aiohttp.ClientSession, ledger: Any) -> None:
        self.process = process
        self.session = session
        self.base = process.url.removesuffix("/v1")
        self.ledger_path = ledger

    def post(self, prompt: str = "hello", key: str | None = None, **more: Any):
        document = {"model": "m", "messages": [{"role": "user", "content": prompt}], **more}
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        return self.session.post(
            f"{self.base}/v1/chat/completions", data=orjson.dumps(document), headers=headers
        )

    async def ask(self, prompt: str = "hello", key: str | None = None, **more: Any):
        async with self.post(prompt, key, **more) as answer:
            return answer.status, await answer.read(), answer.headers

    async def stats(self) -> dict[str, Any]:
        async with self.session.get(f"{self.base}/stats") as answer:
            return await answer.json()

    async def until(self, condition, within_s: float = 10.0) -> dict[str, Any]:
        """Return the statistics as soon as they meet `condition`."""
        async with asyncio.timeout(within_s):
            while not condition(stats := await self.stats()):
                await asyncio.sleep(0.01)
        return stats

    async def control(self, **changes: Any) -> int:
        async with self.session.post(f"{self.base}/control", json=changes) as answer:
            return answer.status

    async def ledger(self):
        async with self.session.post(f"{self.base}/flush") as answer:
            assert answer.status == 200
        return read_ledger(self.ledger_path)

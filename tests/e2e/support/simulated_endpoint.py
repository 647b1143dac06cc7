"""A simulated endpoint in a process of its own or in this one, and an HTTP client for it.

The fixtures `start_llm` and `start_llm_here` start them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from simulators import llm
from simulators.ledger import LedgerWriter, read_ledger
from simulators.llm_server import LlmServer
from simulators.process import SimulatorProcess
from simulators.serving import SimulatorServer

WITHIN_S = 60.0


def plain_tokens(input_tokens: int, output_tokens: int) -> dict[str, int]:
    """Return the tokens of a receipt for usage without caches and reasoning."""
    return {"input": input_tokens, "output": output_tokens, "cached": 0, "cache_write": 0, "reasoning": 0}


def asked_again(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Return how many calls were repeated between two statistics of an endpoint that honours keys.

    What was streamed the first time and is not now, or now and not then, is another body under the same key.
    The endpoint turns that down for nothing, and it is asked at once as it was: one question, not two.
    """
    requests, billed, refused = (after[name] - before[name] for name in ("requests", "billed", "refused"))
    again: int = requests - billed - refused
    assert refused <= again, f"{refused} were turned down, and {again} asked again"
    return again


class SimulatedEndpoint:
    """One running simulator and its client. `process` is None if this process serves it."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, ledger: Path, process: SimulatorProcess | None = None
    ) -> None:
        self.process = process
        self.session = session
        self.base = url.removesuffix("/v1")
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

    async def until(self, condition, within_s: float = WITHIN_S) -> dict[str, Any]:
        """Return the statistics as soon as they meet `condition`."""
        async with asyncio.timeout(within_s):
            while not condition(stats := await self.stats()):
                await asyncio.sleep(0.01)
        return stats

    async def control(self, **changes: Any) -> int:
        async with self.session.post(f"{self.base}/control", json=changes) as answer:
            return answer.status

    async def hold(self) -> None:
        """Have new requests wait for `release`, so that a test can look at what is in flight."""
        assert await self.control(hold=1) == 200

    async def release(self) -> None:
        """Start the waiting requests, and let new ones start at once."""
        assert await self.control(hold=0) == 200

    async def ledger(self):
        async with self.session.post(f"{self.base}/flush") as answer:
            assert answer.status == 200
        return read_ledger(self.ledger_path)

    async def check_books(self) -> None:
        """Wait until nothing is in flight, and check that the statistics equal the sums of the ledger."""
        stats = await self.until(lambda stats: stats["in_flight"] == 0)
        sums = (await self.ledger()).sums().as_dict()
        assert sums == {name: stats[name] for name in sums}


def client_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=200), timeout=aiohttp.ClientTimeout(total=WITHIN_S)
    )


def options_of_endpoint(
    directory: Path, number: int, arguments: Sequence[str], faults: list[dict[str, Any]] | None
) -> tuple[Path, list[str]]:
    """Return the path of the ledger and the command line."""
    ledger = directory / f"ledger{number}.jsonl"
    options = ["--latency-s", "0.02", "--sigma", "0", "--ledger", str(ledger), *arguments]
    if faults is not None:
        plan = directory / "faults.json"
        plan.write_bytes(orjson.dumps(faults))
        options += ["--faults", str(plan)]
    return ledger, options


@asynccontextmanager
async def served_here(options: Sequence[str]) -> AsyncIterator[str]:
    """Serve an endpoint in this process and yield its URL."""
    settings = llm.settings_of(llm.command_line().parse_args(options))
    with LedgerWriter(Path(options[options.index("--ledger") + 1])) as ledger:
        server = SimulatorServer(LlmServer(settings, ledger).handle)
        listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        listening.close()
        await server.shutdown(0.1)

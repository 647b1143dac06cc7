"""The calls of W1 by flexllm: its client and its concurrency limit, without cache and resume file.

python -m benchmarks.rivals.flexllm_calls JOB
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Iterator

from benchmarks.w1.contender import Run, take_part
from benchmarks.w1.job import W1Job, request

NEEDS = ("flexllm",)

_NO_BOUND = 1_000_000  # on the rate: the slots of the model are the limit


@contextlib.contextmanager
def _prepared(job: W1Job, _: argparse.Namespace) -> Iterator[Run]:
    from flexllm import LLMClient  # noqa: PLC0415 - it loads slowly, and --help need not wait for it

    client = LLMClient(
        base_url=job.model_url,
        api_key="none",
        model="sim",
        concurrency_limit=job.cap,
        max_qps=_NO_BOUND,
        timeout=60,
    )

    async def run(job: W1Job) -> int:
        documents = [request(prompt) for prompt in job.prompts()]
        answers = await client.chat_batch(
            [document["messages"] for document in documents],
            show_progress=False,
            max_tokens=documents[0]["max_tokens"],
            response_format=documents[0]["response_format"],
        )
        return len(answers.ok)

    with asyncio.Runner() as runner:  # its sessions belong to one event loop
        yield lambda job: runner.run(run(job))


if __name__ == "__main__":
    take_part(argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0]), _prepared)

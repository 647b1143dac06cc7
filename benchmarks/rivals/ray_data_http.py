"""The calls of W1 by Ray Data's HTTP processor (`ray.data.llm`) with two actors.

The processor sends the requests of a batch one by one. A batch of one row gives it the most concurrency, and
a few rows are enough to measure its rate.

    python -m benchmarks.rivals.ray_data_http JOB [--rows 30]
"""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from benchmarks.w1.contender import Run, take_part
from benchmarks.w1.job import W1Job, request

NEEDS = ("ray.data.llm", "pandas")

_ACTORS = 2
_WARM_UP_ROWS = 2


@contextlib.contextmanager
def _prepared(job: W1Job, options: argparse.Namespace) -> Iterator[Run]:
    import ray  # noqa: PLC0415 - it loads slowly, and --help need not wait for it
    from ray.data.llm import HttpRequestProcessorConfig, build_processor  # noqa: PLC0415 - same

    ray.init(include_dashboard=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    config = HttpRequestProcessorConfig(
        url=job.completions_url(), concurrency=_ACTORS, batch_size=options.batch_size, max_retries=3
    )
    processor = build_processor(
        config,
        preprocess=lambda row: {"payload": request(row["prompt"])},
        postprocess=lambda row: {"answer": row["http_response"]["choices"][0]["message"]["content"]},
    )

    def run(job: W1Job) -> int:
        most = options.rows if job.tasks > 1 else _WARM_UP_ROWS
        rows: list[dict[str, Any]] = [{"prompt": prompt} for prompt in job.prompts()[:most]]
        return len(processor(ray.data.from_items(rows)).take_all())

    try:
        yield run
    finally:
        ray.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=16)
    take_part(parser, _prepared)

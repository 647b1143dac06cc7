"""The Celery worker of `benchmarks.rivals.celery_gevent`: a task in three stages of many greenlets.

``celery -A benchmarks.rivals.celery_app worker`` loads this after it has patched the standard library.
"""

from __future__ import annotations

import os
from typing import Any

import gevent
import orjson
import urllib3
from celery import Celery
from gevent.lock import BoundedSemaphore

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

_URL = f"redis+socket://{os.environ['BENCH_REDIS']}"
_JOB = W1Job.of(os.environ["BENCH_JOB"])
_SLOTS = int(os.environ["BENCH_SLOTS"])
_HEADERS = {"Content-Type": "application/json"}
_TRIES = 3

app = Celery("bench", broker=_URL, backend=_URL)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_reject_on_worker_lost=True,
    broker_pool_limit=50,
    redis_max_connections=1200,
    # With the default of 10, an acknowledgement may find no free connection, and its task hangs.
    broker_transport_options={"max_connections": 1200},
    broker_connection_retry_on_startup=True,
    task_serializer="json",
    result_serializer="json",
    result_expires=3600,
    worker_hijack_root_logger=False,
)
_http = urllib3.PoolManager(
    num_pools=4, maxsize=_SLOTS + 64, block=False, retries=False, timeout=urllib3.Timeout(60.0)
)
_slots = BoundedSemaphore(_SLOTS)


@app.task(name="report", bind=True, max_retries=3)  # type: ignore[untyped-decorator] # Celery's
def report(self: Any, key: str) -> dict[str, Any]:
    """Collect, evaluate and generate. The parts of a stage run concurrently."""
    try:
        fetched = _all(lambda source: _fetch(source, key), SOURCES)
        items = [item for each in fetched for item in each]
        ratings = _all(lambda item: _ask(evaluation_prompt(key, item)), items)
        findings = _all(
            lambda name: _dimension(key, name, [rating[name] for rating in ratings], items), FIELDS
        )
    except urllib3.exceptions.HTTPError as error:
        raise self.retry(exc=error, countdown=1.0) from error
    return {"key": key, "findings": findings, "evaluations": len(ratings)}


def _all(function: Any, arguments: Any) -> list[Any]:
    greenlets = [gevent.spawn(function, one) for one in arguments]
    gevent.joinall(greenlets, raise_error=True)
    return [greenlet.value for greenlet in greenlets]


def _fetch(source: str, key: str) -> list[dict[str, Any]]:
    return items_in(_http.request("GET", _JOB.source_url(source, key)).data)


def _dimension(key: str, name: str, values: list[float], items: list[Any]) -> dict[str, Any]:
    estimated = estimate(key, values)
    return {**estimated, "finding": _ask(finding_prompt(key, name, values, items))["note"]}


def _ask(prompt: str) -> dict[str, Any]:
    body = orjson.dumps(request(prompt))
    for attempt in range(_TRIES):
        with _slots:
            response = _http.request("POST", _JOB.completions_url(), body=body, headers=_HEADERS)
        if response.status < 400:
            return answer_in(response.data)
        gevent.sleep(0.5 * 2**attempt)
    raise urllib3.exceptions.HTTPError(f"the model answered {response.status} {_TRIES} times")

"""No work is lost when a process of the HTTP API is killed."""

from __future__ import annotations

import asyncio
import signal

import psutil

from tests.e2e.http.conftest import PROXY, WITHIN_S


async def test_a_replica_that_is_killed_loses_nothing(service, ann, endpoint, name):
    await endpoint.hold()  # so that none has ended by then
    accepted = [await ann.accepted({"key": f"{name}-{n}", "priority": "batch"}) for n in range(10)]
    seen = []
    async for event in ann.events(accepted[0]["links"]["events"]):
        seen.append(event)
        break
    (replica,) = service.processes("ServeReplica")
    replica.send_signal(signal.SIGKILL)

    async def handed_in(n):
        answer = await ann.insist("POST", "/v1/tasks", {"params": {"n": n}}, Idempotency_Key=f"{name}-{n}")
        assert answer.status == 202, answer.body
        return answer.json

    late = await asyncio.gather(*(handed_in(n) for n in range(5)))
    again = await asyncio.gather(*(handed_in(n) for n in range(5)))
    assert [each["id"] for each in late] == [each["id"] for each in again]
    assert not any(each["is_new"] for each in again)
    await endpoint.release()
    tasks = await ann.ended(*(each["id"] for each in (*accepted, *late)))
    assert {task["state"] for task in tasks} == {"succeeded"}
    assert {task["calls"]["billed"] for task in tasks} == {7}  # nothing was done twice
    seen += [event async for event in ann.events(accepted[0]["links"]["events"], after=seen[-1][0])]
    assert [number for number, _, _ in seen] == list(range(1, len(seen) + 1))


async def test_the_proxy_that_is_killed_is_replaced(service, ann):
    (proxy,) = service.processes(PROXY)
    proxy.send_signal(signal.SIGKILL)
    psutil.wait_procs([proxy], WITHIN_S)
    assert (await ann.insist("GET", "/healthz")).status == 200


async def test_a_pipeline_that_is_killed_goes_on_with_what_was_accepted(service, ann, endpoint, name):
    await endpoint.hold()
    accepted = [await ann.accepted({"key": f"{name}-{n}", "priority": "batch"}) for n in range(20)]
    await endpoint.until(lambda stats: stats["in_flight"] > 0)
    (pipeline,) = service.processes("ray::Pipeline")
    pipeline.send_signal(signal.SIGKILL)
    more = await ann.accepted({"key": f"{name}-more"})
    await endpoint.release()
    tasks = await ann.ended(*(each["id"] for each in (*accepted, more)))
    assert {task["state"] for task in tasks} == {"succeeded"}


async def test_a_caller_that_leaves_takes_nothing_with_it(ann, name):
    asked = asyncio.create_task(ann("POST", "/v1/tasks", {"key": name}))
    told = await ann.accepted({"key": f"{name}-other"})
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await ann.ended(told["id"])
    (task,) = await ann.ended((await ann.accepted({"key": name}))["id"])
    assert task["state"] == "succeeded"

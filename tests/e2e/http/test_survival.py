"""Nothing that happens to a door loses work."""

from __future__ import annotations

import asyncio
import signal

import aiohttp

from tests.e2e.http.conftest import WITHIN_S


async def test_a_replica_that_is_killed_loses_nothing(service, ann, name):
    accepted = [await ann.accepted({"key": f"{name}-{n}", "priority": "batch"}) for n in range(20)]
    seen = []
    async for event in ann.events(accepted[0]["links"]["events"]):
        seen.append(event)
        break
    (replica,) = service.processes("ServeReplica")
    replica.send_signal(signal.SIGKILL)

    async def until_accepted(n):
        """Do as a client does: the same request again, under the same key, until it is answered."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    answer = await ann(
                        "POST", "/v1/tasks", {"params": {"n": n}}, Idempotency_Key=f"{name}-{n}"
                    )
                except aiohttp.ClientError:
                    answer = None
                if answer is not None and answer.status == 202:
                    return answer.json
                await asyncio.sleep(0.2)

    late = await asyncio.gather(*(until_accepted(n) for n in range(5)))
    again = await asyncio.gather(*(until_accepted(n) for n in range(5)))
    assert [each["id"] for each in late] == [each["id"] for each in again]
    assert not any(each["is_new"] for each in again)
    tasks = await ann.ended(*(each["id"] for each in (*accepted, *late)))
    assert {task["state"] for task in tasks} == {"succeeded"}
    assert {task["calls"]["billed"] for task in tasks} == {7}  # nothing was done twice
    seen += [event async for event in ann.events(accepted[0]["links"]["events"], after=seen[-1][0])]
    assert [number for number, _, _ in seen] == list(range(1, len(seen) + 1))


async def test_a_pipeline_that_is_killed_goes_on_with_what_was_accepted(service, ann, name):
    accepted = [await ann.accepted({"key": f"{name}-{n}", "priority": "batch"}) for n in range(20)]
    (pipeline,) = service.processes("ray::Pipeline")
    pipeline.send_signal(signal.SIGKILL)
    more = await ann.accepted({"key": f"{name}-more"})
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

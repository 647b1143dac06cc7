"""A service that is full says so, and when to come back."""

from __future__ import annotations

import asyncio

from tests.e2e.http.conftest import ROOM, WAITING


async def test_who_asks_for_too_much_is_told_when_to_come_back_and_nobody_is_locked_out(
    ann, bob, endpoint, name
):
    # All that a task needs has begun by then, which takes a while where this is a service's first test.
    await ann.ended((await ann.accepted({"key": f"{name}-first"}))["id"])
    await endpoint.hold()  # so that no task ends while it is looked at who waits
    answers = await asyncio.gather(
        *(ann("POST", "/v1/tasks", {"key": f"{name}-{n}", "priority": "batch"}) for n in range(2 * ROOM))
    )
    accepted = [answer.json["id"] for answer in answers if answer.status == 202]
    refused = [answer for answer in answers if answer.status != 202]
    assert WAITING <= len(accepted) <= ROOM
    for answer in refused:
        problem = answer.problem(503)
        assert problem["type"].endswith("backlog-full")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    # While another caller is there, the first one is asked to keep to its share.
    for _ in range(2):
        assert (await ann("DELETE", f"/v1/tasks/{accepted.pop()}")).json["state"] == "cancelled"
    mine = await bob.accepted({"key": f"{name}-bob", "priority": "batch"})
    answer = await ann("POST", "/v1/tasks", {"key": f"{name}-more"})
    assert answer.problem(429)["type"].endswith("share-exceeded")
    assert int(answer.headers["Retry-After"]) >= 1
    known = (await ann("GET", "/v1/pipeline")).json
    assert known["limits"] == {"active_tasks": 8, "accepted_tasks": WAITING, "task_deadline_s": 600}
    assert known["tasks"]["unfinished"] < ROOM
    await endpoint.release()
    tasks = [*await ann.ended(*accepted), *await bob.ended(mine["id"])]
    assert {task["state"] for task in tasks} == {"succeeded"}


async def test_a_request_that_was_accepted_is_known_also_while_there_is_no_room(ann, endpoint, name):
    first = await ann.accepted({"params": {"n": 1}}, Idempotency_Key=name)
    await ann.ended(first["id"])
    await endpoint.hold()
    flood = [ann("POST", "/v1/tasks", {"key": f"{name}-{n}"}) for n in range(ROOM + 4)]
    answers = await asyncio.gather(*flood)
    assert 503 in {answer.status for answer in answers}
    again = await ann("POST", "/v1/tasks", {"params": {"n": 1}}, Idempotency_Key=name)
    assert (again.status, again.json["is_new"]) == (202, False)
    accepted = [answer.json["id"] for answer in answers if answer.status == 202]
    await asyncio.gather(*(ann("DELETE", f"/v1/tasks/{each}") for each in accepted))

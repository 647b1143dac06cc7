"""A door that is full says so, and when to come back."""

from __future__ import annotations

import asyncio


async def test_who_asks_for_too_much_is_told_when_to_come_back_and_nobody_is_locked_out(ann, bob, name):
    answers = await asyncio.gather(
        *(ann("POST", "/v1/tasks", {"key": f"{name}-{n}", "priority": "batch"}) for n in range(120))
    )
    accepted = [answer.json["id"] for answer in answers if answer.status == 202]
    refused = [answer for answer in answers if answer.status != 202]
    assert 40 <= len(accepted) < 120
    for answer in refused:
        problem = answer.problem(503)
        assert problem["type"].endswith("backlog-full")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    # While another caller is there, the first one is asked to keep to its share.
    mine = await bob.accepted({"key": f"{name}-bob", "priority": "batch"})
    answer = await ann("POST", "/v1/tasks", {"key": f"{name}-more"})
    assert answer.problem(429)["type"].endswith("share-exceeded")
    assert int(answer.headers["Retry-After"]) >= 1
    known = (await ann("GET", "/v1/pipeline")).json
    assert known["tasks"]["active"] <= known["limits"]["active_tasks"] == 8
    assert known["tasks"]["accepted"] <= known["limits"]["accepted_tasks"] == 40
    tasks = await ann.ended(*accepted, mine["id"])
    assert {task["state"] for task in tasks} == {"succeeded"}


async def test_a_request_that_was_accepted_is_known_also_while_there_is_no_room(ann, name):
    first = await ann.accepted({"params": {"n": 1}}, Idempotency_Key=name)
    await ann.ended(first["id"])
    flood = [ann("POST", "/v1/tasks", {"key": f"{name}-{n}"}) for n in range(80)]
    *answers, again = await asyncio.gather(
        *flood, ann("POST", "/v1/tasks", {"params": {"n": 1}}, Idempotency_Key=name)
    )
    assert 503 in {answer.status for answer in answers}
    assert (again.status, again.json["is_new"]) == (202, False)
    accepted = [answer.json["id"] for answer in answers if answer.status == 202]
    await asyncio.gather(*(ann("DELETE", f"/v1/tasks/{each}") for each in accepted))

"""Single tasks over HTTP."""

from __future__ import annotations

import asyncio
import time

import pytest

from cluster.http.routes.identifiers import id_of

CALLS_A_TASK = 7  # 2 sources x 3 items, and a finding


async def test_a_task_is_accepted_followed_and_reported(ann, name):
    answer = await ann("POST", "/v1/tasks", {"key": name, "params": {"n": 1}, "priority": "batch"})
    assert answer.status == 202
    told = answer.json
    assert (told["id"], told["key"], told["state"], told["is_new"]) == (name, name, "accepted", True)
    assert answer.headers["Location"] == told["links"]["self"] == f"/v1/tasks/{name}"
    events = [event async for event in ann.events(told["links"]["events"])]
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    assert [kind for _, kind, _ in events] == [
        "accepted",
        "started",
        "collected",
        "evaluated",
        "dimension",
        "ended",
    ]
    task = (await ann("GET", told["links"]["self"])).json
    assert (task["state"], task["params"], task["priority"]) == ("succeeded", {"n": 1}, "batch")
    assert task["calls"]["billed"] == CALLS_A_TASK
    assert task["elapsed_s"] > 0
    report = (await ann("GET", told["links"]["result"])).json
    assert (report["key"], report["state"]) == (name, "succeeded")
    assert [dimension["name"] for dimension in report["dimensions"]] == ["quality"]


async def test_a_key_of_any_characters_has_an_address(ann, name):
    key = f"../{name}/ü?#%2e"
    told = await ann.accepted({"key": key})
    assert told["id"] == id_of(key)
    (task,) = await ann.ended(told["id"])
    assert (task["key"], task["state"]) == (key, "succeeded")


async def test_a_request_that_is_repeated_under_its_idempotency_key_is_done_once(ann, bob, name):
    document, header = {"params": {"n": 1}}, {"Idempotency_Key": name}
    answers = await asyncio.gather(*(ann.accepted(document, **header) for _ in range(5)))
    assert len({answer["id"] for answer in answers}) == 1
    assert sum(answer["is_new"] for answer in answers) == 1
    for other in ({"params": {"n": 2}}, {"params": {"n": 1}, "priority": "batch"}, {**document, "key": name}):
        problem = (await ann("POST", "/v1/tasks", other, **header)).problem(422)
        assert "idempotency" in problem["detail"] or "other params" in problem["detail"]
    await ann.ended(answers[0]["id"])
    late = await ann.accepted(document, **header)
    assert (late["id"], late["state"], late["is_new"]) == (answers[0]["id"], "succeeded", False)
    assert (await bob.accepted(document, **header))["id"] != answers[0]["id"]


async def test_what_one_caller_has_another_neither_sees_nor_cancels(ann, bob, name):
    mine, others = await ann.accepted({"key": name}), await bob.accepted({"key": name, "params": {"n": 1}})
    assert mine["is_new"]
    assert others["is_new"]
    secret = await ann.accepted({"key": f"{name}-secret"})
    for tail in ("", "/events", "/result"):
        (await bob("GET", secret["links"]["self"] + tail)).problem(404)
    (await bob("DELETE", secret["links"]["self"])).problem(404)
    (task, _) = await ann.ended(mine["id"], secret["id"])
    (theirs,) = await bob.ended(others["id"])
    assert (task["state"], theirs["state"], theirs["params"]) == ("succeeded", "succeeded", {"n": 1})
    listed = {each["key"] for each in (await bob("GET", "/v1/tasks?limit=1000")).json["tasks"]}
    assert name in listed
    assert f"{name}-secret" not in listed
    assert (await ann("GET", mine["links"]["result"])).json["key"] == name


async def test_a_report_that_is_not_there_yet_is_worth_waiting_for(ann, endpoint, name):
    await endpoint.hold()
    told = await ann.accepted({"key": name})
    answer = await ann("GET", told["links"]["result"])
    assert answer.problem(409)["type"].endswith("not-ended")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_stream_goes_on_where_it_was_cut_without_gap_or_repetition(ann, name):
    told = await ann.accepted({"key": name})
    seen = []
    while not seen or seen[-1][1] != "ended":
        async for event in ann.events(told["links"]["events"], after=seen[-1][0] if seen else None):
            seen.append(event)
            if len(seen) % 2 == 0:
                break  # the connection is cut
    assert [number for number, _, _ in seen] == list(range(1, len(seen) + 1))
    answer = await ann("GET", told["links"]["events"], Last_Event_ID=str(seen[-1][0]))
    assert answer.status == 204


async def test_a_cancelled_task_makes_no_further_request(ann, endpoint, name):
    await endpoint.hold()
    accepted = [await ann.accepted({"key": f"{name}-{n}"}) for n in range(24)]
    await endpoint.until(lambda stats: stats["in_flight"] > 0)
    answers = await asyncio.gather(*(ann("DELETE", each["links"]["self"]) for each in accepted))
    answered_at = time.time()
    assert {(answer.status, answer.json["state"]) for answer in answers} == {(200, "cancelled")}
    await endpoint.release()
    await endpoint.until(lambda stats: stats["in_flight"] == 0)
    began_at = time.time()
    after = [await ann.accepted({"key": f"{name}-after-{n}"}) for n in range(8)]
    await ann.ended(*(each["id"] for each in after))
    # Calls that nobody had cancelled would have been made by now, before those that were asked for later.
    asked = [entry.t_in for entry in (await endpoint.ledger()).entries]
    assert [at for at in asked if answered_at + 1.0 < at < began_at] == []
    assert sum(at >= began_at for at in asked) == CALLS_A_TASK * len(after)
    (await ann("GET", accepted[-1]["links"]["result"])).problem(410)
    again = await ann("DELETE", accepted[-1]["links"]["self"])
    assert (again.status, again.json["state"]) == (200, "cancelled")


@pytest.mark.parametrize(
    "task_id", ["nothing", "~YQ", "~%2e%2e", "%2e%2e", "..%2f..%2fetc%2fpasswd", "a" * 5000]
)
@pytest.mark.parametrize(
    ("method", "tail"), [("GET", ""), ("GET", "/result"), ("GET", "/events"), ("DELETE", "")]
)
async def test_what_is_not_there_is_not_found(ann, task_id, method, tail):
    (await ann(method, f"/v1/tasks/{task_id}{tail}")).problem(404)


async def test_tasks_are_listed_page_by_page_each_once(ann, name):
    for n in range(5):
        await ann.accepted({"key": f"{name}-{n}"})
    await ann.ended(f"{name}-4")
    seen, path = [], "/v1/tasks?limit=2"
    while path:
        answer = await ann("GET", path)
        page = answer.json
        seen += [task["id"] for task in page["tasks"]]
        path = page["next"] and f"/v1/tasks?limit=2&cursor={page['next']}"
        assert (page["next"] is None) == ("Link" not in answer.headers)
    assert len(seen) == len(set(seen))
    assert [each for each in seen if each.startswith(name)] == [f"{name}-{n}" for n in range(5)]
    assert all(
        task["state"] == "succeeded" for task in (await ann("GET", "/v1/tasks?state=succeeded")).json["tasks"]
    )

"""Single tasks: what is answered to those that submit, follow, fetch and cancel them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from actors.core.errors import Blame, Failure, FailureKind, StoreUnavailableError
from actors.core.messages.journal import Finish, ReadTask
from actors.core.messages.tasks import ItemResult, ItemState, TaskState
from actors.core.messages.values import Priority, Usage
from cluster.http.guard import limits
from tests.unit.support.http_service import Service
from tests.unit.support.journal_desk import RUN, report


@pytest.fixture
async def service():
    async with Service().running() as running:
        yield running


def end(service, key, state=TaskState.SUCCEEDED):
    service.desk.tell(Finish(RUN, report(key, state)))


async def test_a_task_is_answered_with_its_address_and_again_with_its_state(service):
    answer = await service("POST", "/v1/tasks", {"key": "k"})
    assert (answer.status, answer.headers["location"], answer.headers["cache-control"]) == (
        202,
        "/v1/tasks/k",
        "no-store",
    )
    told = answer.json
    assert (told["id"], told["key"], told["state"], told["is_new"]) == ("k", "k", "accepted", True)
    end(service, "k")
    again = (await service("POST", "/v1/tasks", {"key": "k"})).json
    assert (again["state"], again["is_new"], again["accepted_at"]) == (
        "succeeded",
        False,
        told["accepted_at"],
    )


async def test_a_task_without_a_key_gets_one_of_its_own_and_an_odd_key_an_address(service):
    keys = {(await service("POST", "/v1/tasks", {})).json["key"] for _ in range(3)}
    assert {(key[:2], len(key)) for key in keys} == {("t-", 26)}
    assert len(keys) == 3
    odd = (await service("POST", "/v1/tasks", {"key": "a/b"})).json
    assert odd["id"].startswith("~")
    assert (await service("GET", odd["links"]["self"])).json["key"] == "a/b"


async def test_an_idempotency_key_that_comes_twice_is_refused(service):
    scope = service.scope("POST", "/v1/tasks", content_type="application/json")
    scope["headers"] += [(b"idempotency-key", b"one"), (b"idempotency-key", b"two")]
    problem = (await service.exchange(scope, [b"{}"])).problem(422)
    assert "idempotency-key came more than once" in problem["detail"]


async def test_a_report_is_there_once_the_task_has_ended_and_never_after_a_cancellation(service):
    for key in ("k", "gone"):
        await service("POST", "/v1/tasks", {"key": key})
    answer = await service("GET", "/v1/tasks/k/result")
    assert (answer.problem(409)["title"], answer.headers["retry-after"]) == ("Conflict", "1")
    end(service, "k")
    end(service, "gone", TaskState.CANCELLED)
    assert (await service("GET", "/v1/tasks/k/result")).json["key"] == "k"
    (await service("GET", "/v1/tasks/gone/result")).problem(410)


async def test_a_report_comes_with_its_items_where_they_are_asked_for(service):
    await service("POST", "/v1/tasks", {"key": "k"})
    answers = {"evaluate": {"label": "good"}}
    items = (
        ItemResult("wire:1", "wire", ItemState.SUCCEEDED, answers, usage=Usage(1, 2, 0.25)),
        ItemResult(
            "wire:2", "wire", ItemState.FAILED, error=Failure(FailureKind.BUDGET, Blame.LIMIT, "spent")
        ),
    )
    service.desk.tell(Finish(RUN, replace(report("k"), items=items)))
    assert "items" not in (await service("GET", "/v1/tasks/k/result")).json
    told = (await service("GET", "/v1/tasks/k/result", query="items=true")).json["items"]
    assert told == [
        {
            "source": "wire",
            "item": "wire:1",
            "state": "succeeded",
            "values": answers,
            "error": None,
            "cost_usd": 0.25,
        },
        {
            "source": "wire",
            "item": "wire:2",
            "state": "failed",
            "values": {},
            "error": "budget: spent",
            "cost_usd": 0.0,
        },
    ]


async def test_a_task_that_has_ended_shows_what_it_took_and_cost(service):
    await service("POST", "/v1/tasks", {"key": "k"})
    running = (await service("GET", "/v1/tasks/k")).json
    assert not {"elapsed_s", "calls", "tokens", "cost_usd"} & running.keys()
    end(service, "k")
    told, usage = (await service("GET", "/v1/tasks/k")).json, report("k").usage
    assert told["tokens"] == usage.kinds()
    assert told["cost_usd"] == usage.cost_usd
    assert told["calls"]["billed"] == report("k").calls.billed


async def test_the_same_idempotency_key_means_the_same_request_in_all_its_parts(service):
    first, later = {"key": "k"}, {"key": "k", "deadline_s": 60}
    assert (await service("POST", "/v1/tasks", first)).json["is_new"]
    assert not (await service("POST", "/v1/tasks", later)).json["is_new"]
    assert (await service("POST", "/v1/tasks", {}, idempotency_key="n")).json["is_new"]
    assert not (await service("POST", "/v1/tasks", {}, idempotency_key="n")).json["is_new"]
    (await service("POST", "/v1/tasks", {"deadline_s": 60}, idempotency_key="n")).problem(422)


async def test_the_events_of_a_task_end_with_it_and_nothing_follows_them(service):
    await service("POST", "/v1/tasks", {"key": "k"})
    end(service, "k")
    for after, status, count in (("", 200, 2), ("1", 200, 1), ("2", 204, 0)):
        asked = {"last_event_id": after} if after else {}
        answer = await service("GET", "/v1/tasks/k/events", **asked)
        assert (answer.status, answer.body.count(b"id: ")) == (status, count)
        assert b"still here" not in answer.body


async def test_a_page_names_the_next_one_unless_it_is_the_last(service):
    for n in range(4):
        await service("POST", "/v1/tasks", {"key": f"k{n}"})
    first = await service("GET", "/v1/tasks", query="limit=2&state=accepted")
    cursor = first.json["next"]
    assert first.headers["link"] == f'</v1/tasks?cursor={cursor}&limit=2&state=accepted>; rel="next"'
    last = await service("GET", "/v1/tasks", query=f"limit=2&state=accepted&cursor={cursor}")
    assert [task["key"] for page in (first, last) for task in page.json["tasks"]] == ["k0", "k1", "k2", "k3"]
    assert (last.json["next"], "link" in last.headers) == (None, False)
    unsorted = await service("GET", "/v1/tasks", query="limit=2")
    assert unsorted.headers["link"] == f'</v1/tasks?cursor={unsorted.json["next"]}&limit=2>; rel="next"'


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 422),
        (f"limit={limits.LARGEST_PAGE + 1}", 422),
        ("limit=x", 422),
        ("state=lost", 422),
        ("cursor=x", 400),
    ],
)
async def test_a_list_that_cannot_be_given_is_refused(service, query, status):
    (await service("GET", "/v1/tasks", query=query)).problem(status)


# ---- cancelling ------------------------------------------------------------------------------------------


async def test_a_task_that_the_pipeline_does_not_know_yet_is_told_to_it_and_cancelled(service):
    """A pipeline that has just restarted would otherwise run the task later."""
    gateway = service.gateway
    told = (await service("POST", "/v1/batches", [{"key": "k", "params": {"n": 1}, "deadline_s": 60}])).json
    accept, cancel, submitted = gateway.accept, gateway.cancel, []

    async def remember(submit):
        submitted.append(submit)
        return await accept(submit)

    async def if_known(key):
        return await cancel(key) if submitted else None

    gateway.accept, gateway.cancel = remember, if_known
    assert (await service("DELETE", "/v1/tasks/k")).json["state"] == "cancelled"
    [again] = submitted
    assert (again.task.key, again.task.params, again.group) == ("k", {"n": 1}, told["id"])
    assert (again.priority, again.until_accepted) == (Priority.BATCH, True)


async def test_a_task_that_has_ended_keeps_its_state_and_the_pipeline_is_not_asked(service):
    await service("POST", "/v1/tasks", {"key": "k"})
    end(service, "k")
    service.gateway.cancel = None
    assert (await service("DELETE", "/v1/tasks/k")).json["state"] == "succeeded"


async def test_a_cancellation_that_takes_time_may_be_asked_for_again(service):
    async def later(key):
        return key

    await service("POST", "/v1/tasks", {"key": "k"})
    service.gateway.cancel = later
    answer = await service("DELETE", "/v1/tasks/k")
    assert "cancel it once more" in answer.problem(503)["detail"]
    assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize("error", [StoreUnavailableError("the disk is full"), TimeoutError()])
async def test_actors_that_cannot_answer_are_a_problem_for_every_request(service, error):
    async def fail(*_):
        raise error

    await service("POST", "/v1/tasks", {"key": "k"})
    service.gateway.cancel = fail
    (await service("DELETE", "/v1/tasks/k")).problem(503)
    service.gateway.ask = service.gateway.accept = fail
    for method, path in (("GET", "/v1/tasks"), ("GET", "/v1/tasks/k"), ("GET", "/v1/batches/b-1/events")):
        (await service(method, path)).problem(503)
    (await service("POST", "/v1/tasks", {"key": "k"})).problem(503)
    assert service.desk.tell(ReadTask(RUN, "k"))[0].state == "accepted"

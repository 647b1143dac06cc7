"""With more than one token each caller has keys, batches, lists and events of its own."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from actors.core.errors import OverloadedError, ShareExceededError
from actors.core.messages.journal import Finish, Note, ReadTask, ReadTasks
from actors.core.messages.tasks import TaskState
from actors.core.task_names import within
from cluster.assembly.topology import TopologyStatistics
from cluster.http.routes.identifiers import id_of
from tests.unit.support.http_service import TOKENS, Service
from tests.unit.support.journal_desk import RUN, report

ONE = {"ann": TOKENS["ann"]}


@pytest.fixture
async def service():
    async with Service(TOKENS, most=20).running() as running:
        yield running


def end(service, key, state=TaskState.SUCCEEDED):
    service.desk.tell(Finish(RUN, report(key, state)))


def data_of(answer):
    """Return the documents of an event stream."""
    lines = answer.body.split(b"\n")
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]


async def test_a_key_is_free_whoever_else_has_it(service):
    for by, size in (("ann", 1), ("bob", 2)):
        answer = await service("POST", "/v1/tasks", {"key": "k", "params": {"size": size}}, by=by)
        assert (answer.status, answer.json["key"], answer.json["is_new"]) == (202, "k", True)
        assert answer.headers["location"] == "/v1/tasks/k"
    for by, size in (("ann", 1), ("bob", 2)):
        assert (await service("GET", "/v1/tasks/k", by=by)).json["params"] == {"size": size}


@pytest.mark.parametrize("identifier", ["k", id_of(within("ann", "k")), id_of("\x1fk")])
@pytest.mark.parametrize(
    ("method", "tail"), [("GET", ""), ("GET", "/result"), ("GET", "/events"), ("DELETE", "")]
)
async def test_a_task_of_another_is_not_there(service, identifier, method, tail):
    await service("POST", "/v1/tasks", {"key": "k"}, by="ann")
    end(service, within("ann", "k"))
    (await service(method, f"/v1/tasks/{identifier}{tail}", by="bob")).problem(404)
    assert (await service("GET", "/v1/tasks/k/result", by="ann")).json["key"] == "k"


async def test_cancelling_reaches_no_task_of_another(service):
    for by in TOKENS:
        await service("POST", "/v1/tasks", {"key": "k"}, by=by)
    assert (await service("DELETE", "/v1/tasks/k", by="bob")).json["state"] == "cancelled"
    assert (await service("GET", "/v1/tasks/k", by="ann")).json["state"] == "accepted"


async def test_a_list_holds_the_callers_tasks_alone_page_by_page(service):
    for n in range(5):
        for by in TOKENS:
            await service("POST", "/v1/tasks", {"key": f"{by}-{n}"}, by=by)
    end(service, within("ann", "ann-1"))
    end(service, within("bob", "bob-2"))
    seen, query = [], "limit=2"
    while query:
        page = (await service("GET", "/v1/tasks", by="ann", query=query)).json
        seen += [(task["id"], task["key"]) for task in page["tasks"]]
        query = page["next"] and f"limit=2&cursor={page['next']}"
    assert seen == [(f"ann-{n}", f"ann-{n}") for n in range(5)]
    ended = await service("GET", "/v1/tasks", by="ann", query="state=succeeded")
    assert [task["key"] for task in ended.json["tasks"]] == ["ann-1"]
    running = await service("GET", "/v1/tasks", by="ann", query="state=accepted")
    assert [task["key"] for task in running.json["tasks"]] == ["ann-0", "ann-2", "ann-3", "ann-4"]


async def test_a_page_of_large_tasks_is_shorter_and_the_list_is_whole_all_the_same(service):
    for n in range(80):
        await service("POST", "/v1/tasks", {"key": f"k{n}", "params": {"n": "x" * 60_000}}, by="ann")
    pages, query = [], "limit=1000"
    while query:
        answer = await service("GET", "/v1/tasks", by="ann", query=query)
        assert len(answer.body) < 5_000_000
        pages.append([task["key"] for task in answer.json["tasks"]])
        query = answer.json["next"] and f"limit=1000&cursor={answer.json['next']}"
    assert len(pages) == 2
    assert [key for page in pages for key in page] == [f"k{n}" for n in range(80)]


async def test_a_cursor_of_another_is_none_of_the_callers_list(service):
    for n in range(3):
        await service("POST", "/v1/tasks", {"key": f"k{n}"}, by="ann")
    cursor = (await service("GET", "/v1/tasks", by="ann", query="limit=1")).json["next"]
    (await service("GET", "/v1/tasks", by="bob", query=f"cursor={cursor}")).problem(400)


async def test_batches_and_their_events_are_each_callers_own(service):
    asked = {"idempotency_key": "stock"}
    mine = (await service("POST", "/v1/batches", [{"key": "a"}, {}], by="ann", **asked)).json
    others = (await service("POST", "/v1/batches", [{"key": "a"}], by="bob", **asked)).json
    assert (mine["accepted"], mine["new"], others["new"]) == (2, 2, 1)
    assert mine["id"] != others["id"]
    for tail in ("", "/events"):
        (await service("GET", mine["links"]["self"] + tail, by="bob")).problem(404)
    seen = await service("GET", mine["links"]["self"], by="ann")
    assert (seen.json["id"], seen.json["tasks"]["accepted"]) == (mine["id"], 2)
    for name in ("a", f"{mine['id']}-2"):
        end(service, within("ann", name))
    told = data_of(await service("GET", mine["links"]["events"], by="ann"))
    assert {each["task"] for each in told} == {"a", f"{mine['id']}-2"}
    task = (await service("GET", "/v1/tasks/a", by="ann")).json
    assert (task["batch"], task["links"]["self"]) == (mine["id"], "/v1/tasks/a")


async def test_events_of_a_task_name_it_as_its_caller_does(service):
    await service("POST", "/v1/tasks", {"key": "k"}, by="ann")
    service.desk.tell(Note(RUN, within("ann", "k"), "started"))
    end(service, within("ann", "k"))
    told = data_of(await service("GET", "/v1/tasks/k/events", by="ann"))
    assert [(each["task"], each["kind"]) for each in told] == [
        ("k", "accepted"),
        ("k", "started"),
        ("k", "ended"),
    ]


async def test_a_request_repeated_under_its_name_is_the_same_task_of_its_caller_alone(service):
    answers = {by: await service("POST", "/v1/tasks", {}, by=by, idempotency_key="n") for by in TOKENS}
    again = await service("POST", "/v1/tasks", {}, by="ann", idempotency_key="n")
    assert (again.json["id"], again.json["is_new"]) == (answers["ann"].json["id"], False)
    assert answers["ann"].json["id"] != answers["bob"].json["id"]
    (await service("POST", "/v1/tasks", {"params": {"n": 1}}, by="ann", idempotency_key="n")).problem(422)


async def test_a_conflict_names_the_key_as_its_caller_does(service):
    await service("POST", "/v1/tasks", {"key": "k"}, by="ann")
    problem = (await service("POST", "/v1/tasks", {"key": "k", "params": {"n": 1}}, by="ann")).problem(422)
    assert "task k " in problem["detail"]
    assert "ann" not in problem["detail"]


async def test_what_the_actors_say_of_others_is_not_told(service):
    one = SimpleNamespace(
        binding="the limit of main",
        stopped_by=None,
        queued=7, waiting=7, completed=7, failed=7, calls=report("x").calls, usage=report("x").usage,
        endpoints=(), recent_failures=("task of bob failed",),
    )  # fmt: skip
    pipelines = SimpleNamespace(
        active=9, accepted=9, ended=9, drain_per_s=9.0, states={}, tenants={"ann": 2, "bob": 7}
    )
    source = SimpleNamespace(
        name="s", breaker=TaskState.FAILED, in_flight=7, fetched=7, failed=7, last_error="task of bob"
    )
    service.gateway.known = TopologyStatistics(None, one, (pipelines, pipelines), (source,))
    answer = await service("GET", "/v1/pipeline", by="ann")
    assert answer.json["tasks"] == {"unfinished": 4}
    assert b"bob" not in answer.body
    assert b"7" not in answer.body
    assert set(answer.json["limits"]) == {"active_tasks", "accepted_tasks", "task_deadline_s"}


# ---- one token, and stores from before -------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [{}, ONE, {"": "lone-token-1"}])
async def test_with_one_token_or_none_names_mean_the_same_inside_and_outside(tokens):
    by = next(iter(tokens), None)
    async with Service(tokens).running() as service:
        await service("POST", "/v1/tasks", {"key": "k"}, by=by)
        await service("POST", "/v1/batches", [{"key": "b"}], by=by, idempotency_key="n")
        assert service.desk.look(ReadTask(RUN, "k"))[0][0].tenant == (by or "")
        assert not [key for key in service.desk.store.rows if b"\x1f" in key]
        listed = (await service("GET", "/v1/tasks", by=by)).json["tasks"]
        assert [task["key"] for task in listed] == ["k", "b"]


async def test_a_store_from_before_a_second_token_is_its_callers(service):
    async with Service(ONE).running() as before:
        before.gateway.desk = service.desk
        await before("POST", "/v1/tasks", {"key": "k"}, by="ann", idempotency_key="n")
        batch = (await before("POST", "/v1/batches", [{"key": "b"}], by="ann")).json["links"]["self"]
    again = await service("POST", "/v1/tasks", {"key": "k"}, by="ann", idempotency_key="n")
    assert (again.json["key"], again.json["is_new"]) == ("k", False)
    assert (await service("GET", batch, by="ann")).json["tasks"]["accepted"] == 1
    for path in ("/v1/tasks/k", "/v1/tasks/b", batch, batch + "/events"):
        (await service("GET", path, by="bob")).problem(404)
    (await service("DELETE", "/v1/tasks/k", by="bob")).problem(404)
    assert (await service("POST", "/v1/tasks", {"key": "k"}, by="bob")).json["is_new"]
    assert (await service("DELETE", "/v1/tasks/k", by="ann")).json["state"] == "cancelled"
    assert (await service("GET", "/v1/tasks/k", by="bob")).json["state"] == "accepted"


# ---- a full backlog --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("full", "status"), [(OverloadedError("backlog", 2.0), 503), (ShareExceededError("share", 2.0), 429)]
)
@pytest.mark.parametrize("tokens", [ONE, TOKENS])
async def test_a_full_backlog_takes_no_new_task_under_any_name_and_knows_those_it_has(tokens, full, status):
    async with Service(tokens).running() as service:
        first = await service("POST", "/v1/tasks", {"key": "k"}, by="ann", idempotency_key="n")
        service.gateway.full = full
        for named in ({}, {"idempotency_key": "new"}):
            for document in ({}, {"key": "k2"}):
                (await service("POST", "/v1/tasks", document, by="ann", **named)).problem(status)
        assert len(service.desk.look(ReadTasks(RUN))[0]) == 1
        again = await service("POST", "/v1/tasks", {"key": "k"}, by="ann", idempotency_key="n")
        assert (again.status, again.json) == (202, {**first.json, "is_new": False})

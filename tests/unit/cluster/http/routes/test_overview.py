"""What a caller sees of the past: history, causes of failures, attempts, and tasks by their keys."""

from __future__ import annotations

from types import SimpleNamespace

import jsonschema
import pytest
from msgspec.structs import replace

from actors.core.errors import FailureKind
from actors.core.journal.keys import part, text
from actors.core.messages.journal import Finish
from actors.core.messages.tasks import TaskState
from actors.core.metrics.history import EndpointReading, HistoryRecorder
from cluster.assembly.topology import TopologyStatistics
from tests.unit.support.http_service import TOKENS, Service
from tests.unit.support.journal_desk import RUN, intent, outcome, report


@pytest.fixture(params=[{}, TOKENS], ids=["alone", "tenants"])
async def service(request):
    async with Service(request.param).running() as running:
        yield running


@pytest.fixture
async def shared():
    async with Service(TOKENS).running() as running:
        yield running


async def schema_of(service, path):
    document = (await service("GET", "/openapi.json")).json
    (content,) = document["paths"][path]["get"]["responses"]["200"]["content"].values()
    return {**content["schema"], "components": document["components"]}


def with_history(service):
    recorder = HistoryRecorder()
    for second in (0, 1, 2):
        readings = [EndpointReading("main", 5 * second, refused=second, limit=8, in_flight=4, queued=9)]
        recorder.add(float(second), 1e9 + second, readings)
    dispatcher = SimpleNamespace(history=recorder.history())
    service.gateway.known = TopologyStatistics(None, dispatcher, (), ())


async def test_the_history_has_rates_of_all_for_one_caller_and_of_shared_limits_for_one_of_several(service):
    by = "ann" if service.tokens else None
    (await service("GET", "/v1/history", by=by)).problem(503)
    with_history(service)
    told = (await service("GET", "/v1/history", by=by)).json
    jsonschema.validate(told, await schema_of(service, "/v1/history"))
    assert told["at"] == [1e9, 1e9 + 1]
    (main,) = told["endpoints"]
    assert (main["refused"], main["limit"]["mean"]) == ([1, 1], [8, 8])
    if by is None:
        assert (main["answered"], main["queued"]["most"]) == ([5, 5], [9, 9])
    else:
        assert sorted(main) == ["cuts", "in_flight", "limit", "name", "refused"]


def fail(service, key, error, state=TaskState.FAILED):
    service.desk.tell(Finish(RUN, replace(report(key, state), errors=(error,))))


async def test_causes_are_counted_over_tasks_that_differ_only_in_particulars(service):
    by = "bob" if service.tokens else None
    for index in range(4):
        await service("POST", "/v1/tasks", {"key": f"k{index}"}, by=by)
    keys = sorted(_stored_keys(service))
    fail(service, keys[0], "evaluation of wire:1 failed: HTTP 500 from 127.0.0.1:8001")
    fail(service, keys[1], "evaluation of wire:2 failed: HTTP 500 from 127.0.0.1:8002", TaskState.PARTIAL)
    fail(service, keys[2], "the budget is spent")
    service.desk.tell(Finish(RUN, report(keys[3])))
    told = (await service("GET", "/v1/failures", by=by)).json
    jsonschema.validate(told, await schema_of(service, "/v1/failures"))
    assert told["looked_at"] == 3
    assert [(cause["tasks"], cause["cause"][:22]) for cause in told["causes"]] == [
        (2, "evaluation failed: HTT"),
        (1, "the budget is spent"),
    ]
    if by is not None:
        assert (await service("GET", "/v1/failures", by="ann")).json == {"looked_at": 0, "causes": []}


def _stored_keys(service):
    """Return the names of the tasks in the store."""
    rows = service.desk.store.rows
    return [text(row.removeprefix(b"t" + part(RUN))) for row in rows if row.startswith(b"t")]


async def test_the_attempts_of_a_task_show_where_and_how_each_ended(service):
    by = "bob" if service.tokens else None
    await service("POST", "/v1/tasks", {"key": "k"}, by=by)
    (key,) = _stored_keys(service)
    service.desk.tell_all(
        intent(1, task=key), outcome(1, kind=FailureKind.REFUSED, task=key), intent(2, task=key, number=2)
    )
    told = (await service("GET", "/v1/tasks/k/attempts", by=by)).json
    jsonschema.validate(told, await schema_of(service, "/v1/tasks/{task_id}/attempts"))
    assert [(each["number"], each["outcome"]) for each in told["attempts"]] == [(1, "refused"), (2, None)]
    assert told["has_more"] is False
    if by is not None:
        (await service("GET", "/v1/tasks/k/attempts", by="ann")).problem(404)


async def found(service, query, by=None):
    keys, cursor = [], ""
    while True:
        page = (await service("GET", "/v1/tasks", by=by, query=query + cursor)).json
        keys += [task["key"] for task in page["tasks"]]
        if page["next"] is None:
            return keys
        cursor = f"&cursor={page['next']}"


async def test_tasks_are_found_by_the_beginning_of_their_keys_page_by_page(service):
    by = "ann" if service.tokens else None
    for key in ("b", "apple/2", "apple", "apricot", "Apple", "apple1"):
        await service("POST", "/v1/tasks", {"key": key}, by=by)
    for limit in (1, 2, 100):
        query = f"key_prefix=appl&limit={limit}"
        assert await found(service, query, by) == ["apple", "apple/2", "apple1"]
    assert await found(service, "key_prefix=apple%2F", by) == ["apple/2"]
    assert await found(service, "key_prefix=nothing", by) == []
    stored = next(key for key in _stored_keys(service) if key.endswith("apple1"))
    service.desk.tell(Finish(RUN, report(stored)))
    assert await found(service, "key_prefix=ap&state=succeeded&limit=1", by) == ["apple1"]
    if by is not None:
        assert await found(service, "key_prefix=appl", "bob") == []


async def test_the_latest_tasks_come_first_where_that_is_asked_for(service):
    by = "ann" if service.tokens else None
    keys = [f"k{index:03}" for index in range(30)]
    for key in keys:
        await service("POST", "/v1/tasks", {"key": key}, by=by)
    for stored in _stored_keys(service):
        if stored.endswith(("1", "7")):
            service.desk.tell(Finish(RUN, report(stored)))
    if by is not None:
        await service("POST", "/v1/tasks", {"key": "other"}, by="bob")
    for state in ("", "&state=succeeded", "&state=accepted", "&state=failed"):
        oldest = await found(service, f"limit=100{state}", by)
        for limit in (1, 7, 100):
            assert await found(service, f"order=newest&limit={limit}{state}", by) == oldest[::-1]
    assert await found(service, "order=newest&limit=100", by) == keys[::-1]


async def test_no_prefix_reaches_the_tasks_of_another_caller(shared):
    await shared("POST", "/v1/tasks", {"key": "secret"}, by="bob")
    for prefix in ("", "s", "bob", "bob%1Fs", "%00", "..%2F"):
        answer = await shared("GET", "/v1/tasks", by="ann", query=f"key_prefix={prefix}")
        assert answer.status == 422 or answer.json["tasks"] == []


async def test_a_cursor_belongs_to_its_prefix(service):
    by = "ann" if service.tokens else None
    for key in ("a1", "a2", "b1"):
        await service("POST", "/v1/tasks", {"key": key}, by=by)
    cursor = (await service("GET", "/v1/tasks", by=by, query="key_prefix=a&limit=1")).json["next"]
    (await service("GET", "/v1/tasks", by=by, query=f"key_prefix=b&cursor={cursor}")).problem(400)

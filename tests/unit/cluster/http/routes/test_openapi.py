"""The OpenAPI document describes what is answered: every reference leads somewhere, and answers fit."""

from __future__ import annotations

import json

import jsonschema
import pytest

from actors.core.errors import StoreUnavailableError
from actors.core.messages.journal import Collected, Finish, Note, ReadTask, Reopen
from actors.core.messages.tasks import Fetched, Item, TaskState
from tests.unit.support.http_service import Service
from tests.unit.support.journal_desk import RUN, report

EVENTS = "/v1/tasks/{task_id}/events"


@pytest.fixture
async def service():
    async with Service().running() as running:
        yield running


async def document_of(service):
    return (await service("GET", "/openapi.json")).json


def references(node):
    if isinstance(node, dict):
        for name, inner in node.items():
            if name == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def fit(document, schema, value):
    """Raise where a value does not fit a schema of the document."""
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def described(document, path, method="get", status="200"):
    """Return the schema of an answer, of whatever media type."""
    (content,) = document["paths"][path][method]["responses"][status]["content"].values()
    return content["schema"]


def events_of(body):
    """Return a stream's events as a client reads them: without comments, and what has no data is none."""
    found = []
    for block in body.decode().split("\n\n"):
        lines = [line.partition(": ") for line in block.split("\n") if line and not line.startswith(":")]
        event = {name: value for name, _, value in lines}
        if "data" in event:
            found.append(event)
    return found


async def test_every_reference_leads_somewhere(service):
    document = await document_of(service)
    found = set(references(document))
    assert found
    for reference in found:
        node = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in node, reference
            node = node[step]


async def test_every_refusal_that_is_described_is_a_problem_document(service):
    document = await document_of(service)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (path, method, status)


async def test_the_events_of_a_stream_fit_their_schema(service):
    await service("POST", "/v1/batches", [{"key": "k"}])
    tell = service.desk.tell
    tell(Note(RUN, "k", "started"))
    tell(Collected(RUN, "k", (Fetched("s", (Item("s:1", "s", "x"),)),)))
    tell(Note(RUN, "k", "evaluated", {"evaluated": 1, "failed": 0}))
    tell(Note(RUN, "k", "dimension", {"name": "quality", "score": None, "n": 1}))
    tell(Finish(RUN, report("k", TaskState.FAILED)))
    tell(Reopen(RUN, "k", service.desk.look(ReadTask(RUN, "k"))[0][0].ended_at))
    tell(Finish(RUN, report("k")))
    document = await document_of(service)
    batch = (await service("GET", "/v1/tasks/k")).json["batch"]
    for path, known in (
        (EVENTS, "/v1/tasks/k/events"),
        ("/v1/batches/{batch_id}/events", f"/v1/batches/{batch}/events"),
    ):
        events = events_of((await service("GET", known)).body)
        assert [event["event"] for event in events] == [
            *("accepted", "started", "collected", "evaluated", "dimension", "ended", "reopened", "ended")
        ]
        schema = described(document, path)
        fit(document, schema, events)
        for event in events:
            fit(document, {"$ref": "#/components/schemas/EventDocument"}, json.loads(event["data"]))
        for broken in ({"event": "gone", "data": "{}"}, {"event": "ended"}, "id: 1"):
            with pytest.raises(jsonschema.ValidationError):
                fit(document, schema, [*events, broken])


async def test_the_event_that_ends_a_stream_in_trouble_fits_too(service, monkeypatch):
    await service("POST", "/v1/tasks", {"key": "k"})
    ask = service.gateway.ask

    async def failing(query, wait_s=0.0):
        if wait_s:
            raise StoreUnavailableError("the disk is full")
        return await ask(query, wait_s)

    monkeypatch.setattr(service.gateway, "ask", failing)
    document = await document_of(service)
    (event,) = events_of((await service("GET", "/v1/tasks/k/events")).body)
    assert (event["event"], "id" in event) == ("error", False)
    fit(document, described(document, EVENTS), [event])
    fit(document, {"$ref": "#/components/schemas/ProblemDocument"}, json.loads(event["data"]))


async def test_answers_fit_their_schemas(service):
    document = await document_of(service)

    async def answered(method, path, known=None, body=None, status="200"):
        answer = await service(method, known or path, body)
        assert answer.status == int(status), answer.body
        fit(document, described(document, path, method.lower(), status), answer.json)
        return answer.json

    await answered("POST", "/v1/tasks", body={"key": "k"}, status="202")
    batch = await answered("POST", "/v1/batches", body=[{"key": "b"}, {"key": ""}], status="202")
    await answered("GET", "/v1/tasks/{task_id}", "/v1/tasks/k")
    await answered("GET", "/v1/tasks/{task_id}/result", "/v1/tasks/k/result", status="409")
    service.desk.tell(Finish(RUN, report("k")))
    await answered("GET", "/v1/tasks/{task_id}", "/v1/tasks/k")
    await answered("GET", "/v1/tasks/{task_id}/result", "/v1/tasks/k/result")
    await answered("DELETE", "/v1/tasks/{task_id}", "/v1/tasks/b")
    await answered("GET", "/v1/tasks")
    await answered("GET", "/v1/batches/{batch_id}", batch["links"]["self"])
    await answered("GET", "/v1/batches/{batch_id}", "/v1/batches/none", status="404")
    await answered("GET", "/v1/pipeline")
    await answered("GET", "/healthz")
    await answered("GET", "/readyz", status="503")

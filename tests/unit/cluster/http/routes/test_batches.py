"""A batch: which of its lines are accepted, and what the answer says of the others."""

from __future__ import annotations

import pytest

from actors.core.errors import OverloadedError
from actors.core.messages.journal import Finish
from actors.core.messages.tasks import TaskState
from cluster.http.guard import limits
from tests.unit.support.http_service import Service
from tests.unit.support.journal_desk import RUN, report

LINES = {"content_type": "application/x-ndjson"}


@pytest.fixture
async def service():
    async with Service().running() as running:
        yield running


async def submit(service, *lines, **asked):
    return await service.send("POST", "/v1/batches", b"\n".join(lines), **LINES, **asked)


async def test_each_line_is_accepted_or_refused_by_itself_under_its_number(service):
    await service("POST", "/v1/tasks", {"key": "taken", "params": {"n": 1}})
    long = b'{"key": "long", "params": {"text": "%s"}}' % (b"x" * limits.TASK_BYTES)
    lines = [b'{"key": "a"}', b"", b"{no json", long, b'{"key": 7}', b'{"key": "taken"}', b"{}"]
    answer = await submit(service, *lines)
    told = answer.json
    assert (answer.status, answer.headers["location"]) == (202, f"/v1/batches/{told['id']}")
    assert (told["accepted"], told["new"], told["refused"]) == (2, 2, 4)
    refused = {each["line"]: (each["status"], each["detail"]) for each in told["errors"]}
    assert {line: status for line, (status, _) in refused.items()} == {3: 400, 4: 413, 5: 422, 6: 422}
    assert "/key: " in refused[5][1]
    for name in ("a", f"{told['id']}-7"):
        assert (await service("GET", f"/v1/tasks/{name}")).json["batch"] == told["id"]


async def test_lines_before_the_end_of_a_body_that_is_too_large_are_accepted_and_the_answer_says_so(
    service, monkeypatch
):
    monkeypatch.setattr(limits, "batch_bytes", lambda: 20)
    pieces = [b'{"key": "a"}\n', b'{"key": "b"}\n']
    told = (await service.send("POST", "/v1/batches", pieces=pieces, **LINES)).json
    assert (told["accepted"], told["refused"]) == (1, 1)
    assert [(each["line"], each["status"]) for each in told["errors"]] == [(0, 413)]


async def test_a_batch_of_which_nothing_is_accepted_is_answered_with_the_last_problem_and_all_lines(service):
    problem = (await submit(service, b'{"key": 7}', b"no json")).problem(400)
    assert (problem["accepted"], problem["new"], problem["refused"]) == (0, 0, 2)
    assert [each["pointer"] for each in problem["errors"]] == ["/1", "/2"]
    assert problem["detail"].startswith("no task of the batch was accepted; the last: ")


async def test_all_refused_lines_are_counted_and_the_first_hundred_described(service):
    told = (await submit(service, b"{}", *[b"no json"] * (limits.TOLD_REFUSALS + 1))).json
    assert told["refused"] == limits.TOLD_REFUSALS + 1
    assert [each["line"] for each in told["errors"]] == [*range(2, limits.TOLD_REFUSALS + 2)]


@pytest.mark.parametrize("body", [b"\n\n", b""])
async def test_an_empty_batch_of_lines_is_refused(service, body):
    problem = (await submit(service, body)).problem(422)
    assert [each["detail"] for each in problem["errors"]] == ["must hold a task"]


@pytest.mark.parametrize("document", [[], {}, "x", [{}, {}, {}]])
async def test_an_array_of_no_task_or_of_too_many_is_refused_as_a_whole(service, document, monkeypatch):
    monkeypatch.setattr(limits, "ARRAY_TASKS", 2)
    problem = (await service("POST", "/v1/batches", document)).problem(422)
    assert "an array of 1 to 2 tasks" in problem["errors"][0]["detail"]
    taken = (await service("POST", "/v1/batches", [{"key": 7}, {}])).json
    assert (taken["accepted"], [each["line"] for each in taken["errors"]]) == (1, [1])


async def test_a_batch_that_is_repeated_under_its_name_adds_only_what_is_new(service):
    first = (await submit(service, b"{}", b'{"key": 7}', b"{}", idempotency_key="stock")).json
    again = (await submit(service, b"{}", b"{}", b'{"params": {"n": 1}}', idempotency_key="stock")).json
    assert (again["id"], again["accepted"], again["new"]) == (first["id"], 2, 1)
    assert [(each["line"], each["status"]) for each in again["errors"]] == [(3, 422)]


def be_full(service, monkeypatch, *retries):
    """Refuse a task for each of `retries`, which say when to try again, before tasks are accepted."""
    accept, left = service.gateway.accept, list(retries)

    async def later(submit):
        if left:
            raise OverloadedError("the backlog", left.pop(0))
        return await accept(submit)

    monkeypatch.setattr(limits, "PATIENCE_S", 0.5)
    service.gateway.accept = later


async def test_a_line_waits_for_room(service, monkeypatch):
    be_full(service, monkeypatch, 0.0, 0.0)
    assert (await submit(service, b"{}")).json["accepted"] == 1


async def test_a_line_waits_no_longer_than_its_patience_and_after_it_no_other_waits(service, monkeypatch):
    be_full(service, monkeypatch, 7.0, 0.0)
    told = (await submit(service, b"{}", b"{}", b"{}")).json
    assert (told["accepted"], [each["line"] for each in told["errors"]]) == (1, [1, 2])


async def test_a_batch_for_which_there_is_no_room_may_come_again(service, monkeypatch):
    be_full(service, monkeypatch, 7.0)
    answer = await submit(service, b"{}")
    assert (answer.problem(503)["refused"], answer.headers["retry-after"]) == (1, "7")


async def test_the_events_of_a_batch_end_with_its_last_task_and_nothing_follows_them(service):
    told = (await service("POST", "/v1/batches", [{"key": "a"}, {"key": "b"}])).json
    await service("POST", "/v1/tasks", {"key": "another"})
    for name in ("a", "b"):
        service.desk.tell(Finish(RUN, report(name, TaskState.SUCCEEDED)))
    stream = await service("GET", told["links"]["events"])
    ids = [line.removeprefix(b"id: ") for line in stream.body.split(b"\n") if line.startswith(b"id: ")]
    assert (stream.status, len(ids)) == (200, 4)
    one_left = await service("GET", told["links"]["events"], last_event_id=ids[-2].decode())
    assert (one_left.status, one_left.body.count(b"id: ")) == (200, 1)
    assert (await service("GET", told["links"]["events"], last_event_id=ids[-1].decode())).status == 204


@pytest.mark.parametrize("name", ["b-0", "x" * 200, "%00", "~", "b-\x1f"])
async def test_a_batch_that_is_not_there_is_not_found(service, name):
    for tail in ("", "/events"):
        (await service("GET", f"/v1/batches/{name}{tail}")).problem(404)

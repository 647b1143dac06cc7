"""Errors as problem documents."""

from __future__ import annotations

from http import HTTPStatus

import orjson
import pytest

from actors.core.errors import (
    OverloadedError,
    PeerLostError,
    ShareExceededError,
    StoreUnavailableError,
    TaskConflictError,
    UnprocessableError,
)
from actors.core.journal.batch import NotStorableError
from cluster.http.guard.problems import ApiProblem, Fault, of_error, too_large
from tests.unit.support.http_service import Service


def document(problem):
    return orjson.loads(problem.response().body)


def test_a_problem_names_its_type_says_what_happened_and_where():
    problem = ApiProblem(422, "invalid", "the body does not fit", (Fault("/key", "too long"),))
    response = problem.response()
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert document(problem) == {
        "type": "urn:headrace:problem:invalid",
        "title": HTTPStatus(422).phrase,  # which differs between versions of Python
        "status": 422,
        "detail": "the body does not fit",
        "errors": [{"pointer": "/key", "detail": "too long"}],
    }


@pytest.mark.parametrize(("seconds", "told"), [(0.2, "1"), (1.0, "1"), (1.2, "2"), (60.0, "60")])
def test_the_time_to_wait_is_told_in_whole_seconds_rounded_up(seconds, told):
    problem = of_error(OverloadedError("the backlog", seconds))
    assert problem.response().headers["retry-after"] == told
    assert document(problem)["status"] == 503


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ShareExceededError("share", 2.0), 429),
        (TaskConflictError("other params"), 422),
        (NotStorableError("too large"), 422),
        (UnprocessableError("a defect"), 500),
        (StoreUnavailableError("the disk is full"), 503),
        (PeerLostError("pipeline:0", True), 503),
        (TimeoutError(), 503),
    ],
)
def test_what_an_actor_answers_is_told_with_the_status_that_says_whose_turn_it_is(error, status):
    problem = of_error(error)
    assert problem.status == status
    assert problem.detail
    assert (problem.retry_after_s is None) == (status in (422, 500))


def test_when_to_come_back_is_said_in_the_document_and_in_whole_seconds_in_the_header():
    response = of_error(OverloadedError("backlog", 1.26)).response()
    assert orjson.loads(response.body)["retry_after_s"] == 1.3
    assert response.headers["retry-after"] == "2"


async def test_an_address_or_a_method_that_does_not_exist_is_answered_as_such():
    async with Service().running() as service:
        (await service("GET", "/v1/nothing")).problem(404)
        answer = await service("DELETE", "/v1/pipeline")
        answer.problem(405)
        assert answer.headers["allow"] == "GET"


def test_a_body_that_is_too_large_ends_the_connection():
    response = too_large("the body", 1000).response()
    assert (response.status_code, response.headers["connection"]) == (413, "close")
    assert orjson.loads(response.body)["limit_bytes"] == 1000

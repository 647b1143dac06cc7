"""What every request passes, without a server."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from cluster.http.guard import limits
from cluster.http.guard.api_guard import ApiGuard
from cluster.http.guard.auth import Authenticator, digests
from cluster.http.guard.occupancy import path_of
from cluster.http.guard.problems import ApiProblem
from tests.unit.support.http_service import Service

TOKEN = "ann-token-1"  # noqa: S105 - of this test alone


class Asked:
    """An application that notes who asked, and then does what it is told."""

    def __init__(self, failure=None, *, begins=False, ends=False):
        self.tenants = []
        self._failure, self._begins, self._ends = failure, begins, ends

    async def __call__(self, scope, receive, send):
        self.tenants.append(scope["state"].get("tenant"))
        if self._begins or self._failure is None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if self._ends or self._failure is None:
            await send({"type": "http.response.body", "body": b"done"})
        if self._failure is not None:
            raise self._failure


async def ask(app, path="/v1/tasks", *, headers=(), query=b"", tokens=f"ann={TOKEN}"):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(b"host", b"localhost"), *headers],
        "server": ("127.0.0.1", 8000),
    }
    await ApiGuard(app, Authenticator(digests(tokens)))(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent)


@pytest.mark.parametrize("root", ["", "/under", "/v1"])
async def test_the_api_is_the_same_below_a_root_path(root):
    async with Service({"ann": TOKEN}).running() as service:
        assert (await service("GET", "/v1/tasks", by="ann", root=root)).status == 200
        (await service("GET", "/v1/tasks", root=root)).problem(401)
        assert (await service("GET", "/healthz", root=root)).status == 200


def test_batches_streams_and_probes_are_known_below_a_root_path():
    for path in ("/v1/batches", "/v1/tasks/t/events", "/healthz", "/v1"):
        assert path_of({"path": path}) == path
        assert path_of({"path": path, "root_path": "/"}) == path
        assert path_of({"path": "/under" + path, "root_path": "/under"}) == path
        assert path_of({"path": path, "root_path": "/under"}) == path
        assert path_of({"path": "/underneath" + path, "root_path": "/under"}) == "/underneath" + path


async def test_a_task_whose_body_is_sent_slowly_is_ended_soon(monkeypatch):
    assert limits.TASK_WITHIN_S <= 10.0  # it keeps a place from others meanwhile
    monkeypatch.setattr(limits, "TASK_WITHIN_S", 0.0)
    async with Service().running() as service:
        scope = service.scope("POST", "/v1/tasks", content_type="application/json", content_length="100000")
        sent = []

        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        async with asyncio.timeout(60):
            await service.app(scope, receive, send)
    assert sent[0]["status"] == 408
    assert orjson.loads(sent[1]["body"])["type"].endswith("too-slow")


BEARER = (b"authorization", f"Bearer {TOKEN}".encode())


async def test_a_known_caller_is_let_in_under_its_name():
    app = Asked()
    status, headers, body = await ask(app, headers=[BEARER])
    assert (status, body, app.tenants) == (200, b"done", ["ann"])
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"content-security-policy"].startswith(b"default-src 'none'")


@pytest.mark.parametrize("headers", [[], [BEARER, BEARER], [(b"authorization", b"Bearer \xff")]])
async def test_another_is_not_and_the_application_is_not_asked(headers):
    app = Asked()
    status, _, body = await ask(app, headers=headers)
    assert (status, orjson.loads(body)["status"], app.tenants) == (401, 401, [])


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1x"])
async def test_what_is_open_needs_no_name(path):
    app = Asked()
    await ask(app, path)
    assert app.tenants == [None]


async def test_too_much_is_refused_before_anything_is_asked():
    app = Asked()
    assert (await ask(app, headers=[(b"x", b"y" * 40_000)]))[0] == 431
    assert (await ask(app, query=b"y" * 9_000))[0] == 414
    assert (await ask(app, query=b"y" * limits.TARGET_BYTES))[0] == 414
    assert app.tenants == []
    await ask(app, "/", query=b"y" * (limits.TARGET_BYTES - 1))
    assert app.tenants == [None]


async def test_a_problem_is_answered_as_one():
    status, headers, body = await ask(Asked(ApiProblem(409, "x", "no")), headers=[BEARER])
    assert (status, headers[b"content-type"]) == (409, b"application/problem+json")
    assert orjson.loads(body)["detail"] == "no"


async def test_a_defect_is_told_under_an_id_and_shows_nothing_of_itself(caplog):
    status, _, body = await ask(Asked(ValueError("inner secret")), headers=[BEARER])
    told = orjson.loads(body)
    assert (status, told["status"]) == (500, 500)
    assert b"inner secret" not in body
    assert told["detail"].rpartition(" ")[2] in caplog.text
    assert "inner secret" in caplog.text


async def test_half_an_answer_ends_with_the_connection():
    with pytest.raises(ValueError, match="late"):
        await ask(Asked(ValueError("late"), begins=True), headers=[BEARER])


async def test_a_defect_after_the_answer_is_logged_alone(caplog):
    assert (await ask(Asked(ValueError("late"), begins=True, ends=True), headers=[BEARER]))[0] == 200
    assert "late" in caplog.text

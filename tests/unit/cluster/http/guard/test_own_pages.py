"""Without a token no page of another origin uses a service of this machine."""

from __future__ import annotations

import pytest

from actors.core.messages.journal import Accept, ReadTask
from actors.core.messages.tasks import Task
from tests.unit.support.http_service import TOKENS, Service
from tests.unit.support.journal_desk import RUN

FOREIGN = (
    {"origin": "https://evil.test"},
    {"origin": "http://localhost:3000"},
    {"origin": "http://localhost.evil.test:8000"},
    {"origin": "http://evil.test@localhost:8000"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://localhost:8000, https://evil.test"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},  # a page at another port of this machine
    {"sec_fetch_site": "Cross-Site"},
    {"origin": "http://localhost:8000", "sec_fetch_site": "cross-site"},
    {"host": "evil.test:8000"},  # whose name resolves to this machine
    {"host": "evil.test:8000", "origin": "http://evil.test:8000", "sec_fetch_site": "same-origin"},
)
OWN = (
    {},
    {"origin": "http://localhost:8000", "sec_fetch_site": "same-origin"},
    {"origin": "http://LOCALHOST:8000"},
    {"sec_fetch_site": "none"},
    {"host": "127.0.0.1", "origin": "http://127.0.0.1:80"},
    {"host": "[::1]:8000", "origin": "http://[::1]:8000"},
)
ASKED = (
    ("GET", "/v1/tasks", None),
    ("GET", "/v1/tasks/t1", None),
    ("GET", "/v1/tasks/t1/events", None),
    ("GET", "/v1/pipeline", None),
    ("POST", "/v1/tasks", {"key": "t2"}),
    ("POST", "/v1/batches", [{"key": "t2"}]),
    ("DELETE", "/v1/tasks/t1", None),
    ("OPTIONS", "/v1/tasks", None),
)


def service(**settings):
    service = Service(most=3, **settings)
    service.desk.tell(Accept(RUN, Task("t1")))
    return service


@pytest.mark.parametrize("headers", FOREIGN, ids=repr)
async def test_a_foreign_page_is_refused_and_changes_nothing(headers):
    async with service().running() as local:
        for method, path, document in ASKED:
            problem = (await local(method, path, document, **headers)).problem(403)
            assert "HEADRACE_API_TOKEN" in problem["detail"]
        assert local.desk.tell(ReadTask(RUN, "t2")) is None
        assert local.desk.tell(ReadTask(RUN, "t1"))[0].state == "accepted"


@pytest.mark.parametrize("headers", OWN, ids=repr)
async def test_its_own_page_and_programs_are_let_in(headers):
    async with service().running() as local:
        for method, path, document in ASKED[:-1]:
            assert (await local(method, path, document, **headers)).status < 300


async def test_a_second_origin_or_host_does_not_hide_behind_the_first():
    async with service().running() as local:
        for name, values in (
            (b"origin", (b"http://localhost:8000", b"https://evil.test")),
            (b"host", (b"localhost:8000", b"evil.test")),
            (b"sec-fetch-site", (b"same-origin", b"cross-site")),
        ):
            scope = local.scope("GET", "/v1/tasks")
            others = [pair for pair in scope["headers"] if pair[0] != name]
            scope["headers"] = [*others, *((name, value) for value in values)]
            (await local.exchange(scope, [b""])).problem(403)


async def test_probes_and_pages_without_data_are_open():
    async with service().running() as local:
        for path in ("/healthz", "/", "/docs"):
            assert (await local("GET", path, sec_fetch_site="cross-site")).status == 200


async def test_with_a_token_a_page_may_be_of_any_origin():
    async with service(tokens=TOKENS).running() as guarded:
        answer = await guarded("GET", "/v1/tasks", by="ann", origin="https://mine.test", host="x.test")
        assert answer.status == 200

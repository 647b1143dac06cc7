"""Whatever is sent to the HTTP API is answered, never with a defect, and never with one in the journal."""

from __future__ import annotations

import base64
import hashlib
import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core.messages.journal import Accept, Note
from actors.core.messages.tasks import Task
from tests.unit.support.http_service import Service
from tests.unit.support.journal_desk import RUN

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "key": documents | st.text(max_size=600),
        "params": documents,
        "priority": documents | st.sampled_from(["interactive", "batch"]),
        "deadline_s": st.floats() | st.integers(),
        "other": documents,
    },
)
bodies = st.one_of(
    st.binary(max_size=60),
    documents.map(lambda document: json.dumps(document).encode()),
    requests.map(lambda document: json.dumps(document).encode()),
    st.lists(requests, max_size=4).map(lambda document: json.dumps(document).encode()),
    st.lists(requests, max_size=4).map(lambda many: b"\n".join(json.dumps(one).encode() for one in many)),
)
kinds = st.sampled_from(["application/json", "application/x-ndjson", "text/plain", ""])
header = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
texts = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=40),
    st.integers().map(str),
    st.integers(min_value=10**17, max_value=10**400).map(str),
    st.sampled_from(["t1", "b-1", "~dDE", "%00", "..", "1e400", "NaN", "-1", "0x7f"]),
)
methods = st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD"])
paths = st.one_of(
    st.sampled_from(["/v1/tasks", "/v1/batches", "/v1/pipeline", "/v1", "/readyz", "/docs", "/openapi.json"]),
    st.builds(
        lambda kind, name, tail: f"/v1/{kind}/{name}{tail}",
        st.sampled_from(["tasks", "batches"]),
        texts,
        st.sampled_from(["", "/events", "/result", "/"]),
    ),
    texts.map(lambda text: "/" + text),
)


SERVICE = Service(most=5)


def seeded():
    """Return the service with three tasks: made once, since its routes take longer than a request."""
    desk = SERVICE.begin_anew()
    desk.tell_all(*(Accept(RUN, Task(task), group="b-1") for task in ("t1", "t2", "t3")))
    desk.tell(Note(RUN, "t1", "started"))
    return SERVICE


def forged(document, scope=f"{RUN}/"):
    """Return a cursor as an earlier version sealed it, around any document."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    seal = hashlib.sha256(scope.encode() + b"\0" + body).digest()[:8]
    return base64.urlsafe_b64encode(seal + body).rstrip(b"=").decode()


@pytest.mark.parametrize("document", [10**26, -(10**26), "abc", {}, [], None, True, 1.5, 2**63, -2])
async def test_a_forged_cursor_is_a_bad_request(document):
    async with seeded().running() as service:
        (await service("GET", "/v1/tasks", query=f"cursor={forged(document)}")).problem(400)


@given(st.one_of(texts, st.binary(max_size=30).map(forged), documents.map(forged)))
async def test_a_cursor_of_any_content_gets_a_page_of_its_list_or_is_a_bad_request(cursor):
    async with seeded().running() as service:
        answer = await service("GET", "/v1/tasks", query=urlencode({"cursor": cursor}))
        assert answer.status == 200 or answer.problem(400)


async def test_a_cursor_that_was_given_is_good_for_its_list_alone():
    async with seeded().running() as service:
        first = (await service("GET", "/v1/tasks", query="limit=2")).json
        rest = await service("GET", "/v1/tasks", query=f"limit=2&cursor={first['next']}")
        assert [task["key"] for task in rest.json["tasks"]] == ["t3"]
        (await service("GET", "/v1/tasks", query=f"state=failed&cursor={first['next']}")).problem(400)


@st.composite
def headers(draw):
    drawn = {"content_type": draw(kinds), "idempotency_key": draw(header), "last_event_id": draw(header)}
    return {name: value for name, value in drawn.items() if value}


@settings(max_examples=400)
@given(
    methods, paths, st.dictionaries(st.sampled_from(["cursor", "limit", "state"]), texts), bodies, headers()
)
async def test_no_request_meets_a_defect(method, path, query, body, named):
    async with seeded().running() as service:
        answer = await service.send(method, path, body, query=urlencode(query), **named)
        assert answer.status < 500 or path == "/readyz", (answer.status, answer.body)
        if answer.status >= 400 and method != "HEAD":
            answer.problem(answer.status)


@given(st.binary(max_size=40), st.binary(max_size=40))
async def test_raw_bytes_in_queries_and_bodies_meet_no_defect(query, body):
    async with seeded().running() as service:
        assert (await service.send("GET", "/v1/tasks", query=b"cursor=" + query)).status < 500
        kind = {"content_type": "application/x-ndjson"}
        assert (await service.send("POST", "/v1/batches", body, **kind)).status < 500
        assert (await service.send("GET", "/v1/tasks/" + quote(query))).status < 500

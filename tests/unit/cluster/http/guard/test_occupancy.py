"""However many streams a caller opens, others and probes are answered."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from actors.core.messages.journal import Accept
from actors.core.messages.tasks import Task
from actors.core.task_names import within
from cluster.http.guard import limits, occupancy
from cluster.http.guard.occupancy import Occupancy, address_of
from cluster.http.guard.problems import ApiProblem
from tests.unit.support.http_service import TOKENS, Service
from tests.unit.support.journal_desk import RUN

EVENTS = "/v1/tasks/t/events"


class Open:
    """Requests that are under way until they are let go."""

    def __init__(self, service):
        self.service = service
        self.let_go = asyncio.Event()
        self.asking = []

    async def begin(self, count, path=EVENTS, *, method="GET", by=None, client="127.0.0.1", **headers):
        """Return the statuses of requests once all have one; those that were let in stay open."""
        statuses, known = [], asyncio.Event()
        for _ in range(count):
            scope = self.service.scope(method, path, by=by, **headers)
            scope["client"] = (client, 50_000)
            self.asking.append(asyncio.create_task(self._ask(scope, statuses, known, count)))
        async with asyncio.timeout(60):
            await known.wait()
        return statuses

    async def _ask(self, scope, statuses, known, count):
        async def receive():
            await self.let_go.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                if len(statuses) == count:
                    known.set()
            elif message.get("more_body") and not self.let_go.is_set():
                await self.let_go.wait()

        await self.service.app(scope, receive, send)

    async def end(self):
        self.let_go.set()
        await asyncio.gather(*self.asking)


@pytest.fixture
async def opened():
    async with Service(TOKENS).running() as service:
        for tenant in TOKENS:
            service.desk.tell(Accept(RUN, Task(within(tenant, "t")), tenant))
        requests = Open(service)
        yield requests
        await requests.end()


async def test_the_streams_of_one_caller_leave_room_for_others_and_for_probes(opened, monkeypatch):
    monkeypatch.setattr(limits, "STREAMS", 40)
    opened.service.app._occupancy = Occupancy()
    statuses = await opened.begin(85, by="ann")
    assert (statuses.count(200), statuses.count(429)) == (20, 65)
    assert await opened.begin(19, by="bob", client="192.0.2.1") == [200] * 19
    for path, status in (("/healthz", 200), ("/v1/tasks", 200), ("/v1/tasks/t", 200)):
        assert (await opened.service("GET", path, by="ann")).status == status
    refused = await opened.service("GET", EVENTS, by="ann")
    assert refused.problem(429)["type"].endswith("too-many-open")
    assert int(refused.headers["retry-after"]) >= 1


async def test_the_whole_of_the_bound_as_it_is(opened):
    """What was seen to answer 503 to everybody: 2,010 streams of one caller."""
    statuses = await opened.begin(2_010, by="ann")
    assert statuses.count(200) == limits.STREAMS // 2
    assert set(statuses) == {200, 429}
    assert (await opened.service("GET", "/healthz")).status == 200
    assert (await opened.service("GET", "/v1/tasks", by="bob")).status == 200
    assert await opened.begin(1, by="bob", client="192.0.2.1") == [200]


async def test_a_stream_that_ends_makes_room(opened, monkeypatch):
    monkeypatch.setattr(limits, "STREAMS", 4)
    opened.service.app._occupancy = Occupancy()
    assert sorted(await opened.begin(3, by="ann")) == [200, 200, 429]
    await opened.end()
    assert (await Open(opened.service).begin(2, by="ann")) == [200, 200]


@pytest.fixture
def places(monkeypatch):
    monkeypatch.setattr(limits, "STREAMS", 4)
    monkeypatch.setattr(limits, "BATCHES", 2)
    monkeypatch.setattr(limits, "REQUESTS", 4)
    return Occupancy()


def scope(path=EVENTS, client="192.0.2.1", *forwarded):
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return {"type": "http", "path": path, "client": (client, 1), "headers": headers}


def held(places, stack, count, *asked, tenant="ann"):
    """Hold places until one is refused; return how many were held, and the status of the refusal."""
    for n in range(count):
        try:
            stack.enter_context(places.held(scope(*asked), tenant))
        except ApiProblem as problem:
            return n, problem.status
    return count, None


def test_an_address_has_half_of_the_streams_under_whatever_names(places):
    with contextlib.ExitStack() as stack:
        assert held(places, stack, 1, tenant="ann") == (1, None)
        assert held(places, stack, 9, tenant="bob") == (1, 429)
        assert held(places, stack, 9, EVENTS, "192.0.2.2", tenant="cy") == (2, 429)
        assert held(places, stack, 9, EVENTS, "192.0.2.3", tenant="dan") == (0, 503)
    assert places._streams._held == {}


def test_batches_have_places_of_their_own_and_other_requests_too(places):
    with contextlib.ExitStack() as stack:
        held(places, stack, 9)
        assert held(places, stack, 9, "/v1/batches") == (1, 429)
        assert held(places, stack, 9, "/v1/tasks") == (2, 429)
        assert held(places, stack, 9, "/v1/tasks", tenant="bob") == (2, 429)
        assert held(places, stack, 9, "/v1/tasks", tenant="cy") == (0, 503)
        assert held(places, stack, 9, "/v1/batches/b/events", "192.0.2.2", tenant="bob") == (2, 429)
        for probe in occupancy.PROBES:
            assert held(places, stack, 99, probe) == (99, None)


@pytest.mark.parametrize(
    ("client", "forwarded", "address"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("127.0.0.1", ("192.0.2.9",), "192.0.2.9"),
        ("127.0.0.1", ("10.0.0.1, 192.0.2.9",), "192.0.2.9"),
        ("127.0.0.1", ("10.0.0.1", "2001:DB8::1"), "2001:db8::1"),
        ("192.0.2.1", ("10.0.0.1",), "192.0.2.1"),  # a caller's own word
        ("127.0.0.1", ("x" * 5000,), "127.0.0.1"),
    ],
)
def test_a_caller_is_counted_by_the_address_that_the_proxy_here_saw(client, forwarded, address):
    assert address_of(scope(EVENTS, client, *forwarded)) == address

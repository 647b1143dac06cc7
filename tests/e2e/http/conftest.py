"""One service for all tests here: a process that is started as `make serve` starts it, on a free port.

It has little room on purpose, so that it can be filled: 8 tasks at work, 40 that wait, 8 calls in flight. A
test that looks at what is under way has the endpoint hold the calls back meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.e2e.conftest import MARK, marked, still_running
from tests.e2e.support.simulated_endpoint import SimulatedEndpoint

ROOT = Path(__file__).resolve().parents[3]
ANN, BOB = "ann-secret-1", "bob-secret-2"
WITHIN_S = 100.0  # for whatever has to come, on a machine that others use too
PROXY = "ray::ProxyActor"  # the title of Serve's own proxy
WAITING = 40
ROOM = 8 + WAITING  # tasks at work, and those that wait

CONFIG = {
    "name": "tests",
    "sources": [
        {"name": name, "kind": "simulated", "items": 3, "latency_s": 0.01} for name in ("wire", "forum")
    ],
    "llm": {
        "simulator": {"latency_s": 0.05, "sigma": 0, "max_in_flight": 8},
        "clients": 1,
        "timeout_s": 300,  # longer than any test holds a call back
    },
    "evaluate": {
        "prompt": "Rate this about {key}: {text}",
        "output": {"quality": {"type": "number", "min": 0, "max": 1}, "note": {"type": "string"}},
    },
    "dimensions": [{"name": "quality", "field": "quality", "synthesize": "Sum up {key}: {evidence}"}],
    "limits": {"active_tasks": 8, "accepted_tasks": WAITING, "task_deadline_s": 600},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read to its end."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_passing(self) -> bool:
        """Whether to ask again: there is no room, or something is away, as a problem document says."""
        if self.status in (429, 503):
            assert self.headers["Content-Type"] == "application/problem+json", self.body
            assert int(self.headers["Retry-After"]) >= 1
        return self.status in (429, 503)

    def problem(self, status: int) -> Any:
        """Return the problem document that this must be."""
        assert self.status == status, self.body
        assert self.headers["Content-Type"] == "application/problem+json"
        document = self.json
        assert document["status"] == status
        assert document["type"].startswith("urn:headrace:problem:")
        assert document["title"]
        assert document["detail"]
        return document


class Service:
    """The running service, as its operator sees it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, directory: Path, mark: str) -> None:
        self.process = process
        self.url = url
        self.ledger = directory / "ledger.jsonl"
        self.log = directory / "log"
        self._mark = mark

    def simulator_url(self) -> str:
        """Return where its simulated endpoint listens."""
        (simulator,) = self.processes("simulators.llm")
        (port,) = [word for word in simulator.cmdline() if word.startswith("--port=")]
        return f"http://127.0.0.1:{port.removeprefix('--port=')}/v1"

    def processes(self, title: str = "") -> list[psutil.Process]:
        """Return the processes that came of the service and whose title holds `title`."""
        found = []
        for process in marked(self._mark, {self.process.pid}):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if title in " ".join(process.cmdline()):
                    found.append(process)
        return found


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with started(tmp_path_factory.mktemp("service")) as service:
        yield service
        assert service.process.poll() is None, "the service ended by itself"
        text = service.log.read_text()
        assert ANN not in text
        assert BOB not in text


@contextmanager
def started(directory: Path, *, haproxy: bool = False) -> Iterator[Service]:
    """Start a service that keeps its files in `directory`, and end it; then no process of it may be left."""
    simulator = {**CONFIG["llm"]["simulator"], "ledger": str(directory / "ledger.jsonl")}
    config = {
        **CONFIG,
        "llm": {**CONFIG["llm"], "simulator": simulator},
        "store": {"kind": "sqlite", "path": str(directory / "state.db")},
        "cluster": {"dashboard": False},
        "http": {"haproxy": haproxy},
    }
    (directory / "config.yaml").write_text(json.dumps(config))
    mark = secrets.token_hex(8)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    log = (directory / "log").open("wb")
    process = subprocess.Popen(  # noqa: S603 - this very interpreter, and a module of ours
        [sys.executable, "-m", "cluster.http.standalone", str(directory / "config.yaml"), "--port", "0"],
        cwd=directory,
        env={
            **inherited,
            "PYTHONPATH": str(ROOT),
            "HOME": str(directory),
            "HEADRACE_API_TOKEN": f"ann={ANN},bob={BOB}",
            MARK: mark,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,
    )
    service = Service(process, "", directory, mark)
    try:
        service.url = _announced(process, directory / "log")
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(100)
        left = still_running(service.processes(), 30)
        for one in left:
            one.kill()
        process.wait()
        process.stdout.close()
        log.close()
    assert not left, f"left behind: {left}"


def _announced(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + WITHIN_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(deadline - time.monotonic()), log.read_text()[-3000:]
    line = process.stdout.readline()
    assert line, log.read_text()[-3000:]
    return json.loads(line)["url"]


class AwayError(aiohttp.ClientError):
    """The service cannot go on with a stream now: come back."""


class Caller:
    """One of those who call the service."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None) -> None:
        self.session = session
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def __call__(self, method: str, path: str, document: Any = None, **headers: str) -> Answer:
        """Return the answer to a request; header names are written with underscores."""
        data = None if document is None else json.dumps(document).encode()
        kind = {} if document is None else {"Content-Type": "application/json"}
        return await self.send(method, path, data, **{**kind, **headers})

    async def send(self, method: str, path: str, data: Any = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(
            method, self.url + path, data=data, headers={**self.headers, **named}
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def ended(self, *ids: str) -> list[Any]:
        """Return tasks once all have ended: it follows their events to the end."""
        for each in ids:
            async for _ in self.events(f"/v1/tasks/{each}/events"):
                pass
        return [(await self("GET", f"/v1/tasks/{each}")).json for each in ids]

    async def accepted(self, document: Any, **headers: str) -> Any:
        """Hand in a task, again and again while there is no room, and return what was answered."""
        while True:
            answer = await self("POST", "/v1/tasks", document, **headers)
            if answer.status == 202:
                return answer.json
            assert answer.status in (429, 503), answer.body
            await asyncio.sleep(float(answer.headers["Retry-After"]) / 4)

    async def statistics(self, condition: Callable[[Any], bool]) -> Any:
        """Return what the service says of itself as soon as that meets `condition`."""
        async with asyncio.timeout(WITHIN_S):
            while not condition(known := (await self("GET", "/v1/pipeline")).json):
                await asyncio.sleep(0.02)
        return known

    async def insist(self, method: str, path: str, document: Any = None, **headers: str) -> Answer:
        """Do as a client does: ask the same again until it is answered, whatever happens to the service."""
        told: object = None
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    try:
                        answer = await self(method, path, document, **headers)
                    except aiohttp.ClientError as error:
                        told = error
                    else:
                        if not answer.is_passing:
                            return answer
                        told = answer.body
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"{method} {path} is put off to the last: {told!r}") from None

    async def followed(self, path: str) -> list[tuple[int, str, Any]]:
        """Return a task's events to the last; a stream that is cut is gone on with where it was."""
        seen: list[tuple[int, str, Any]] = []
        async with asyncio.timeout(WITHIN_S):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async for event in self.events(path, seen[-1][0] if seen else None):
                        seen.append(event)  # noqa: PERF401 - what came before a cut has to stay
                if seen and seen[-1][1] == "ended":
                    return seen
                await asyncio.sleep(0.2)

    async def events(self, path: str, after: int | None = None) -> AsyncIterator[tuple[int, str, Any]]:
        """Yield a stream's events as (id, kind, data)."""
        headers = self.headers if after is None else {**self.headers, "Last-Event-ID": str(after)}
        async with self.session.get(self.url + path, headers=headers) as answer:
            if answer.status == 204:
                return
            if Answer(answer.status, answer.headers, b"").is_passing:
                raise AwayError(await answer.text())
            assert answer.status == 200, await answer.read()
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            fields: dict[str, str] = {}
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if line == b"\n" and fields.get("event") == "error":
                    raise AwayError(fields["data"])
                if line == b"\n" and "data" in fields:
                    yield int(fields["id"]), fields["event"], json.loads(fields["data"])
                fields = {} if line == b"\n" else {**fields, name: value}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=300), timeout=aiohttp.ClientTimeout(total=WITHIN_S)
    ) as session:
        yield session


@pytest.fixture
async def endpoint(
    service: Service, session: aiohttp.ClientSession, ann: Caller, bob: Caller
) -> AsyncIterator[SimulatedEndpoint]:
    """Return the endpoint that the service asks; what a test has it hold back goes on with the test's end.

    What earlier tests left to be done is done by then: held back, it would keep room from this test's tasks.
    """
    for caller in (ann, bob):
        await caller.statistics(lambda known: not known["tasks"]["unfinished"])
    endpoint = SimulatedEndpoint(service.simulator_url(), session, service.ledger)
    yield endpoint
    await endpoint.release()


@pytest.fixture
def ann(service: Service, session: aiohttp.ClientSession) -> Caller:
    return Caller(session, service.url, ANN)


@pytest.fixture
def bob(service: Service, session: aiohttp.ClientSession) -> Caller:
    return Caller(session, service.url, BOB)


@pytest.fixture
def nobody(service: Service, session: aiohttp.ClientSession) -> Caller:
    return Caller(session, service.url, None)


@pytest.fixture
def name() -> str:
    """Return the beginning of the keys of this test's tasks."""
    return f"k{secrets.token_hex(4)}"

"""The HTTP API in this process: its whole application over a journal in memory, without pipelines."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from urllib.parse import quote

from actors.core.errors import UnprocessableError
from actors.core.journal.reads import Waiting
from actors.core.messages.journal import Accept, Finish
from actors.core.messages.tasks import TaskState
from cluster.assembly.topology import TopologyStatistics
from cluster.config.llm import LLMSettings
from cluster.config.model import LimitSettings
from cluster.http.application import make_application
from cluster.http.guard.auth import digests
from tests.unit.support.journal_desk import RUN, Desk, report

TOKENS = {"ann": "ann-token-1", "bob": "bob-token-2"}


class DeskGateway:
    """In the gateway's place: asks a journal that is decided at once. `full` is raised for each new task."""

    def __init__(self):
        self.desk = Desk()
        self.desk.open()
        self.run_id = RUN
        self.full = None
        self.config = SimpleNamespace(
            name=RUN,
            limits=LimitSettings(),
            sources=(),
            cluster=SimpleNamespace(pipelines=0),
            llm=LLMSettings(),
        )
        self.known = TopologyStatistics(None, None, (), ())

    async def opened(self, within_s):
        return True

    async def close(self):
        pass

    async def statistics(self):
        return self.known

    async def accept(self, submit):
        if self.full is not None:
            raise self.full
        return self.tell(accept_of(submit))

    async def ask(self, query, wait_s=0.0):
        reply = self.tell(query)
        if isinstance(reply, Waiting):
            await asyncio.sleep(0)
            return ()
        return reply

    async def cancel(self, key):
        return self.tell(Finish(RUN, report(key, TaskState.CANCELLED)))

    def tell(self, message):
        reply = self.desk.tell(message)
        assert not isinstance(reply, UnprocessableError), (message, reply)
        if isinstance(reply, Exception):
            raise reply
        return reply


def accept_of(submit):
    return Accept(
        submit.run_id,
        submit.task,
        submit.tenant,
        submit.priority,
        submit.expires_in_s,
        submit.group,
        submit.idempotency,
        submit.digest,
    )


@dataclass
class Answer:
    """An answer; of a stream that does not end, what came first."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def json(self):
        return json.loads(self.body)

    def problem(self, status):
        """Return the problem document that this must be."""
        assert self.status == status, (self.status, self.body)
        assert self.headers["content-type"] == "application/problem+json"
        assert self.json["status"] == status
        return self.json


@dataclass
class Service:
    """The application; `most` is how many pieces of an answer are read before the connection is closed."""

    tokens: dict[str, str] = field(default_factory=dict)
    host: str = "localhost:8000"
    client: str = "127.0.0.1"
    most: int = 50

    def __post_init__(self):
        self.gateway = DeskGateway()
        named = ",".join(f"{name}={token}" if name else token for name, token in self.tokens.items())
        self.app = make_application(digests(named), lambda: self.gateway)

    def begin_anew(self):
        """Have an empty journal, and return it."""
        self.gateway.desk = Desk()
        self.gateway.desk.open()
        return self.desk

    @property
    def desk(self):
        return self.gateway.desk

    @contextlib.asynccontextmanager
    async def running(self):
        """Have the application start, and end."""
        events, ended = asyncio.Queue(), asyncio.Queue()
        events.put_nowait({"type": "lifespan.startup"})
        living = asyncio.create_task(self.app({"type": "lifespan"}, events.get, ended.put))
        assert (await ended.get())["type"] == "lifespan.startup.complete"
        try:
            yield self
        finally:
            events.put_nowait({"type": "lifespan.shutdown"})
            await living

    async def __call__(self, method, path, document=None, *, by=None, query="", **headers):
        """Return the answer to a request with a JSON document; header names are written with underscores."""
        body = b"" if document is None else json.dumps(document).encode()
        kind = {} if document is None else {"content_type": "application/json"}
        return await self.send(method, path, body, by=by, query=query, **{**kind, **headers})

    async def send(self, method, path, body=b"", *, pieces=None, **asked):
        """Return the answer to a request with these bytes as its body, in one piece or several."""
        return await self.exchange(
            self.scope(method, path, **asked), [body] if pieces is None else list(pieces)
        )

    def scope(self, method, path, *, by=None, query="", root="", **headers):
        """Return a request as a server hands it to an application."""
        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if by is not None:
            named.append((b"authorization", f"Bearer {self.tokens[by]}".encode()))
        if not any(name == b"host" for name, _ in named):
            named.append((b"host", self.host.encode()))
        raw = path if path.isascii() else quote(path)
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": root + path,
            "raw_path": root.encode() + raw.encode(),
            "root_path": root,
            "scheme": "http",
            "query_string": query if isinstance(query, bytes) else query.encode(),
            "headers": named,
            "server": ("127.0.0.1", 8000),
            "client": (self.client, 50_000),
        }

    async def exchange(self, scope, pieces):
        """Return the answer to a request whose body comes in pieces."""
        gone, sent = asyncio.Event(), []

        async def receive():
            if pieces:
                piece = pieces.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)
            if len(sent) > self.most:
                gone.set()

        await self.app(scope, receive, send)
        start = sent[0]
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], headers, b"".join(each.get("body", b"") for each in sent))

"""A real server in this process that behaves, and misbehaves, as a test tells it to; and an endpoint to ask.

The fixtures `server` and `endpoint` give a test one of each, joined.
"""

from __future__ import annotations

import asyncio
import contextlib

import orjson
from aiohttp import web
from pydantic import TypeAdapter

from actors.core.messages.attempts import Attempt
from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import EndpointSettings
from actors.llm.fields import FieldSpec
from actors.llm.forms import AnswerForm
from actors.llm.http_endpoint import HttpEndpoint
from simulators.dialects.anthropic import SimulatedAnthropic
from simulators.dialects.bedrock import SimulatedBedrock
from simulators.dialects.chat import SimulatedChat
from simulators.dialects.dialect import ModelReply, Question
from simulators.dialects.gemini import SimulatedGemini
from simulators.dialects.responses import SimulatedResponses

KEY = "sk-canary-0123456789"
NOON = 1_795_694_400.0  # Thursday, 26 November 2026, 12:00:00 GMT
SCORE = TypeAdapter(dict[str, FieldSpec]).validate_python({"x": {"type": "number", "min": 0, "max": 1}})
FORMS = {
    "evaluate": AnswerForm("evaluate", SCORE, 50),
    "finding": AnswerForm("finding", {}, 70, instructions="Be brief."),
    "vector": AnswerForm("vector", {}, 1, vector="vector"),
}


def completion(content='{"x": 0.5}', usage=(1000, 500)):
    document = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    if usage:
        document["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return orjson.dumps(document)


SPOKEN = {
    "anthropic": SimulatedAnthropic(),
    "bedrock": SimulatedBedrock(),
    "chat": SimulatedChat(),
    "gemini": SimulatedGemini(),
    "responses": SimulatedResponses(),
}


class SpokenDialect:
    """An endpoint of one dialect, and the bytes that a server of this dialect sends it."""

    def __init__(self, name, endpoint):
        self.endpoint = endpoint
        self._server = SPOKEN[name]
        self.stream_type = self._server.stream_type

    def answer(self, content='{"x": 0.5}'):
        return self._server.completion(*_told(content))

    def events(self, content='{"x": 0.5}'):
        found = self._server.events(*_told(content))
        return [*found, self._server.end] if self._server.end else found


def _told(content):
    question = Question((), "sim", "", 1000, 50, None, stream=False)
    return question, ModelReply("one", "sim", 0, content, False, 1000, 500, 0, 0, True)


class ScriptedServer:
    """Answers each request by `behaviour`, an async function from the request to a response."""

    def __init__(self):
        self.behaviour = None
        self.requests = []
        self.connections = set()
        self.held_up = asyncio.Event()  # for behaviours that do not answer: nobody sets it
        self.gave_up = asyncio.Event()  # set when the other side hangs up on a request
        self.url = ""

    async def handle(self, request):
        self.requests.append((request.path, dict(request.headers), await request.read()))
        self.connections.add(request.transport)
        try:
            return await self.behaviour(request)
        except asyncio.CancelledError:
            self.gave_up.set()
            raise

    def answer(self, body=b"", status=200, **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}

        async def respond(request):
            return web.Response(body=body, status=status, headers=names)

        self.behaviour = respond

    def answer_and_break(self, body, status=200, length=10_000):
        async def respond(request):
            response = web.StreamResponse(status=status, headers={"Content-Length": str(length)})
            await response.prepare(request)
            await response.write(body)
            request.transport.abort()
            return response

        self.behaviour = respond

    def answer_and_stall(self, body, status=200):
        async def respond(request):
            response = web.StreamResponse(status=status, headers={"Content-Length": "10000"})
            await response.prepare(request)
            await response.write(body)
            await self.held_up.wait()
            return response

        self.behaviour = respond

    def flood(self, status=200):
        async def respond(request):
            response = web.StreamResponse(status=status)
            await response.prepare(request)
            while True:
                await response.write(b" " * 65536)

        self.behaviour = respond


@contextlib.asynccontextmanager
async def open_endpoint(url, **settings):
    described = {"name": "main", "base_url": url, "model": "sim", "api_key": KEY, "describe_output": False}
    endpoint = HttpEndpoint(
        dialect_of(EndpointSettings.model_validate(described | settings)), FORMS, wall_clock=lambda: NOON
    )
    yield endpoint
    await endpoint.close()


def attempt(number=1, form="evaluate", prompt="Rate it.", expires_in_s=60.0, correction=None):
    return Attempt(number, "call", "main", form, prompt, 1, f"idem-{number}", expires_in_s, correction)


async def ask(endpoint, timeout_s=60.0, **changes):
    ended = await endpoint.attempt(attempt(**changes), timeout_s)
    assert (ended.values is None) != (ended.error is None)
    assert KEY not in repr(ended)
    return ended

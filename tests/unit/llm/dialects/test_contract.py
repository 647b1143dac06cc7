"""The dialects that are built in keep the contract that a dialect of another package has to keep.

The bytes are those of the simulated dialects.
"""

from __future__ import annotations

import pytest

from actors.llm.dialects.registry import dialect_names, dialect_of
from headrace.testing import DialectContract
from simulators.dialects.anthropic import SimulatedAnthropic
from simulators.dialects.azure import SimulatedAzure
from simulators.dialects.bedrock import SimulatedBedrock
from simulators.dialects.chat import SimulatedChat
from simulators.dialects.dialect import ModelReply, Question
from simulators.dialects.gemini import SimulatedGemini
from simulators.dialects.responses import SimulatedResponses

QUESTION = Question((), "model-7", "", 12, 50, None, stream=True)
SERVERS = {
    "anthropic": SimulatedAnthropic(),
    "azure": SimulatedAzure(),
    "bedrock": SimulatedBedrock(),
    "chat": SimulatedChat(),
    "cohere": SimulatedChat(),
    "gemini": SimulatedGemini(),
    "responses": SimulatedResponses(),
}


def reply(text):
    return ModelReply("id", "model-7", 0, text, False, 12, 9, 0, 0, True)


class TestBuiltIn(DialectContract):
    @pytest.fixture(autouse=True, params=SERVERS)
    def _of(self, request):
        self.name = request.param
        self.server = SERVERS[self.name]

    def dialect(self, settings):
        return dialect_of(settings.model_copy(update={"dialect": self.name}))

    def answer(self, text):
        return self.server.completion(QUESTION, reply(text))

    def stream(self, text):
        return b"".join(self.server.events(QUESTION, reply(text))) + self.server.end

    def passing(self):
        return [self._error(429, "requests", "5"), self._error(503, None, None)]

    def lasting(self):
        return [self._error(401, None, None), self._error(403, None, None), self._error(404, None, None)]

    def _error(self, status, kind, retry_after):
        body, headers = self.server.error(status, kind, "no", retry_after)
        return status, {name.lower(): value for name, value in headers.items()}, body


def test_every_built_in_dialect_is_held_to_the_contract():
    assert set(SERVERS) == set(dialect_names())

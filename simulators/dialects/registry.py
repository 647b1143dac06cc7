"""The dialects that the simulated endpoint speaks."""

from __future__ import annotations

from typing import Final

from simulators.dialects.anthropic import SimulatedAnthropic
from simulators.dialects.azure import SimulatedAzure
from simulators.dialects.bedrock import SimulatedBedrock
from simulators.dialects.chat import SimulatedChat
from simulators.dialects.dialect import SimulatedDialect
from simulators.dialects.embeddings import (
    SimulatedCohereEmbeddings,
    SimulatedEmbeddings,
    SimulatedGeminiEmbeddings,
    SimulatedTitan,
    SimulatedVertexEmbeddings,
)
from simulators.dialects.gemini import SimulatedGemini
from simulators.dialects.rerank import SimulatedRerank
from simulators.dialects.responses import SimulatedResponses

CHAT: Final = SimulatedChat()
_DIALECTS: Final[tuple[SimulatedDialect, ...]] = (
    CHAT,
    SimulatedAnthropic(),
    SimulatedAzure(),
    SimulatedEmbeddings(),
    SimulatedGeminiEmbeddings(),
    SimulatedVertexEmbeddings(),
    SimulatedCohereEmbeddings(),
    SimulatedTitan(),
    SimulatedGemini(),
    SimulatedBedrock(),
    SimulatedResponses(),
    SimulatedRerank(),
)


def dialect_at(method: str, path: str) -> SimulatedDialect | None:
    """Return the dialect of a request with this method and path, None if it is no question to a model."""
    for dialect in _DIALECTS:
        if dialect.matches(method, path):
            return dialect
    return None

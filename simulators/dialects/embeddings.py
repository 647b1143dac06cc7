"""Simulated embeddings of OpenAI, Azure, Cohere, Google and Titan: equal texts have equal vectors."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Mapping, Sequence
from math import hypot
from typing import Any, Final
from urllib.parse import unquote

import orjson

from simulators.dialects.bedrock import SimulatedBedrock
from simulators.dialects.dialect import (
    BadQuestionError,
    ModelReply,
    Question,
    SimulatedDialect,
    VectorFormat,
    listed,
    loaded,
    size_of,
)
from simulators.dialects.gemini import SimulatedGemini

_PATH: Final = re.compile(r"(/openai)?/(v1|deployments/[^/]+)/embeddings")
_GEMINI_PATH: Final = re.compile(r"/(?:.+/)?models/([^/]+):(embedContent|batchEmbedContents)")
_VERTEX_PATH: Final = re.compile(r"/.+/models/([^/]+):predict")
_COHERE_PATH: Final = "/v2/embed"
_TITAN_PATH: Final = re.compile(r"/model/([^/]+)/invoke")
_DIMENSIONS: Final = 1536
_MOST_DIMENSIONS: Final = 65_536


class SimulatedEmbeddings(SimulatedDialect):
    """OpenAI's embeddings."""

    def matches(self, method: str, path: str) -> bool:
        """Return whether vectors are asked for."""
        return method == "POST" and _PATH.fullmatch(path) is not None

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> Question:  # noqa: ARG002 - the body has it all
        """Return the question in a request."""
        document = loaded(body)
        given = document.get("input")
        wanted = document.get("dimensions", document.get("output_dimension"))  # the second: of Voyage
        is_base64 = "base64" in (
            document.get("encoding_format"),
            document.get("embedding_type"),
        )  # same: of Jina
        vectors = VectorFormat(_dimensions(wanted), is_base64)
        return _question(
            [given] if isinstance(given, str) else given, str(document.get("model", "")), vectors
        )

    def completion(self, question: Question, reply: ModelReply) -> bytes:
        """Return the vectors of the texts."""
        data = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(_vectors(question))
        ]
        document: dict[str, Any] = {"object": "list", "data": data, "model": reply.model}
        if reply.has_usage:
            document["usage"] = {"prompt_tokens": reply.input_tokens, "total_tokens": reply.input_tokens}
        return orjson.dumps(document)

    def events(self, question: Question, reply: ModelReply) -> list[bytes]:  # noqa: ARG002 - there is no stream
        """Return nothing: vectors are not streamed."""
        return []


class SimulatedGeminiEmbeddings(SimulatedGemini):
    """Google's embedContent for one text, and batchEmbedContents, which Google's own client uses."""

    def matches(self, method: str, path: str) -> bool:
        """Return whether vectors are asked for."""
        return method == "POST" and _GEMINI_PATH.fullmatch(path) is not None

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> Question:  # noqa: ARG002 - the path and the body have it all
        """Return the question in a request."""
        found = _GEMINI_PATH.fullmatch(path)
        document = loaded(body)
        asked = listed(document.get("requests", [document]), "requests")
        texts = [_text_of(each) for each in asked]
        options = asked[0].get("embedContentConfig", asked[0])  # the first: of a project
        vectors = VectorFormat(_dimensions(options.get("outputDimensionality")), is_base64=False)
        return _question(texts, found[1] if found else "", vectors)

    def completion(self, question: Question, reply: ModelReply) -> bytes:
        """Return the vectors of the texts, in the members of both methods."""
        vectors = [{"values": vector} for vector in _vectors(question)]
        document: dict[str, Any] = {"embedding": vectors[0], "embeddings": vectors}
        if reply.has_usage:
            document["usageMetadata"] = {"promptTokenCount": reply.input_tokens}
        return orjson.dumps(document)


class SimulatedVertexEmbeddings(SimulatedGemini):
    """The method predict of Vertex AI."""

    def matches(self, method: str, path: str) -> bool:
        """Return whether vectors are asked for."""
        return method == "POST" and _VERTEX_PATH.fullmatch(path) is not None

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> Question:  # noqa: ARG002 - the path and the body have it all
        """Return the question in a request."""
        found = _VERTEX_PATH.fullmatch(path)
        document = loaded(body)
        texts = [each.get("content") for each in listed(document.get("instances"), "instances")]
        wanted = (document.get("parameters") or {}).get("outputDimensionality")
        vectors = VectorFormat(_dimensions(wanted), is_base64=False)
        return _question(texts, found[1] if found else "", vectors)

    def completion(self, question: Question, reply: ModelReply) -> bytes:
        """Return the vectors of the texts."""
        statistics = {"truncated": False}
        predictions = [
            {"embeddings": {"values": vector, "statistics": statistics | {"token_count": tokens}}}
            for vector, tokens in zip(_vectors(question), _shares(question, reply), strict=True)
        ]
        return orjson.dumps({"predictions": predictions})


class SimulatedCohereEmbeddings(SimulatedDialect):
    """Cohere's embeddings."""

    def matches(self, method: str, path: str) -> bool:
        """Return whether vectors are asked for."""
        return method == "POST" and path == _COHERE_PATH

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> Question:  # noqa: ARG002 - the body has it all
        """Return the question in a request."""
        document = loaded(body)
        if not isinstance(document.get("input_type"), str):
            raise BadQuestionError("input_type is required")
        vectors = VectorFormat(
            _dimensions(document.get("output_dimension")), document.get("embedding_types") == ["base64"]
        )
        return _question(document.get("texts"), str(document.get("model", "")), vectors)

    def completion(self, question: Question, reply: ModelReply) -> bytes:
        """Return the vectors of the texts."""
        name = "base64" if question.vectors and question.vectors.is_base64 else "float"
        document: dict[str, Any] = {"id": reply.id, "embeddings": {name: _vectors(question)}}
        if reply.has_usage:
            document["meta"] = {"billed_units": {"input_tokens": reply.input_tokens}}
        return orjson.dumps(document)

    def events(self, question: Question, reply: ModelReply) -> list[bytes]:  # noqa: ARG002 - there is no stream
        """Return nothing: vectors are not streamed."""
        return []


class SimulatedTitan(SimulatedBedrock):
    """The embeddings of Amazon Titan."""

    def matches(self, method: str, path: str) -> bool:
        """Return whether a vector is asked for."""
        return method == "POST" and _TITAN_PATH.fullmatch(path) is not None

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> Question:  # noqa: ARG002 - the path and the body have it all
        """Return the question in a request."""
        found = _TITAN_PATH.fullmatch(path)
        document = loaded(body)
        vectors = VectorFormat(_dimensions(document.get("dimensions")), is_base64=False)
        return _question([document.get("inputText")], unquote(found[1]) if found else "", vectors)

    def completion(self, question: Question, reply: ModelReply) -> bytes:
        """Return the vector of the text."""
        document: dict[str, Any] = {"embedding": _vectors(question)[0]}
        if reply.has_usage:
            document["inputTextTokenCount"] = reply.input_tokens
        return orjson.dumps(document)


def vector_of(text: str, dimensions: int) -> list[float]:
    """Return the vector of `text`."""
    digest = hashlib.shake_256(text.encode()).digest(2 * dimensions)
    numbers: Sequence[int] = struct.unpack(f"<{dimensions}h", digest)
    length = hypot(*numbers) or 1.0
    return [number / length for number in numbers]


def _question(texts: Any, model: str, vectors: VectorFormat) -> Question:
    if not isinstance(texts, list) or not texts or not all(isinstance(each, str) and each for each in texts):
        raise BadQuestionError("the input must be a text that is not empty, or a list of them")
    messages = [{"role": "user", "content": text} for text in texts]
    text, input_tokens = size_of(messages)
    return Question(
        messages=messages,
        model=model,
        text=text,
        input_tokens=input_tokens,
        max_tokens=1,
        schema=None,
        stream=False,
        vectors=vectors,
    )


def _text_of(request: Mapping[str, Any]) -> str | None:
    match request.get("content"):
        case {"parts": [{"text": str(text)}]}:
            return text
    return None


def _shares(question: Question, reply: ModelReply) -> list[int]:
    """Return the tokens of each text, whose sum is that of the reply."""
    least = [len(message["content"]) // 4 for message in question.messages]
    return [reply.input_tokens - sum(least[1:]), *least[1:]]


def _vectors(question: Question) -> list[str | list[float]]:
    written = question.vectors or VectorFormat(_DIMENSIONS, is_base64=False)
    return [_written(message["content"], written) for message in question.messages]


def _written(text: str, vectors: VectorFormat) -> str | list[float]:
    numbers = vector_of(text, vectors.dimensions)
    if not vectors.is_base64:
        return numbers
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _dimensions(wanted: Any) -> int:
    wanted = _DIMENSIONS if wanted is None else wanted
    if type(wanted) is not int or not 1 <= wanted <= _MOST_DIMENSIONS:
        raise BadQuestionError(f"dimensions must be a whole number from 1 to {_MOST_DIMENSIONS:,}")
    return wanted

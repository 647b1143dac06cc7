"""Simulated embeddings of OpenAI's API and of Azure OpenAI: equal texts have equal vectors of length 1."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Mapping, Sequence
from math import hypot
from typing import Any, Final

import orjson

from simulators.dialects.dialect import (
    BadQuestionError,
    ModelReply,
    Question,
    SimulatedDialect,
    VectorFormat,
    loaded,
    size_of,
)

_PATH: Final = re.compile(r"(/openai)?/(v1|deployments/[^/]+)/embeddings")
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
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not texts or not all(isinstance(each, str) for each in texts):
            raise BadQuestionError("input must be a text, or a list of texts")
        if "" in texts:
            raise BadQuestionError("input must not be empty")
        messages = [{"role": "user", "content": text} for text in texts]
        text, input_tokens = size_of(messages)
        return Question(
            messages=messages,
            model=str(document.get("model", "")),
            text=text,
            input_tokens=input_tokens,
            max_tokens=1,
            schema=None,
            stream=False,
            vectors=VectorFormat(_dimensions(document), document.get("encoding_format") == "base64"),
        )

    def completion(self, question: Question, reply: ModelReply) -> bytes:
        """Return the vectors of the texts."""
        vectors = question.vectors or VectorFormat(_DIMENSIONS, is_base64=False)
        data = [
            {"object": "embedding", "index": index, "embedding": _written(message["content"], vectors)}
            for index, message in enumerate(question.messages)
        ]
        document: dict[str, Any] = {"object": "list", "data": data, "model": reply.model}
        if reply.has_usage:
            document["usage"] = {"prompt_tokens": reply.input_tokens, "total_tokens": reply.input_tokens}
        return orjson.dumps(document)

    def events(self, question: Question, reply: ModelReply) -> list[bytes]:  # noqa: ARG002 - there is no stream
        """Return nothing: vectors are not streamed."""
        return []


def vector_of(text: str, dimensions: int) -> list[float]:
    """Return the vector of `text`."""
    digest = hashlib.shake_256(text.encode()).digest(2 * dimensions)
    numbers: Sequence[int] = struct.unpack(f"<{dimensions}h", digest)
    length = hypot(*numbers) or 1.0
    return [number / length for number in numbers]


def _written(text: str, vectors: VectorFormat) -> str | list[float]:
    numbers = vector_of(text, vectors.dimensions)
    if not vectors.is_base64:
        return numbers
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _dimensions(document: Mapping[str, Any]) -> int:
    wanted = document.get("dimensions", _DIMENSIONS)
    if type(wanted) is not int or not 1 <= wanted <= _MOST_DIMENSIONS:
        raise BadQuestionError(f"dimensions must be a whole number from 1 to {_MOST_DIMENSIONS:,}")
    return wanted

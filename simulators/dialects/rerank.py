"""Simulated rankings of Cohere, Voyage and others: relevant is what shares words with the query."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from simulators.dialects.dialect import (
    BadQuestionError,
    ModelReply,
    Question,
    SimulatedDialect,
    loaded,
    size_of,
)

_PATH: Final = re.compile(r"/(v1|v2)/rerank")
_COHERE: Final = "v2"
_VOYAGE: Final = re.compile(r"rerank-(lite-)?\d")
_DOCUMENTS_OF_A_SEARCH: Final = 100
_WORD: Final = re.compile(r"\w+")


class SimulatedRerank(SimulatedDialect):
    """Rankings: of Cohere under ``/v2``, of Voyage for its models, else of Jina, Together and vLLM."""

    def matches(self, method: str, path: str) -> bool:
        """Return whether a ranking is asked for."""
        return method == "POST" and _PATH.fullmatch(path) is not None

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> Question:  # noqa: ARG002 - the path and the body have it all
        """Return the question in a request."""
        document = loaded(body)
        found = _PATH.fullmatch(path)
        query, documents = document.get("query"), document.get("documents")
        if not isinstance(query, str) or not query:
            raise BadQuestionError("query must be a text that is not empty")
        is_list = isinstance(documents, list) and documents
        if not is_list or not all(isinstance(each, str) for each in documents or ()):
            raise BadQuestionError("documents must be a list of at least one text")
        texts = [query, *(documents or ())]
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
            ranking=found[1] if found else "",
        )

    def completion(self, question: Question, reply: ModelReply) -> bytes:
        """Return the ranking, the most relevant document first."""
        query, *documents = (str(message["content"]) for message in question.messages)
        results = [
            {"index": index, "relevance_score": relevance(query, text)}
            for index, text in enumerate(documents)
        ]
        results.sort(key=lambda each: -float(each["relevance_score"]))
        total = {"total_tokens": reply.input_tokens}
        answer: dict[str, Any] = {"id": reply.id, "model": reply.model, "results": results}
        if question.ranking == _COHERE:
            searches = -(-len(documents) // _DOCUMENTS_OF_A_SEARCH)
            billed = {"search_units": searches}
            answer = {"id": reply.id, "results": results, "meta": {"billed_units": billed}}
        elif _VOYAGE.match(question.model):
            answer = {"object": "list", "data": results, "model": reply.model, "usage": total}
        elif reply.has_usage:
            answer["usage"] = {"prompt_tokens": reply.input_tokens, **total}
        return orjson.dumps(answer)

    def events(self, question: Question, reply: ModelReply) -> list[bytes]:  # noqa: ARG002 - there is no stream
        """Return nothing: rankings are not streamed."""
        return []


def relevance(query: str, document: str) -> float:
    """Return the share of the words of `query` that `document` has."""
    wanted, had = (set(_WORD.findall(text.lower())) for text in (query, document))
    return len(wanted & had) / max(1, len(wanted))

"""The requests and answers of rankings: how relevant documents are to a query.

Cohere, Jina, Together, vLLM and Voyage have the same request, ``{model, query, documents}``. Voyage answers
with ``data`` in place of ``results``. All rank every document unless a request bounds their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import orjson
from msgspec import Struct

from actors.core.messages.calls import Correction
from actors.core.messages.values import Json, TokenCounts
from actors.core.task.ranking import MOST_DOCUMENTS
from actors.llm.dialects.dialect import ParsedAnswer
from actors.llm.dialects.reading import member, said, tokens
from actors.llm.dialects.turns import encodable
from actors.llm.forms import AnswerForm, AnswerProblem, Values
from actors.llm.requests.vectors import input_count

PATH = "/rerank"
_MOST_REQUESTS = 1_000  # that are billed for one


class PreparedRanking(Struct, frozen=True):
    """The bytes of a request's body before the query and the documents, which are the prompt, as JSON."""

    form: AnswerForm
    head: bytes

    @classmethod
    def of(cls, form: AnswerForm, model: str, parameters: Mapping[str, Json]) -> PreparedRanking:
        """Prepare requests of `form` with these members in the body."""
        return cls(form, orjson.dumps({**parameters, "model": model})[:-1] + b",")

    def body(self, prompt: str, correction: Correction | None, *, stream: bool = False) -> bytes:  # noqa: ARG002 - a ranking is neither corrected nor streamed
        """Return the body for `prompt`."""
        return self.head + encodable(prompt).encode()[1:]


def read_ranking(form: AnswerForm, document: dict[str, Json]) -> ParsedAnswer:
    """Read the answer to a request for a ranking. Never raises."""
    results = document.get("results", document.get("data"))
    billed = member(document, "meta", "billed_units")
    asked = tokens(input_count(document.get("usage")))
    counts = TokenCounts(
        asked, None if asked is None else 0, requests=_requests(member(billed, "search_units"))
    )
    if not isinstance(results, list):
        error = document.get("error", document.get("message"))
        cause = f": {said(error)}" if error else ""
        problem = AnswerProblem(f"the endpoint answered without a ranking{cause}")
        return ParsedAnswer(problem, None, counts, is_completion=asked is not None)
    return ParsedAnswer(_value(form, results), None, counts)


def ranking_problem(form: AnswerForm, prompt: str, values: Values | None) -> str | None:
    """Return what is wrong with a list of numbers that is not one for each document in `prompt`, else None.

    An answer does not say how many documents were sent: one that lacks the last of them seems complete.
    """
    scores = values.get(form.ranking) if values and form.ranking and form.is_list else None
    if not isinstance(scores, list):
        return None
    sent = len(orjson.loads(encodable(prompt))["documents"])
    if len(scores) == sent:
        return None
    return f"the ranking has {len(scores)} documents, and {sent} were sent"


def _value(form: AnswerForm, results: list[Json]) -> Values | AnswerProblem:
    """Return the value of `form` for the ranking of all documents, or its problem."""
    if len(results) > MOST_DOCUMENTS:
        return AnswerProblem(f"the ranking has more than {MOST_DOCUMENTS} documents")
    found: dict[int, float] = {}
    for result in results:
        match result:
            case {"index": index, "relevance_score": score} if type(index) is int and _is_finite(score):
                found[index] = float(score)
            case _:
                return AnswerProblem(f"a result of the ranking is no index with a number: {said(result)}")
    if found.keys() != set(range(len(results))):
        return AnswerProblem("the ranking leaves documents out, or has one twice")
    if form.is_list:
        return {form.ranking: [found[index] for index in range(len(found))]}
    if len(found) != 1:
        return AnswerProblem(f"the ranking has {len(found)} documents, and one was sent")
    return {form.ranking: found[0]}


def _is_finite(score: Json) -> bool:
    return isinstance(score, int | float) and not isinstance(score, bool) and isfinite(score)


def _requests(units: Json) -> float:
    """Return a plausible number of billed requests, else 1."""
    is_number = isinstance(units, int | float) and not isinstance(units, bool)
    return float(units) if is_number and 0 <= units <= _MOST_REQUESTS else 1.0

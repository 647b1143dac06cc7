"""Requests for rankings, and which answers are read as the relevance of every document."""

from __future__ import annotations

import pickle
from typing import ClassVar

import orjson
import pytest

from actors.core.errors import FailureKind
from actors.core.messages.attempts import Attempt
from actors.core.messages.values import TokenCounts
from actors.core.task.ranking import documents_in, ranking_prompt
from actors.core.task.templates import NullValueError
from actors.llm.dialects.chat import ChatDialect
from actors.llm.dialects.dialect import LibraryAnswer
from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import EndpointSettings
from actors.llm.forms import AnswerForm, AnswerProblem
from actors.llm.http_endpoint import HttpEndpoint
from actors.llm.requests.head import plain_url

USAGE = {"prompt_tokens": 7, "total_tokens": 7}


def dialect(**more):
    usual = {"name": "r", "base_url": "http://h/v1", "model": "m"}
    return dialect_of(EndpointSettings.model_validate(usual | more))


def form(*, is_list=False):
    return AnswerForm("f", {}, 1, ranking="relevance", is_list=is_list)


def results(*scores):
    """Return the results with these scores, the highest first."""
    found = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
    return sorted(found, key=lambda each: -each["relevance_score"])


def test_a_form_of_a_list_is_one_in_another_process_too():
    sent = pickle.loads(pickle.dumps(form(is_list=True)))  # noqa: S301 - made here
    assert (sent.ranking, sent.is_list, sent.vector, sent.is_plain) == ("relevance", True, "", True)


def test_a_request_has_the_query_and_the_documents_of_its_prompt():
    one = dialect(params={"truncation": True}, system="Be brief.")
    prepared = one.prepare(one.asked(form()))
    body = prepared.body(ranking_prompt('a "b"', ["x \ud83d", "y"]), None, stream=True)
    assert orjson.loads(body) == {
        "truncation": True,
        "model": "m",
        "query": 'a "b"',
        "documents": ["x ?", "y"],
    }


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        ({"results": results(0.2, 0.9, -1), "usage": USAGE}, TokenCounts(7, 0)),  # Jina, Together, vLLM
        ({"data": results(0.2, 0.9, -1), "usage": {"total_tokens": 7}}, TokenCounts(7, 0)),  # Voyage
        (
            {"results": results(0.2, 0.9, -1), "meta": {"billed_units": {"search_units": 3}}},
            TokenCounts(requests=3.0),  # Cohere
        ),
        ({"results": results(0.2, 0.9, -1), "meta": {"billed_units": {"search_units": 1e9}}}, TokenCounts()),
    ],
)
def test_a_ranking_becomes_a_number_for_each_document_in_their_order(answer, tokens):
    found = dialect().read(form(is_list=True), orjson.dumps(answer))
    assert (found.found, found.tokens, found.content) == ({"relevance": [0.2, 0.9, -1.0]}, tokens, None)
    only = dialect().read(form(), orjson.dumps({"results": results(0.25), "usage": USAGE}))
    assert only.found == {"relevance": 0.25}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (results(0.1, 0.2), "has 2 documents, and one was sent"),
        ([], "has 0 documents"),
        ([{"index": 1, "relevance_score": 0.1}], "leaves documents out"),
        ([{"index": 0, "relevance_score": "0.1"}], "no index with a number"),
        ([{"index": False, "relevance_score": 0.1}], "no index with a number"),
        ([{"index": 0, "relevance_score": True}], "no index with a number"),
        ([*results(0.1), *results(0.2)], "has one twice"),
        ([7], "no index with a number: 7"),
        (results(*[0] * 1_001), "more than 1000 documents"),
    ],
)
def test_what_ranks_not_every_document_is_a_problem_that_is_billed(given, says):
    answer = dialect().read(form(), orjson.dumps({"results": given, "usage": USAGE}))
    assert isinstance(answer.found, AnswerProblem)
    assert says in answer.found.text
    assert answer.tokens == TokenCounts(7, 0)


class Ranker(ChatDialect):
    """Answers every request by a library with the results `given`."""

    uses_library = True
    given: ClassVar[list[object]] = []

    def client(self):
        return self

    async def send(self, _body, _key):
        return LibraryAnswer(200, orjson.dumps({"results": self.given, "usage": USAGE}))


@pytest.mark.parametrize("scores", [[1.0, 0.9, 0.8], [1.0, 0.9], [1.0], [], [1.0, 0.9, 0.8, 0.7]])
async def test_a_ranking_has_a_number_for_each_document_that_was_sent(monkeypatch, scores):
    monkeypatch.setattr(Ranker, "given", results(*scores))
    price = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0, "request_usd": 0.25}
    settings = EndpointSettings.model_validate(
        {"name": "r", "base_url": "http://h/v1", "model": "m", "price": price}
    )
    endpoint = HttpEndpoint(Ranker(settings), {"f": form(is_list=True)})
    prompt = ranking_prompt("q", ["a", "b \ud83d", "c"])

    ended = await endpoint.attempt(Attempt(1, "call", "r", "f", prompt, 1, "idem-1", 60.0), 10.0)

    assert ended.usage.cost_usd > 0.25  # it is billed
    if len(scores) == 3:
        assert ended.values == {"relevance": scores}
        return
    assert ended.values is None
    assert ended.error.kind is FailureKind.UNUSABLE
    assert f"the ranking has {len(scores)} documents, and 3 were sent" in ended.error.message


@pytest.mark.parametrize("document", [{}, {"results": 7}, {"message": "no"}, []])
def test_a_body_without_a_ranking_is_no_answer(document):
    answer = dialect().read(form(), orjson.dumps(document))
    assert isinstance(answer.found, AnswerProblem)
    assert not answer.is_completion


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"base_url": "http://h/v1/chat/completions"}, "http://h/v1/rerank"),
        ({"dialect": "cohere", "base_url": "http://h"}, "http://h/v2/rerank"),
        ({"query": {"a": "b"}}, "http://h/v1/rerank?a=b"),
        *(({"dialect": name}, "None") for name in ("anthropic", "azure", "bedrock", "gemini", "responses")),
    ],
)
def test_rankings_have_a_url_of_their_own(settings, url):
    assert str(plain_url(dialect(**settings), form())) == url


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (["a", "b"], ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),  # of a CSV file
        ("only one", ["only one"]),
        ("[draft] not JSON", ["[draft] not JSON"]),
    ],
)
def test_documents_are_a_list_or_its_json(value, found):
    assert documents_in("c", value) == found


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        (None, NullValueError, "null in c"),
        (" ", NullValueError, "null in c"),
        ([], NullValueError, "no documents in c"),
        ("[1]", ValueError, "no list of texts"),
        ({"a": 1}, ValueError, "no list of texts"),
        (["a"] * 1001, ValueError, "has 1001, and a call has at most 1000"),
    ],
)
def test_what_are_no_documents_is_said(value, error, says):
    with pytest.raises(error, match=says):
        documents_in("c", value)

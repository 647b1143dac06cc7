"""Requests for vectors, and what becomes a value of their answers."""

from __future__ import annotations

import base64
import re
import struct

import orjson
import pytest

from actors.core.messages.calls import Correction
from actors.core.messages.values import TokenCounts
from actors.core.vectors import packed, unpacked
from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import EndpointSettings
from actors.llm.forms import AnswerForm, AnswerProblem
from actors.llm.requests.head import plain_url

NUMBERS = [0.1, -2.5, 1e-30]
CODED = base64.b64encode(struct.pack("<3f", *NUMBERS)).decode()


def dialect(**more):
    usual = {"name": "v", "base_url": "http://h/v1", "model": "m"}
    return dialect_of(EndpointSettings.model_validate(usual | more))


def form(**parameters):
    return AnswerForm("f", {}, 1, parameters=parameters, vector="embedding")


def read(document, **parameters):
    return dialect().read(form(**parameters), orjson.dumps(document))


def test_a_request_has_the_text_and_the_parameters_and_is_neither_streamed_nor_corrected():
    one = dialect(params={"user": "u"}, system="Be brief.")
    prepared = one.prepare(one.asked(form(dimensions=3)))
    for body in (
        prepared.body("a \ud83d", None, stream=True),
        prepared.body("a \ud83d", Correction("x", "y")),
    ):
        assert orjson.loads(body) == {
            "model": "m",
            "input": "a ?",
            "encoding_format": "base64",
            "dimensions": 3,
            "user": "u",
        }


@pytest.mark.parametrize("vector", [NUMBERS, CODED])
def test_numbers_and_base64_become_the_same_value(vector):
    answer = read({"data": [{"embedding": vector}], "usage": {"prompt_tokens": 7}}, dimensions=3)
    assert answer.found == {"embedding": CODED}
    assert answer.tokens == TokenCounts(7, 0)
    assert unpacked(CODED) == pytest.approx(NUMBERS, rel=1e-7)
    assert packed(unpacked(CODED)) == CODED


@pytest.mark.parametrize(
    ("vector", "says"),
    [
        ([], "empty"),
        ("", "empty"),
        ("AAA", "padding"),
        ("AAAA", "3 bytes"),
        ([1, "2"], "does not fit"),
        ([1e39], "does not fit|not finite"),
        (base64.b64encode(struct.pack("<f", float("nan"))).decode(), "not finite"),
        ([1, 2], "has 2 dimensions, not 3"),
        ({"a": 1}, "no list"),
        ([1] * 65_537, "more than 65536 dimensions"),
        ("AAAA" * 90_000, "more than 65536 dimensions"),
        ("é", "ASCII"),
    ],
)
def test_what_is_no_vector_of_the_length_is_a_problem_that_is_billed(vector, says):
    answer = read({"data": [{"embedding": vector}], "usage": {"prompt_tokens": 7}}, dimensions=3)
    assert isinstance(answer.found, AnswerProblem)
    assert re.search(says, answer.found.text)
    assert (answer.tokens, answer.content) == (TokenCounts(7, 0), None)


@pytest.mark.parametrize("document", [{}, {"data": []}, {"data": [7]}, {"error": {"message": "no"}}, []])
def test_a_body_without_a_vector_is_no_answer(document):
    answer = read(document)
    assert isinstance(answer.found, AnswerProblem)
    assert not answer.is_completion


TITAN = {"dialect": "bedrock", "base_url": "http://h", "model": "amazon.titan-embed-text-v2:0"}
GEMINI = {"dialect": "gemini", "base_url": "http://h/v1beta"}
PROJECT = "https://h/v1/projects/p/locations/l"
PREDICT = {"dialect": "gemini", "base_url": PROJECT, "model": "text-embedding-005"}
VERTEX = PREDICT | {"model": "gemini-embedding-001"}
COHERE = {"dialect": "cohere", "base_url": "http://h"}
VOYAGE = {"vectors_as": {"dimensions": "output_dimension", "encoding_format": "embedding_type"}}


@pytest.mark.parametrize(
    ("settings", "body", "answer"),
    [
        (
            GEMINI | {"params": {"taskType": "CLUSTERING"}},
            {
                "content": {"parts": [{"text": "a"}]},
                "outputDimensionality": 3,
                "taskType": "CLUSTERING",
            },
            {"embedding": {"values": NUMBERS}, "usageMetadata": {"promptTokenCount": 7}},
        ),
        (TITAN, {"inputText": "a", "dimensions": 3}, {"embedding": NUMBERS, "inputTextTokenCount": 7}),
        (
            PREDICT | {"params": {"taskType": "CLUSTERING", "autoTruncate": False}},
            {
                "parameters": {"outputDimensionality": 3, "autoTruncate": False},
                "instances": [{"task_type": "CLUSTERING", "content": "a"}],
            },
            {"predictions": [{"embeddings": {"values": NUMBERS, "statistics": {"token_count": 7.0}}}]},
        ),
        (
            VERTEX,
            {"embedContentConfig": {"outputDimensionality": 3}, "content": {"parts": [{"text": "a"}]}},
            {"embedding": {"values": NUMBERS}, "usageMetadata": {"promptTokenCount": 7}},
        ),
        (
            COHERE | {"params": {"input_type": "clustering"}},
            {
                "input_type": "clustering",
                "embedding_types": ["base64"],
                "output_dimension": 3,
                "model": "m",
                "texts": ["a"],
            },
            {"embeddings": {"base64": [CODED]}, "meta": {"billed_units": {"input_tokens": 7.0}}},
        ),
        (
            COHERE | {"params": {"embedding_types": ["float"]}},
            {
                "input_type": "search_document",
                "embedding_types": ["float"],
                "output_dimension": 3,
                "model": "m",
                "texts": ["a"],
            },
            {"embeddings": {"float": [NUMBERS]}, "meta": {"billed_units": {"input_tokens": 7}}},
        ),
        (
            VOYAGE,
            {"model": "m", "input": "a", "output_dimension": 3, "embedding_type": "base64"},
            {"data": [{"embedding": CODED}], "usage": {"total_tokens": 7}},
        ),
    ],
    ids=["gemini", "bedrock", "predict", "vertex", "cohere", "cohere numbers", "voyage"],
)
def test_other_dialects_have_forms_of_their_own(settings, body, answer):
    one = dialect(**settings)
    assert orjson.loads(one.prepare(form(dimensions=3)).body("a", None)) == body
    found = one.read(form(dimensions=3), orjson.dumps(answer))
    assert (found.found, found.tokens) == ({"embedding": CODED}, TokenCounts(7, 0))
    assert not one.read(form(), b"{}").is_completion


def test_a_body_with_the_text_alone_is_an_object():
    assert dialect(**TITAN).prepare(form()).body("a", None) == b'{"inputText":"a"}'


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (GEMINI, "http://h/v1beta/models/m:embedContent"),
        (PREDICT, f"{PROJECT}/publishers/google/models/text-embedding-005:predict"),
        (VERTEX, f"{PROJECT}/publishers/google/models/gemini-embedding-001:embedContent"),
        (COHERE, "http://h/v2/embed"),
        (TITAN, "http://h/model/amazon.titan-embed-text-v2%3A0/invoke"),
        (TITAN | {"model": "cohere.embed-v4"}, "None"),
        ({"base_url": "http://h/v1/chat/completions"}, "http://h/v1/embeddings"),
        ({"dialect": "azure", "base_url": "http://h"}, "http://h/openai/v1/embeddings"),
        (
            {"dialect": "azure", "base_url": "http://h", "query": {"api-version": "1"}},
            "http://h/openai/deployments/m/embeddings?api-version=1",
        ),
        ({"dialect": "anthropic"}, "None"),
    ],
)
def test_vectors_have_a_url_of_their_own(settings, url):
    assert str(plain_url(dialect(**settings), form())) == url

"""Questions, replies and settings of a simulated model."""

from __future__ import annotations

import statistics
from typing import Any

import orjson
import pytest

from simulators.answers import nonce_of
from simulators.dialects.dialect import BadQuestionError, ModelReply, Question
from simulators.dialects.registry import CHAT
from simulators.faults import FaultKind, FaultRule
from simulators.llm_model import LlmServerSettings, LlmServerSettingsError, change, reply_to

SCHEMA = {"type": "object", "properties": {"score": {"type": "number", "minimum": 0, "maximum": 1}}}


def body(prompt: str = "hello", **more: Any) -> bytes:
    return orjson.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}], **more})


def asked(content: bytes) -> Question:
    return CHAT.parse("/v1/chat/completions", {}, content)


def reply(
    key: str = "k", fault: FaultKind | None = None, settings: LlmServerSettings | None = None, **more: Any
) -> ModelReply:
    rule = None if fault is None else FaultRule(fault, 1.0)
    return reply_to(asked(body(**more)), settings or LlmServerSettings(), key, 7, rule)


def structured(fault: FaultKind | None = None) -> ModelReply:
    return reply(fault=fault, response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}})


@pytest.mark.parametrize(("characters", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (400, 100)])
def test_a_token_is_counted_for_each_four_characters_begun(characters, tokens):
    assert asked(body("x" * characters)).input_tokens == tokens


def test_the_contents_of_all_messages_and_parts_are_counted_together():
    parts = [{"type": "text", "text": "abc"}, {"type": "image_url", "image_url": {}}]
    messages = [{"role": "system", "content": "abc"}, {"role": "user", "content": parts}]
    assert asked(orjson.dumps({"messages": messages})).input_tokens == 2


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "must be an object"),
        (b"{}", "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": ["hello"]}', "messages"),
        (body(max_tokens=0), "max_tokens"),
        (body(max_tokens="9"), "max_tokens"),
        (body(response_format={"type": "json_schema"}), "schema must be an object"),
    ],
)
def test_a_body_that_is_no_question_is_refused_with_its_reason(question, message):
    with pytest.raises(BadQuestionError, match=message):
        asked(question)


def test_a_reply_depends_on_the_question_and_its_length_on_the_key():
    assert reply() == reply()
    assert reply(prompt="other").content != reply().content
    assert reply(key="other").content == reply().content
    assert len({reply(key=str(n)).output_tokens for n in range(50)}) > 10


def test_output_tokens_have_the_median_asked_for_and_the_ceiling_of_the_question():
    lengths = [reply(key=str(n)).output_tokens for n in range(2000)]
    assert statistics.median(lengths) == pytest.approx(60, rel=0.05)
    assert max(reply(key=str(n), max_tokens=50).output_tokens for n in range(50)) == 50


def test_usage_adds_up():
    usage = orjson.loads(CHAT.completion(asked(body()), reply()))["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == reply().output_tokens


def test_cached_and_reasoning_tokens_are_parts_of_the_usage():
    settings = LlmServerSettings(cached_share=0.75, reasoning_tokens=40)
    plain, thought = reply(prompt="x" * 400), reply(prompt="x" * 400, settings=settings)
    assert (thought.input_tokens, thought.cached_tokens) == (100, 75)
    assert (thought.output_tokens, thought.reasoning_tokens) == (plain.output_tokens + 40, 40)
    assert orjson.loads(CHAT.completion(asked(body()), thought))["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": thought.output_tokens,
        "total_tokens": 100 + thought.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 75},
        "completion_tokens_details": {"reasoning_tokens": 40},
    }


def test_reasoning_counts_against_the_ceiling_of_the_question():
    bounded = reply(settings=LlmServerSettings(reasoning_tokens=40), max_tokens=30)
    assert (bounded.output_tokens, bounded.reasoning_tokens) == (30, 30)


def test_each_fault_of_an_answer_bends_what_it_is_named_for():
    nonce = nonce_of([{"role": "user", "content": "hello"}])
    sound = orjson.loads(structured().content)
    assert 0 <= sound["score"] <= 1
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(structured(FaultKind.PROSE).content)
    assert not isinstance(orjson.loads(structured(FaultKind.WRONG_SCHEMA).content)["score"], int | float)
    assert orjson.loads(structured(FaultKind.OUT_OF_RANGE).content)["score"] > 1
    assert not structured(FaultKind.NO_USAGE).has_usage
    cut = structured(FaultKind.LENGTH)
    assert cut.is_cut
    assert structured().content.startswith(cut.content)
    assert cut.content != structured().content
    assert nonce in reply().content
    assert "nonce:" in reply(fault=FaultKind.OTHER_ANSWER).content
    assert nonce not in reply(fault=FaultKind.OTHER_ANSWER).content


def test_a_stream_tells_the_same_as_an_answer_in_one_piece():
    one, question = reply(), asked(body(stream=True, stream_options={"include_usage": True}))
    events = [orjson.loads(event.removeprefix(b"data: ")) for event in CHAT.events(question, one)]
    deltas = [event["choices"][0]["delta"] for event in events[:-1]]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content", "") for delta in deltas) == one.content
    assert [event["choices"][0]["finish_reason"] for event in events[:-1]] == [None] * (len(events) - 2) + [
        "stop"
    ]
    assert events[-1]["usage"] == orjson.loads(CHAT.completion(question, one))["usage"]
    assert len(CHAT.events(asked(body(stream=True)), one)) == len(events) - 1


def test_settings_change_by_name_and_keep_the_rest():
    settings = LlmServerSettings(latency_s=0.3, cap=10, knee=5)
    changed = change(settings, b'{"cap": 32, "latency_s": 1, "faults": [{"kind": "reset", "rate": 0.5}]}')
    assert (changed.cap, changed.knee) == (32, 5)
    assert changed.latency_s == 1
    assert changed.faults == (FaultRule(FaultKind.RESET, 0.5),)
    assert changed.seed == settings.seed


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"{", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'{"knees": 1}', "unknown field `knees`"),
        (b'{"seed": 1}', "seed cannot be changed"),
        (b'{"cap": -1}', ">= 0 - at `\\$.cap`"),
        (b'{"cap": 1.5}', "Expected `int`, got `float` - at `\\$.cap`"),
        (b'{"cap": true}', "got `bool` - at `\\$.cap`"),
        (b'{"latency_s": "1"}', "got `str` - at `\\$.latency_s`"),
        (b'{"latency_s": -1}', ">= 0.0 - at `\\$.latency_s`"),
        (b'{"faults": [{"kind": "x"}]}', "the fault plan .* `\\$\\[0\\].kind`"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_with_its_reason(document, message):
    with pytest.raises(LlmServerSettingsError, match=message):
        change(LlmServerSettings(), document)

"""What a request is estimated to take: by bytes, by all that is sent, and by what was counted before."""

from __future__ import annotations

import pytest

from actors.core.dispatch.events import ClientBegan
from actors.core.errors import FailureKind
from actors.core.limits.token_estimate import TokenRatio, text_tokens
from actors.core.messages.attempts import Held
from actors.core.messages.calls import Correction
from actors.core.messages.tasks import Submit, Task
from actors.core.messages.values import Usage
from actors.llm.fields import StringField
from actors.llm.forms import AnswerForm
from actors.pipeline.calls import CallMaker
from actors.pipeline.task_rules import EVALUATE, TaskJob
from tests.unit.support.dispatch_desk import Desk, call


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("four", 1),
        ("fives", 2),
        ("中文" * 10, 30),  # tokenizers count 1 to 1.5 for each character
        ("Жук", 3),
        ("ab中文", 4),
        ("\ud83d", 2),  # half a pair
    ],
)
def test_text_is_measured_by_its_bytes(text, tokens):
    assert text_tokens(text) == tokens


def test_the_schema_and_the_instructions_of_an_answer_count():
    fields = {"note": StringField(type="string", choices=("a" * 100, "b" * 100))}
    plain, wide = AnswerForm("x", {}, 10), AnswerForm("x", fields, 10)
    assert wide.tokens >= plain.tokens + text_tokens(wide.response_format.decode())
    assert AnswerForm("x", fields, 10, "中" * 100).tokens >= wide.tokens + 150


def test_a_call_is_estimated_by_its_prompt_its_form_and_the_longest_answer():
    maker = CallMaker(EVALUATE, 20, "m", {}, form_tokens=40)
    asked = maker.call(TaskJob(Submit("r1", Task("t1")), None, 1.0), "中" * 100, 1.0)
    assert (asked.tokens, asked.output_tokens) == (150 + 40 + 20, 20)


def test_a_bound_is_not_made_lower_by_the_ratio_of_an_endpoint():
    ratio = TokenRatio()
    for _ in range(1000):
        ratio.learn(100, Usage(30))
    assert ratio.scaled(1000) < 400
    assert ratio.scaled(1000, is_bound=True) == 1000
    ratio.learn(100, Usage(200))
    assert ratio.scaled(1000, is_bound=True) == 2000


def test_a_ratio_follows_a_higher_truth_at_once_and_a_lower_one_slowly():
    ratio = TokenRatio()
    assert ratio.scaled(100) == 100
    ratio.learn(100, Usage(250))
    assert ratio.scaled(100) == 250
    ratio.learn(100, Usage(100))
    assert 200 < ratio.scaled(100) < 250
    for _ in range(1000):
        ratio.learn(100, Usage(100))
    assert ratio.scaled(100) in (100, 101)


@pytest.mark.parametrize(("reported", "scaled"), [(10**15, 800), (1, 25)])
def test_a_ratio_is_clamped(reported, scaled):
    ratio = TokenRatio()
    for _ in range(1000):
        ratio.learn(100, Usage(reported))
    assert ratio.scaled(100) == pytest.approx(scaled, abs=1)


@pytest.mark.parametrize(("estimated", "reported"), [(0, 50), (100, 0)])
def test_a_ratio_learns_nothing_from_nothing(estimated, reported):
    ratio = TokenRatio()
    ratio.learn(estimated, Usage(reported))
    assert ratio.scaled(100) == 100


# ---- in the dispatcher -----------------------------------------------------------------------------------


def test_an_endpoint_that_counts_more_tokens_has_more_reserved_for_the_next_calls():
    desk = Desk(endpoints=("one", "two"), budget_tokens=1000)
    desk.offer(call("k1", tokens=120, output_tokens=20))
    assert desk.attempts[0][1].estimate == Usage(100, 20, 20.0)
    desk.end("k1", usage=Usage(400, 10, 10.0))
    desk.offer(call("k2", tokens=120, output_tokens=20), call("k3", tokens=120, output_tokens=20))
    estimates = {attempt.endpoint: attempt.estimate for _, attempt in desk.attempts[1:]}
    assert estimates == {"one": Usage(400, 20, 20.0)}  # 410 are spent, 420 reserved: k3 has no room
    assert {each.name: each.input_ratio for each in desk.known.endpoints} == {"one": 4.0, "two": 1.0}


def test_nothing_is_learned_from_an_estimate_or_from_an_attempt_of_an_earlier_dispatcher():
    desk = Desk(clients=())
    desk.happen(ClientBegan("c1", (Held(7, "k0", "main", 1, Usage(100)),)))
    desk.offer(call("k0"), call("k1", tokens=120, output_tokens=20))
    desk.end("k1", usage=Usage(400, 0), unmetered=True)
    assert desk.known.endpoints[0].input_ratio == 1.0


def test_a_correction_is_estimated_with_the_question():
    desk = Desk()
    desk.offer(call("k1", tokens=120, output_tokens=20))
    answer = "文" * 100
    desk.end("k1", FailureKind.UNUSABLE, correction=Correction(answer, "no"), usage=Usage(100, 20, 20.0))
    assert desk.attempts[1][1].estimate.input_tokens >= 250

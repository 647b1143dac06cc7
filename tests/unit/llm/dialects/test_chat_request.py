"""The bytes of a request: the parameters and the system message of a form, and what they must not change."""

import pickle

import orjson
import pytest

from actors.llm.dialects.chat import ChatDialect
from actors.llm.endpoint import EndpointSettings
from actors.llm.forms import AnswerForm


def dialect(**settings):
    described = {"name": "main", "base_url": "http://h/v1", "model": "m"}
    return ChatDialect(EndpointSettings.model_validate(described | settings))


def sent(form, *, stream=False, **settings):
    body = orjson.loads(dialect(**settings).prepare(form).body("why?", None, stream=stream))
    assert isinstance(body, dict)
    return body


def test_the_parameters_of_a_form_are_members_of_the_body():
    parameters = {"temperature": 0, "seed": 7, "thinking": {"type": "adaptive"}, "stop": ["\n"]}
    form = AnswerForm("f", {}, 9, "Be brief.", parameters)

    body = sent(form, stream=True)

    assert {name: body[name] for name in parameters} == parameters
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["model"], body["max_tokens"], body["stream"]) == ("m", 9, True)


def test_the_parameters_of_an_endpoint_are_members_of_the_body_and_those_of_a_step_replace_them():
    body = sent(AnswerForm("f", {}, 9, None, {"seed": 7}), params={"seed": 1, "temperature": 0})

    assert (body["seed"], body["temperature"]) == (7, 0)


def test_a_bound_by_max_completion_tokens_replaces_max_tokens():
    body = sent(AnswerForm("f", {}, 9, None, {"max_completion_tokens": 500}))

    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "why?"}],
        "max_completion_tokens": 500,
    }


def test_an_endpoint_has_its_own_names_for_the_bound_the_system_message_and_the_seed():
    quirks = {"max_tokens_as": "max_completion_tokens", "system_as": "developer", "seed_as": "random_seed"}

    body = sent(AnswerForm("f", {}, 9, "Be brief.", {"seed": 7}), **quirks)

    assert body == {
        "model": "m",
        "messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "why?"}],
        "max_completion_tokens": 9,
        "random_seed": 7,
    }


def test_a_form_keeps_its_parameters_when_it_is_pickled():
    form = AnswerForm("f", {}, 9, None, {"seed": 7})

    assert sent(pickle.loads(pickle.dumps(form))) == sent(form)  # noqa: S301 - its own bytes


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"seed": 1, "model": "x"}, "must not contain 'model', which Headrace sets: set the model of"),
        ({"messages": []}, "must not contain 'messages', which Headrace sets: use prompt and system"),
        ({"max_tokens": 5}, "must not contain 'max_tokens', which Headrace sets: use max_tokens of the step"),
        ({"stream": True}, "must not contain 'stream', which Headrace sets"),
        ({"stop_sequences": ["x"]}, "the dialect chat has no parameter 'stop_sequences': use stop"),
        ({"temperature": "0"}, "the parameter 'temperature' must be a number"),
        ({"seed": True}, "the parameter 'seed' must be a whole number"),
        ({"stop": ["x"], "temperature": 0, "top_p": None}, None),
        ({"temprature": 0}, "unknown parameter 'temprature': did you mean temperature?"),
        ({"top_a": 0.1, "temperature": 0.2, "max_completion_tokens": 9, "speed": "fast"}, None),
        ({"logit_bias": {}}, "the model m of endpoint main does not accept 'logit_bias': remove it"),
    ],
)
def test_a_parameter_that_cannot_be_sent_is_refused_with_the_remedy(parameters, problem):
    found = dialect(refuses=["logit_bias"]).problem(parameters)

    assert found is None if problem is None else problem in (found or "")


def test_the_system_message_of_an_endpoint_is_that_of_forms_without_one():
    asked = dialect(system="Be kind.", describe_output=False).asked

    assert asked(AnswerForm("f", {}, 9)).instructions == "Be kind."
    assert asked(AnswerForm("f", {}, 9, "Be brief.")).instructions == "Be brief."

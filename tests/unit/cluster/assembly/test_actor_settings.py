"""The settings of a pipeline: what determines an answer is part of the key under which it is stored."""

from __future__ import annotations

import hashlib
import json

import pytest

from actors.core.messages.tasks import Submit, Task
from actors.pipeline.calls import CallMaker
from actors.pipeline.task_rules import TaskJob
from cluster.assembly.actor_settings import answer_forms, asked_forms, pipeline_settings, task_rules
from cluster.config.loading import loaded
from cluster.config.model import HeadraceConfig

OUTPUT = {
    "score": {"type": "number", "min": 0, "max": 1},
    "label": {"type": "string", "choices": ["a", "b"]},
    "tags": {"type": "array", "items": {"type": "string"}},
    "count": {"type": "integer"},
    "sound": {"type": "boolean"},
}
# The parameters of the calls as earlier versions wrote them.
PARAMETERS = (
    '{"max_tokens": 200, "output": {"count": {"max": null, "min": null, "type": "integer"}, '
    '"label": {"choices": ["a", "b"], "max_length": 10000, "type": "string"}, '
    '"score": {"max": 1.0, "min": 0.0, "type": "number"}, "sound": {"type": "boolean"}, '
    '"tags": {"items": {"choices": null, "max_length": 10000, "type": "string"}, "max_items": 100, '
    '"type": "array"}}}'
)


def config(**changes):
    return HeadraceConfig.model_validate(
        {
            "sources": ({"kind": "simulated", "name": "wire"},),
            "llm": {"endpoints": ({"name": "e", "base_url": "http://127.0.0.1:1/v1", "model": "m"},)},
            "evaluate": {"prompt": "Rate {text}", "output": OUTPUT},
            "dimensions": ({"name": "score", "field": "score"},),
            **changes,
        }
    )


def hashed(run_id, task, item):
    form = f"15:headrace-call-1{len(run_id)}:{run_id}1:m{len(PARAMETERS)}:{PARAMETERS}"
    return hashlib.sha256(
        f"{form}{len(task)}:{task}{len(item)}:{item}8:evaluate0:6:Rate x".encode()
    ).hexdigest()


def test_a_single_unnamed_step_has_the_keys_under_which_earlier_versions_stored_its_answers():
    (step,) = pipeline_settings(config(), began_at=0.0).rules.steps
    maker = CallMaker(step.form, step.max_tokens, step.model, step.parameters, share=True)
    call = maker.call(TaskJob(Submit("r1", Task("t1")), None, 1.0), "Rate x", 1.0, item="wire:1")
    assert (call.key, call.content) == (hashed("r1", "t1", "wire:1"), hashed("", "", ""))


STEP = {"prompt": "Rate {text}", "output": OUTPUT}
TWO = [
    {"name": "e", "base_url": "http://127.0.0.1:1/v1", "model": "m"},
    {"name": "f", "base_url": "http://127.0.0.1:2/v1", "model": "m"},
]


def contents(**changes):
    """Return the contents of the calls of each step and of a finding, for the same prompt."""
    made = config(**{"sources": (), "dimensions": (), "evaluate": STEP, "llm": {"endpoints": TWO}, **changes})
    return [
        CallMaker(
            step.form, step.max_tokens, step.model, step.parameters, share=True, served_at=step.served_at
        )
        .call(TaskJob(Submit("r1", Task("t1")), None, 1.0), "Rate x", 1.0)
        .content
        for step in pipeline_settings(made, began_at=0.0).rules.steps
    ]


def changed(**options):
    return {"evaluate": {**STEP, **options}}


@pytest.mark.parametrize(
    "change",
    [
        changed(system="Be strict."),
        changed(params={"temperature": 0}),
        changed(params={"temperature": 1}),
        changed(endpoint="e"),
        changed(endpoint="f"),
        changed(max_tokens=201),
        changed(output=dict(reversed(OUTPUT.items()))),
        changed(output={**OUTPUT, "sound": {"type": "boolean", "nullable": True}}),
        changed(output={**OUTPUT, "sound": {"type": "boolean", "description": "whether it is sound"}}),
        changed(output={**OUTPUT, "score": {"type": "number", "min": 0, "max": 2}}),
        {"llm": {"endpoints": [{**TWO[0], "model": "n"}]}},
        {"llm": {"endpoints": [TWO[0], {**TWO[1], "base_url": "http://127.0.0.1:4/v1"}]}},
        {"llm": {"endpoints": [TWO[0], {**TWO[1], "describe_output": False}]}},
        {"llm": {"endpoints": [TWO[0], {**TWO[1], "structured": "json"}]}},
        {"llm": {"endpoints": [TWO[0], {**TWO[1], "system": "Be strict."}]}},
        {"llm": {"endpoints": [TWO[0], {**TWO[1], "headers": {"x-route": "a"}}]}},
        {"llm": {"endpoints": [TWO[0], {**TWO[1], "query": {"deployment": "a"}}]}},
        {"evaluate": [{"name": "other", **STEP}]},
    ],
)
def test_whatever_determines_an_answer_is_part_of_the_content_of_its_call(change):
    assert contents(**change) != contents()


def test_answers_about_files_of_two_directories_are_not_shared(tmp_path):
    def content(directory, **evaluate):
        asked = {"sources": (), "dimensions": (), "evaluate": {**STEP, **evaluate}}
        llm = {"endpoints": TWO, "attachments": {"directory": str(tmp_path / directory)}}
        (step,) = pipeline_settings(config(**asked, llm=llm), began_at=0.0).rules.steps
        maker = CallMaker(step.form, step.max_tokens, step.model, {}, share=True, files=step.files)
        job = TaskJob(Submit("r1", Task("t1")), None, 1.0)
        return maker.call(job, "Rate x", 1.0, attachments=("a.png",) if evaluate else ()).content

    assert content("a", attach="photo") == content("a", attach="photo") != content("b", attach="photo")
    assert content("a") == content("b")


@pytest.mark.parametrize(
    "change",
    [
        changed(reask=5),
        changed(prompt="Rate it: {text}"),  # the text of the prompt is a part of its own
        {"llm": {"endpoints": [TWO[0], {**TWO[1], "base_url": "http://127.0.0.1:2/v1/", "api_key": "k"}]}},
        {"llm": {"endpoints": [TWO[0], {**TWO[1], "max_in_flight": 3}]}},
        {
            "llm": {
                "endpoints": [TWO[0], {**TWO[1], "max_tokens_as": "max_completion_tokens", "refuses": ["n"]}]
            }
        },
        {"llm": {"endpoints": [TWO[0], {**TWO[1], "describe_output": True}]}},  # as by default
        {"llm": {"endpoints": [TWO[0], {**TWO[1], "headers": {"X-Auth-Token": "a"}, "query": {"key": "a"}}]}},
        {"limits": {"active_tasks": 5}},
        {"name": "other"},
    ],
)
def test_what_does_not_determine_an_answer_is_no_part_of_the_content(change):
    assert contents(**change) == contents()


def test_a_route_counts_by_its_value_unless_it_comes_from_the_environment(tmp_path):
    def served_at(headers):
        path = tmp_path / "c.yaml"
        endpoint = {"name": "e", "base_url": "http://127.0.0.1:1/v1", "model": "m", "headers": headers}
        tasks = {"kind": "range", "count": 1}
        written = {"llm": {"endpoints": [endpoint]}, "evaluate": STEP, "tasks": tasks}
        path.write_text(json.dumps(written), encoding="utf-8")
        return pipeline_settings(loaded(path, env={"ROUTE": "b"}), began_at=0.0).rules.steps[0].served_at

    assert served_at({"x-route": "${ROUTE}"}) == served_at({})
    routes = [served_at(each) for each in ({}, {"x-route": "a"}, {"X-Route": "a"}, {"x-route": "b"})]
    assert routes[1] == routes[2]
    assert len(set(routes)) == 3
    assert " as " not in routes[0]
    assert "x-route" not in routes[1]


def test_the_answers_of_the_simulator_are_found_again_at_another_address():
    at = [{"name": "simulator", "base_url": f"http://127.0.0.1:{port}/v1", "model": "sim"} for port in (1, 2)]
    assert contents(llm={"endpoints": at[:1]}) == contents(llm={"endpoints": at[1:]}) == contents(llm={})


def test_the_steps_of_a_list_have_forms_of_their_own():
    steps = [{"name": "one", **STEP}, {"name": "evaluate", **STEP}]
    made = config(sources=(), dimensions=(), evaluate=steps)
    assert [step.form for step in pipeline_settings(made, began_at=0.0).rules.steps] == [
        "evaluate:one",
        "evaluate:evaluate",
    ]
    assert [form.name for form in answer_forms(made)] == ["evaluate:one", "evaluate:evaluate", "synthesize"]


@pytest.mark.parametrize(
    ("endpoint", "is_described"),
    [
        ({"base_url": "http://127.0.0.1:1/v1"}, True),
        ({"base_url": "http://127.0.0.1:1/v1", "describe_output": False}, False),
        ({"base_url": "https://api.openai.com/v1"}, False),
        ({"base_url": "https://team.openai.azure.com/openai/v1"}, False),
        ({"base_url": "https://api.openai.com/v1", "describe_output": True}, True),
        ({"base_url": "https://api.openai.com.example.org/v1"}, True),
        ({"base_url": "https://notapi.openai.com/v1"}, True),
    ],
)
def test_the_fields_are_stated_in_words_unless_the_provider_shows_the_schema(endpoint, is_described):
    made = config(llm={"endpoints": [{"name": "e", "model": "m", **endpoint}]})
    asked, plain = asked_forms(made)[0], answer_forms(made)[0]
    rules = pipeline_settings(made, began_at=0.0).rules

    assert ("a number from 0 to 1" in asked.preface) == is_described
    assert (asked.tokens > plain.tokens) == is_described
    assert rules.form_tokens["evaluate"] == asked.tokens
    # Without the words, a stored answer of an earlier version has the same key.
    url = endpoint["base_url"] + "/chat/completions"
    assert rules.steps[0].served_at == (url + "#described" if is_described else url)


def test_a_form_is_estimated_with_the_words_if_one_of_its_endpoints_adds_them():
    plain = [{**one, "describe_output": False} for one in TWO]
    steps = [{"name": one["name"], "endpoint": one["name"], **STEP} for one in TWO]
    made = config(sources=(), dimensions=(), evaluate=steps, llm={"endpoints": [plain[0], TWO[1]]})

    assert [bool(form.preface) for form in asked_forms(made)] == [False, True, True]


def test_the_tasks_of_a_batch_have_a_day_unless_the_configuration_says_otherwise():
    assert task_rules(config()).task_deadline_s == 86_400
    assert task_rules(config(limits={"task_deadline_s": 600})).task_deadline_s == 600

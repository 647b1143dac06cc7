from __future__ import annotations

import json
import pickle

import pytest
from pydantic import ValidationError

from actors.core.messages.tasks import ItemResult, ItemState
from actors.core.task.dimensions import DimensionSettings, observe
from cluster.assembly.actor_settings import task_rules
from cluster.config.answer_fields import STORED
from cluster.config.model import HeadraceConfig
from cluster.records.run_journal import RunOrigin
from cluster.report.item_columns import item_columns
from cluster.report.tables.columns import Layout

QUALITY = {"quality": {"type": "number", "min": 0, "max": 1}}
ONE = {"prompt": "Rate {text}", "output": QUALITY}
SOURCES = [{"name": "wire", "kind": "simulated"}]


def made(**sections) -> HeadraceConfig:
    return HeadraceConfig.model_validate({"evaluate": ONE} | sections)


def problems(**sections) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        made(**sections)
    return [
        (".".join(str(step) for step in each["loc"]), each["msg"].removeprefix("Value error, "))
        for each in caught.value.errors()
    ]


# ---- the stored form -------------------------------------------------------------------------------------


def test_a_configuration_of_the_first_edition_is_stored_as_it_was():
    """A run of the first edition can be resumed only if its configuration is equal to the stored one."""
    config = made(sources=SOURCES, dimensions=[{"name": "q", "field": "quality"}],
                  tasks={"kind": "file", "path": "a.csv"})  # fmt: skip
    stored = RunOrigin.of(config).config
    assert stored["evaluate"] == {
        "prompt": "Rate {text}",
        "output": {"quality": {"type": "number", "min": 0.0, "max": 1.0}},
        "reask": 2,
        "max_tokens": 200,
    }
    assert stored["dimensions"] == [{"name": "q", "field": "quality", "weight": 1.0, "synthesize": None}]
    assert stored["tasks"] == {"kind": "file", "path": "a.csv"}
    assert set(stored) == {"name", "tasks", "sources", "llm", "evaluate", "dimensions", "limits"}


def test_new_keys_are_stored_if_they_are_set():
    new = {
        "name": "b",
        "system": "Be brief.",
        "when": "quality > 0.5",
        "endpoint": "simulator",
        "params": {"seed": 1},
    }
    stored = made(evaluate=[ONE | {"name": "a"}, ONE | new]).stored()["evaluate"][1]
    assert {name: stored[name] for name in new} == new | {"endpoint": ["simulator"]}


def test_a_changed_parameter_of_a_step_is_a_changed_configuration():
    """Its name ends in "tokens", as those of secrets do."""
    stored = [
        made(evaluate=ONE | {"params": {"max_completion_tokens": count}}).stored()["evaluate"]["params"]
        for count in (100, 200)
    ]
    assert stored == [{"max_completion_tokens": 100}, {"max_completion_tokens": 200}]


def test_a_list_of_one_step_is_stored_as_the_step():
    assert made(evaluate=[ONE]).stored() == made(evaluate=ONE).stored()


# ---- steps -----------------------------------------------------------------------------------------------


def test_one_mapping_is_one_step_with_a_default_name():
    (step,) = made().steps
    assert (step.name, step.endpoints, step.params, step.system, step.when) == (
        "evaluate",
        (),
        {},
        None,
        None,
    )


def test_a_list_of_steps_keeps_its_order():
    config = made(evaluate=[ONE | {"name": "b", "endpoint": ["simulator"]}, ONE | {"name": "a"}])
    assert [step.name for step in config.steps] == ["b", "a"]
    assert config.steps[0].endpoints == ("simulator",)
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - our own bytes
    assert HeadraceConfig.model_validate(json.loads(config.model_dump_json())) == config


def test_each_step_of_a_list_needs_its_own_name():
    assert problems(evaluate=[ONE, ONE | {"name": "a"}]) == [
        ("evaluate.0.name", "required key is missing in a list of steps")
    ]
    assert problems(evaluate=[ONE | {"name": "a"}, ONE | {"name": "a"}]) == [
        ("evaluate.1.name", "the name 'a' is taken by entry 0 already")
    ]


def test_a_step_asks_endpoints_that_exist():
    llm = {
        "endpoints": [{"name": name, "base_url": "http://h/v1", "model": "m"} for name in ("fast", "strong")]
    }
    assert made(llm=llm, evaluate=ONE | {"endpoint": "fast"}).steps[0].endpoints == ("fast",)
    (problem,) = problems(llm=llm, evaluate=[ONE | {"name": "a"}, ONE | {"name": "b", "endpoint": ["fst"]}])
    assert problem == ("evaluate.1.endpoint.0", "unknown endpoint 'fst'; known: fast, strong")


@pytest.mark.parametrize(
    ("second", "place", "message"),
    [
        ({"when": "quality > "}, "when", "column 11 of the condition: expected a field, a number or a text"),
        ({"when": "qualty > 1"}, "when", "qualty is no field of an earlier step; did you mean quality?"),
        ({"when": "b.quality > 1"}, "when", "b.quality is no field of an earlier step; did you mean a.qu"),
        ({"prompt": "{a.qualty}"}, "prompt", "{a.qualty} names no field of an earlier step; did you mean"),
        ({"prompt": "{b.quality}"}, "prompt",
         "{b.quality} names no field of step b, which is not asked before this one"),
        ({"params": {"model": "m"}}, "params",
         "params must not contain 'model', which Headrace sets: set the model of the endpoint"),
    ],
)  # fmt: skip
def test_a_step_names_fields_of_steps_before_it(second, place, message):
    ((where, found),) = problems(evaluate=[ONE | {"name": "a"}, ONE | {"name": "b"} | second])
    assert where == f"evaluate.1.{place}"
    assert found.startswith(message)


def test_the_first_step_has_no_condition():
    assert problems(evaluate=ONE | {"when": "quality > 1"}) == [
        ("evaluate.when",
         "no step comes before this one, so that there is no field to compare; remove when")
    ]  # fmt: skip


# ---- dimensions ------------------------------------------------------------------------------------------


def test_a_configuration_without_sources_is_a_map_whose_result_is_the_items():
    config = made()
    assert config.is_map
    assert config.tables == ("items",)
    assert made(output={"tables": None}, evaluate=ONE | {"when": None, "endpoint": None}) == config
    assert (config.sources, config.dimension_settings()) == ((), ())


def test_a_configuration_with_sources_writes_reports():
    assert not made(sources=SOURCES).is_map
    assert made(sources=SOURCES).tables == ("reports",)
    assert made(output={"tables": ["reports", "items"]}).tables == ("reports", "items")


def test_a_field_of_several_steps_is_named_with_its_step():
    two = [ONE | {"name": "a"}, ONE | {"name": "b"}]
    (problem,) = problems(evaluate=two, dimensions=[{"name": "q", "field": "quality"}])
    assert problem == (
        "dimensions.0.field",
        "field 'quality' is in several steps; write a.quality or b.quality",
    )
    (found,) = made(evaluate=two, dimensions=[{"name": "q", "field": "b.quality"}]).dimension_settings()
    assert found == DimensionSettings("q", "quality", step="b")


LABEL = ONE | {"output": {"label": {"type": "string", "choices": ["good", "bad"]}, "ok": {"type": "boolean"}}}


@pytest.mark.parametrize(
    ("field", "values", "answer", "number"),
    [("label", {"good": 2, "bad": -1}, "good", 2.0), ("ok", {"true": 1, "false": 0}, False, 0.0)],
)
def test_choices_and_booleans_are_scored_by_their_values(field, values, answer, number):
    config = made(evaluate=LABEL, dimensions=[{"name": "q", "field": field, "values": values}])
    (settings,) = config.dimension_settings()
    assert (settings.minimum, settings.maximum) == (min(values.values()), max(values.values()))
    (observation,) = observe(
        settings, [ItemResult("i1", "wire", ItemState.SUCCEEDED, {settings.step: {field: answer}})]
    )
    assert observation.value == number


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        (
            {"field": "ok"},
            (
                "field 'ok' is not numeric; it has no numeric field; or give a number for each choice: "
                "values: {true: 1, false: 0}"
            ),
        ),
        (
            {"field": "label", "values": {"good": 1, "bda": 0}},
            "values must name each choice of 'label' once; it lacks bad and does not know bda",
        ),
        (
            {"field": "label", "values": {"good": 1, "bad": 1}},
            "dimension q: the scale of field label must have min < max, got 1.0 and 1.0",
        ),
    ],
)
def test_a_dimension_without_numbers_is_refused(dimension, message):
    assert problems(evaluate=LABEL, dimensions=[{"name": "q"} | dimension]) == [
        ("dimensions.0.field", message)
    ]


# ---- embeddings ------------------------------------------------------------------------------------------

AT = [{"name": name, "base_url": "http://127.0.0.1:1/v1", "model": "m"} for name in ("v", "w")]
VECTOR = {"kind": "embedding", "input": "{text}", "endpoint": "v", "dimensions": 8}


def test_a_step_of_vectors_has_a_column_with_its_name_and_is_stored_as_it_is_read():
    config = made(llm={"endpoints": AT}, evaluate=VECTOR)
    stored = config.stored()
    assert [(column.name, column.type.item.kind) for column in item_columns(config)] == [
        ("embedding", "single")
    ]
    assert HeadraceConfig.model_validate_json(json.dumps(stored), context=STORED).stored() == stored
    assert [column.name for column in Layout.stored(stored).outputs] == ["embedding"]
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - made here


def test_other_steps_and_findings_are_asked_at_the_other_endpoints():
    dimension = {"name": "q", "field": "quality", "synthesize": "{evidence}"}
    steps = [VECTOR | {"name": "a"}, ONE | {"name": "b"}]
    rules = task_rules(made(llm={"endpoints": AT}, evaluate=steps, sources=SOURCES, dimensions=[dimension]))
    assert [step.endpoints for step in rules.steps] == [("v",), ("w",)]
    assert rules.finding_endpoints == ("w",)


@pytest.mark.parametrize(
    ("evaluate", "place", "says"),
    [
        (VECTOR | {"system": "x"}, "evaluate.[step].[embedding].system", "Extra inputs"),
        (VECTOR | {"endpoint": "x"}, "evaluate.endpoint.0", "unknown endpoint 'x'"),
        (VECTOR | {"endpoint": "a"}, "evaluate.endpoint", "the dialect anthropic asks m for no vectors"),
        (
            [VECTOR | {"name": "a"}, ONE | {"name": "b", "endpoint": "v"}],
            "evaluate.1.endpoint",
            "endpoint v makes vectors for another step",
        ),
        ([VECTOR | {"name": "a", "input": "{b.c}"}, ONE | {"name": "b"}], "evaluate.0.input", "names no"),
    ],
)
def test_what_a_step_of_vectors_cannot_do_is_said_at_its_key(evaluate, place, says):
    endpoints = [*AT, AT[0] | {"name": "a", "dialect": "anthropic"}]
    ((where, said),) = problems(llm={"endpoints": endpoints}, evaluate=evaluate)
    assert (where, says in said) == (place, True)


def test_a_step_without_an_endpoint_beside_those_of_vectors_is_refused():
    steps = [VECTOR | {"name": "a"}, ONE | {"name": "b"}]
    ((where, said),) = problems(llm={"endpoints": AT[:1]}, evaluate=steps)
    assert (where, "makes vectors for another step" in said) == ("evaluate.1.endpoint", True)


RANKING = {"kind": "rerank", "query": "mugs", "document": "{text}", "endpoint": "v"}
LISTED = {"kind": "rerank", "query": "{text}", "documents": "answers", "endpoint": "v", "name": "ranks"}


@pytest.mark.parametrize(
    ("step", "column"), [(RANKING, ("relevance", "single")), (LISTED, ("ranks", "list"))]
)
def test_a_ranking_has_a_column_of_numbers_and_is_stored_as_it_is_read(step, column):
    config = made(llm={"endpoints": AT}, evaluate=step)
    stored = config.stored()
    (found,) = item_columns(config)
    assert (found.name, "list" if found.type.kind == "list" else "single") == column
    assert HeadraceConfig.model_validate_json(json.dumps(stored), context=STORED).stored() == stored
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - made here


@pytest.mark.parametrize(
    ("step", "place", "says"),
    [
        ({"documents": "a"}, "evaluate.[step].[rerank]", "either document, a template, or documents"),
        ({"document": None}, "evaluate.[step].[rerank]", "either document, a template, or documents"),
        ({"params": {"top_n": 1}}, "evaluate.[step].[rerank].params", "every document has a relevance"),
        ({"endpoint": "a"}, "evaluate.endpoint", "the dialect anthropic asks m for no ranking"),
    ],
)
def test_what_a_ranking_cannot_be_is_said_at_its_key(step, place, says):
    endpoints = [*AT, AT[0] | {"name": "a", "dialect": "anthropic"}]
    ((where, said),) = problems(llm={"endpoints": endpoints}, evaluate=RANKING | step)
    assert (where, says in said) == (place, True)


def test_the_document_of_a_ranking_may_use_an_earlier_field():
    late = RANKING | {"name": "a", "document": "{b.c}"}
    ((where, said),) = problems(llm={"endpoints": AT}, evaluate=[late, ONE | {"name": "b", "endpoint": "w"}])
    assert (where, "names no field" in said) == ("evaluate.0.document", True)


def test_a_vector_cannot_be_scored():
    dimension = {"name": "q", "field": "embedding"}
    ((where, said),) = problems(llm={"endpoints": AT}, evaluate=VECTOR, dimensions=[dimension])
    assert (where, "is not numeric" in said) == ("dimensions.0.field", True)

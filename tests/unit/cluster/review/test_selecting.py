"""What a review asks by default, and which options do not fit a run."""

from __future__ import annotations

import pytest

from actors.core.errors import ConfigError
from actors.core.messages.journal import OpenRun
from cluster.golden.records import Order
from cluster.records.records import found_run
from cluster.review.choosing import Chosen
from cluster.review.selecting import ReviewOptions, left_out_text, selection_of
from tests.unit.support.stored_run import StoredRun
from tests.unit.support.tables import settings

ENDPOINT = {"name": "e", "base_url": "http://127.0.0.1:1/v1", "model": "m"}
NOTE, LABEL, SURE = (
    {"note": {"type": "string"}},
    {"label": {"type": "boolean"}},
    {"confidence": {"type": "number"}},
)


def config(*outputs):
    steps = [
        {"name": f"s{number}", "prompt": "{text}", "output": output} for number, output in enumerate(outputs)
    ]
    return settings(sources=False, evaluate=steps, llm={"endpoints": [ENDPOINT]})


def run_of(*outputs):
    """Return a store with a run whose steps have these outputs."""
    run = StoredRun(config(*outputs))
    return run.store, found_run(run.store, run.run_id)


def selected(outputs, **options):
    selection = selection_of(*run_of(*outputs), ReviewOptions(**options))
    sure = selection.confidence and selection.confidence.name
    return [column.name for column in selection.columns], selection.order, sure


@pytest.mark.parametrize(
    ("outputs", "options", "expected"),
    [
        ([NOTE | LABEL | SURE], {}, (["label"], Order.CONFIDENCE, "confidence")),
        ([NOTE | SURE], {}, (["note"], Order.CONFIDENCE, "confidence")),
        ([NOTE], {}, (["note"], Order.RANDOM, None)),
        ([NOTE | LABEL], {"fields": ("note", "label", "note")}, (["note", "label"], Order.RANDOM, None)),
        ([LABEL | SURE, LABEL], {}, (["s0.label"], Order.AGREEMENT, "confidence")),
        ([LABEL | SURE, LABEL], {"order": Order.RANDOM}, (["s0.label"], Order.RANDOM, "confidence")),
        (
            [LABEL | {"sure": {"type": "number"}}],
            {"confidence": "sure"},
            (["label"], Order.CONFIDENCE, "sure"),
        ),
    ],
)
def test_the_defaults(outputs, options, expected):
    assert selected(outputs, **options) == expected


@pytest.mark.parametrize(
    ("outputs", "options", "message"),
    [
        ([LABEL], {"fields": ("lable",)}, "did you mean label"),
        ([LABEL], {"confidence": "x"}, "known: label"),
        ([SURE], {}, "no answer that a person can judge"),
        ([LABEL], {"order": Order.CONFIDENCE}, "--confidence NAME"),
        ([LABEL], {"order": Order.AGREEMENT}, "another run"),
        ([LABEL], {"only": "changed"}, "--against RUN_ID"),
        ([LABEL], {"only": "good"}, "COLUMN=VALUE"),
        ([LABEL], {"other": "map-1"}, "with itself"),
        ([LABEL], {"other": "map-2"}, "there is no run map-2"),
    ],
)
def test_options_that_do_not_fit_the_run_are_errors(outputs, options, message):
    with pytest.raises(ConfigError, match=message):
        selected(outputs, **options)


def test_another_run_must_answer_the_fields():
    run = StoredRun(config(LABEL))
    run.desk.tell(OpenRun("map-2", "map", config(NOTE).stored(), {}))
    with pytest.raises(ConfigError, match="map-2 does not answer label"):
        selection_of(run.store, found_run(run.store, "map-1"), ReviewOptions(other="map-2"))


def test_what_is_left_out_is_said_with_the_option_that_shows_it():
    assert left_out_text(Chosen(failed=1_200, decided=3)) == (
        "3 in the golden set already (--only reviewed), 1,200 without an answer (--only failed)"
    )
    assert left_out_text(Chosen()) == ""

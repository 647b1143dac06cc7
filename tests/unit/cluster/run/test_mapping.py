"""The identity of a run of `map`: what is asked and the rows, and nothing else."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from actors.core.errors import ConfigError
from actors.core.messages.journal import Accept, OpenRun
from cluster.input.rows import RowInput
from cluster.run import mapping
from cluster.run.map_question import MapQuestion, map_config
from cluster.run.mapping import MapJob, asked_of, history_of
from tests.unit.support.journal_desk import Desk

OUTPUT = {"label": {"type": "string"}}
QUESTION = MapQuestion("Classify: {text}", OUTPUT, name="reviews", model="m", base_url="http://h.test/v1")
ROWS = ({"text": "a"}, {"text": "b"})


def rows_of(*records):
    return RowInput.of_records(lambda: iter(records or ROWS), "reviews")


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Return the job of the question with changes, whose store is in a new directory."""
    monkeypatch.chdir(tmp_path)

    def made(*records, **changes) -> MapJob:
        return MapJob(map_config(replace(QUESTION, **changes), {}), rows_of(*records))

    return made


def test_the_same_job_has_the_same_run(job):
    assert history_of(job()).run_id == history_of(job()).run_id
    assert history_of(job()).run_id.startswith("map-reviews-")


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "Classify this: {text}"},
        {"system": "You are strict."},
        {"output": {"label": {"type": "integer"}}},
        {"output": {"other": {"type": "string"}}},
        {"model": "n"},
        {"base_url": "http://i.test/v1"},
        {"overrides": ("evaluate.params={temperature: 0}",)},
        {"overrides": ("evaluate.max_tokens=7",)},
    ],
    ids=str,
)
def test_another_question_is_another_run(job, changes):
    assert history_of(job(**changes)).run_id != history_of(job()).run_id


@pytest.mark.parametrize(
    "changes",
    [
        {"budget_usd": None, "overrides": ("limits.active_tasks=7",)},
        {"overrides": ("llm.timeout_s=7",)},
        {"overrides": ("llm.endpoints.0.max_in_flight=7",)},
        {"overrides": ("llm.endpoints.0.price={input_usd_per_mtok: 1, output_usd_per_mtok: 1}",)},
        {"overrides": ("llm.endpoints.0.api_key=sk-another",)},
    ],
    ids=str,
)
def test_another_speed_price_or_key_is_the_same_run(job, changes):
    assert history_of(job(**changes)).run_id == history_of(job()).run_id


def test_other_rows_are_another_run(job):
    ids = {history_of(job(*rows)).run_id for rows in (ROWS, ROWS[::-1], ROWS[:1], ({"text": "c"},))}
    assert len(ids) == 4


def test_a_sample_is_a_run_of_its_own():
    records = [{"n": n} for n in range(100)]
    one, same, other = (RowInput.of_records(lambda: iter(records), "r", sample=9, seed=s) for s in (1, 1, 2))
    assert one.digest == same.digest != other.digest


def test_a_fresh_job_is_always_new(job):
    fresh = replace(job(), fresh=True)
    assert history_of(fresh).run_id != history_of(fresh).run_id
    assert history_of(fresh).run_id.startswith("map-reviews-")


def test_names_that_the_input_already_has_are_refused_unless_they_are_replaced(job):
    clashing = job({"text": "a", "label": "old"})
    with pytest.raises(ConfigError, match="'label'"):
        _ = clashing.kept_columns
    assert replace(clashing, replaces=True).kept_columns == ("text",)


def test_what_has_changed_since_an_earlier_run_is_said(job, monkeypatch):
    first, desk = job(), Desk()
    monkeypatch.setattr(mapping, "opened_store", lambda _: contextlib.nullcontext(desk.store))
    run_id = history_of(first).run_id
    origin = {"input": {"tasks": 2, "digest": first.rows.digest}, "asked": asked_of(first.config)}
    desk.tell(OpenRun(run_id, first.config.name, {}, origin))
    desk.tell_all(*(Accept(run_id, task) for task in first.rows))
    known = history_of(first)
    assert (known.run.tasks.accepted, known.ended, known.notes) == (2, 0, ())
    (note,) = history_of(job(prompt="Another: {text}")).notes
    assert (
        note
        == f"the question has changed since run {history_of(first).run_id}: 0 of its 2 answers can be reused"
    )
    (note,) = history_of(job({"text": "a"}, {"text": "b"}, {"text": "c"})).notes
    assert note.startswith("the rows have changed since run map-reviews-")

"""Decisions of a review, and what they leave in the golden set."""

from __future__ import annotations

import itertools

import pytest

from actors.core.messages.tasks import Task
from cluster.golden.file import GoldenFile, read_golden
from cluster.golden.records import Order, Place
from cluster.golden.standing import GoldenSet
from cluster.report.item_columns import item_columns
from cluster.review.choosing import ReviewSelection, choose
from cluster.review.session import RefusedDecisionError, ReviewPair, ReviewSession
from tests.unit.support.tables import rated, settings

FIELDS = {
    "label": {"type": "string", "choices": ["good", "bad"]},
    "fine": {"type": "boolean"},
    "score": {"type": "number", "min": 0, "max": 1},
}
COLUMNS = item_columns(settings(sources=False, fields=FIELDS))


def questions(count, field="label", **more):
    column = next(each for each in COLUMNS if each.name == field)
    values = {"label": "good", "fine": True, "score": 0.5}
    entries = [(Task(f"t{at}"), rated(f"t{at}", values=values)) for at in range(count)]
    chosen = ReviewSelection((column,), COLUMNS, Order.RANDOM, **more)
    other = {**values, "label": "bad"}
    return choose(entries, lambda key: rated(key, values=other), GoldenSet(), chosen).questions


@pytest.fixture
def begin(tmp_path):
    clock = itertools.count(1)
    with GoldenFile(tmp_path / "run.jsonl") as file:

        def start(asked, reviewer="ann", **more):
            session = ReviewSession(asked, file, reviewer, lambda: float(next(clock)), **more)
            return session, tmp_path / "run.jsonl"

        yield start


def decisions(path):
    return [(record.decision.value, record.value) for record in read_golden(path)]


def test_each_decision_is_stored_with_the_answer_that_it_is_about(begin):
    session, path = begin(questions(5))
    session.accept(0)
    session.reject(1)
    session.choose(2, 1)
    session.choose(3, 0)  # the model's own answer
    session.skip(4)
    assert decisions(path) == [
        ("accept", "good"),
        ("reject", None),
        ("edit", "bad"),
        ("accept", "good"),
        ("skip", None),
    ]
    assert {record.answer for record in read_golden(path)} == {"good"}
    assert {record.order for record in read_golden(path)} == {Order.RANDOM}
    assert session.next_open(0) is None


def test_progress_counts_decisions_and_right_answers(begin):
    session, _ = begin(questions(5))
    session.accept(0)
    session.reject(1)
    session.skip(2)
    progress = session.progress()
    assert (progress["total"], progress["decided"], progress["skipped"]) == (5, 3, 1)
    label = progress["fields"]["label"]
    assert label == {"judged": 2, "right": 1, "share": "50.0% (9.5% to 90.5%)"}
    assert session.next_open(2) == 3
    assert session.next_open(4) == 3


def test_progress_judges_the_answers_that_the_run_has_now(begin):
    session, _ = begin(questions(3))
    for index in range(3):
        session.accept(index)
    changed = {Place("t1", "rows:t1", "label"): "bad"}  # and t2 has no answer any more
    again, _ = begin(questions(1), answers=changed)
    assert again.progress()["fields"]["label"] == {
        "judged": 2,
        "right": 1,
        "share": "50.0% (9.5% to 90.5%)",
    }


def test_undo_withdraws_the_decisions_of_this_session_one_by_one(begin):
    session, path = begin(questions(2))
    session.accept(0)
    session.reject(1)
    session.accept(1)
    assert [session.undo() for _ in range(2)] == [1, 1]
    assert decisions(path) == [("accept", "good")]
    assert not session.is_open(0)
    assert session.is_open(1)
    assert [session.undo() for _ in range(2)] == [0, None]
    assert decisions(path) == []
    assert len(path.read_bytes().splitlines()) == 6


def test_a_rejected_boolean_has_its_opposite_as_the_right_value(begin):
    session, path = begin(questions(1, "fine"))
    session.reject(0)
    assert decisions(path) == [("edit", False)]


def test_what_does_not_fit_is_refused_and_stores_nothing(begin):
    session, path = begin(questions(1, "score"))
    for decide in (
        lambda: session.edit_text(0, "7"),
        lambda: session.choose(0, 0),
        lambda: session.accept(1),
        lambda: session.accept(-1),
        lambda: session.prefer(0, "left"),
    ):
        with pytest.raises(RefusedDecisionError):
            decide()
    assert path.read_bytes() == b""
    session.edit_text(0, "0.25")
    assert decisions(path) == [("edit", 0.25)]


def test_a_second_look_keeps_why_an_item_was_shown_first(begin):
    session, path = begin(questions(1))
    session.accept(0)
    again, _ = begin(questions(1, only=("label", "good")), reviewer="ben")
    again.choose(0, 1)
    (record,) = read_golden(path)
    assert (record.value, record.reviewer, record.order) == ("bad", "ben", Order.RANDOM)


def test_a_blind_comparison_records_which_run_was_chosen_and_tells_nothing_before_its_end(begin):
    asked = questions(20, other="two", is_blind=True)
    session, path = begin(asked, pair=ReviewPair("one", "two"), seed=3)
    for index in range(18):
        session.prefer(index, "left")
    session.prefer(18, "neither")
    session.skip(19)
    kept = {record.task: record for record in read_golden(path).preferences()}
    for index in range(18):
        place = asked[index].place
        assert kept[place.task].chosen == session.sides(place)[0]
        assert (place.field, place.other) == ("label", "two")
    assert {record.chosen for record in kept.values()} == {"one", "two", None}
    assert session.progress()["fields"] == {}
    with pytest.raises(RefusedDecisionError, match="prefer one"):
        session.accept(0)
    with pytest.raises(RefusedDecisionError, match="no side"):
        session.prefer(0, "one")

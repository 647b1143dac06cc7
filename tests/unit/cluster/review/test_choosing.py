"""Which items a person reviews, and in which order."""

from __future__ import annotations

import pytest

from actors.core.errors import ConfigError
from actors.core.messages.tasks import Task
from cluster.golden.records import Decision, GoldenRecord, Order
from cluster.golden.standing import GoldenSet
from cluster.report.item_columns import item_columns
from cluster.review.choosing import CHANGED, FAILED, REVIEWED, ReviewSelection, choose, is_left
from tests.unit.support.tables import rated, settings

FIELDS = {
    "label": {"type": "string", "choices": ["good", "bad"]},
    "confidence": {"type": "number", "min": 0, "max": 1},
}
COLUMNS = item_columns(settings(sources=False, fields=FIELDS))
LABEL, CONFIDENCE = COLUMNS
ROWS = {"a": ("good", 0.9), "b": ("bad", 0.1), "c": None, "d": ("good", 0.5), "e": ("bad", None)}
OTHER = {"a": ("good", 0.1), "b": ("good", 0.1), "d": ("bad", 0.1), "e": ("bad", 1.0)}


def entries(rows=ROWS):
    return [(Task(key, {"town": key.upper()}), report(key, row)) for key, row in rows.items()]


def report(key, row):
    values = {} if row is None else dict(zip(FIELDS, row, strict=True))
    return rated(key, values=values)


def find_other(key):
    return report(key, OTHER[key]) if key in OTHER else None


def selection(order=Order.CONFIDENCE, **more):
    return ReviewSelection((LABEL,), COLUMNS, order, CONFIDENCE, **more)


def decided(key, decision, field="label", at=1.0, **more):
    return GoldenRecord(key, f"rows:{key}", field, decision, "ann", at, "good", "good", **more)


def shown(chosen):
    return "".join(question.task.key for question in chosen.questions)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (selection(), "bdae"),  # no confidence comes last
        (selection(most=2), "bd"),
        (selection(only=FAILED), "c"),
        (selection(only=("town", "D")), "d"),
        (selection(only=("label", "bad")), "be"),
        (selection(Order.AGREEMENT, other="two"), "bdae"),
        (selection(Order.AGREEMENT, other="two", only=CHANGED), "bd"),
        (selection(Order.AGREEMENT, other="two", is_blind=True), "bd"),
    ],
)
def test_the_order_and_the_choice_of_items(chosen, expected):
    assert shown(choose(entries(), find_other, GoldenSet(), chosen)) == expected


def test_items_that_are_left_out_are_counted():
    chosen = choose(
        entries(), find_other, GoldenSet(), selection(Order.AGREEMENT, other="two", is_blind=True)
    )
    assert (chosen.failed, chosen.equal, chosen.unmatched, chosen.decided) == (0, 2, 1, 0)
    golden = GoldenSet([decided("a", Decision.ACCEPT)])
    chosen = choose(entries(), find_other, golden, selection())
    assert (shown(chosen), chosen.failed, chosen.decided) == ("bde", 1, 1)


def test_the_random_order_depends_on_the_seed_alone():
    keys = {f"\udcff{number}": ("good", 0.5) for number in range(50)}
    orders = [
        shown(choose(entries(rows), find_other, GoldenSet(), selection(Order.RANDOM, seed=seed)))
        for rows, seed in ((keys, 0), (dict(reversed(keys.items())), 0), (keys, 1))
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_decided_items_are_left_out_skipped_ones_come_last_and_reviewed_shows_the_newest_first():
    golden = GoldenSet(
        [
            decided("a", Decision.EDIT, at=1.0),
            decided("b", Decision.SKIP, at=2.0),
            decided("d", Decision.REJECT, at=3.0),
        ]
    )
    assert shown(choose(entries(), find_other, golden, selection())) == "eb"
    golden.add(decided("c", Decision.EDIT, at=2.5))  # which has no answer
    assert shown(choose(entries(), find_other, golden, selection(only=REVIEWED))) == "dca"


def test_an_answer_that_changed_after_its_rejection_is_shown_again():
    golden = GoldenSet([decided("a", Decision.REJECT), decided("b", Decision.REJECT)])  # of the answer good
    assert shown(choose(entries(), find_other, golden, selection())) == "deb"


def test_an_item_is_shown_until_all_its_fields_are_decided():
    both = ReviewSelection((LABEL, CONFIDENCE), COLUMNS, Order.CONFIDENCE, CONFIDENCE)
    golden = GoldenSet([decided("b", Decision.ACCEPT), decided("d", Decision.ACCEPT, "confidence")])
    questions = choose(entries({"b": ROWS["b"], "d": ROWS["d"]}), find_other, golden, both).questions
    assert [(one.task.key, one.place.field) for one in questions] == [("b", "confidence"), ("d", "label")]


def test_steps_that_disagree_come_first():
    steps = [
        {"name": name, "prompt": "{text}", "output": {"label": {"type": "string"}}} for name in ("one", "two")
    ]
    columns = item_columns(settings(sources=False, evaluate=steps))
    rows = []
    for key, (one, two) in {"a": ("x", "x"), "b": ("x", "y"), "c": ("x", None)}.items():
        made = rated(key, values={"label": one}, step="one")
        if two is not None:
            made.items[0].values["two"] = {"label": two}
        rows.append((Task(key), made))
    chosen = choose(rows, find_other, GoldenSet(), ReviewSelection(columns[:1], columns, Order.AGREEMENT))
    assert [one.differs for one in chosen.questions] == [True, False, False]
    assert shown(chosen)[0] == "b"


def test_only_a_random_order_over_the_whole_run_is_recorded_as_a_sample():
    assert selection(Order.RANDOM).recorded_order is Order.RANDOM
    assert selection(Order.RANDOM, only=("town", "D")).recorded_order is None
    assert selection(Order.CONFIDENCE, only=FAILED).recorded_order is Order.CONFIDENCE


def test_an_unknown_column_is_an_error_with_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean town"):
        choose(entries(), find_other, GoldenSet(), selection(only=("twon", "D")))


def test_each_run_stands_on_each_side_about_equally_often():
    chosen = choose(
        entries({str(number): ("good", 0.5) for number in range(1000)}),
        find_other,
        GoldenSet(),
        selection(most=1000),
    )
    assert 430 < sum(is_left(0, question.place) for question in chosen.questions) < 570

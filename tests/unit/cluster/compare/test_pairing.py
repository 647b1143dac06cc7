"""A truth is paired by a key, by a column that identifies the rows of both, or by equal numbers."""

from __future__ import annotations

import random

import pytest

from actors.core.errors import ConfigError
from cluster.compare.comparison import compare_sides
from cluster.compare.pairing import truth_pairing
from cluster.compare.sides import TableSide
from cluster.compare.truth import table_truth
from tests.unit.cluster.compare.test_runs import Runs

ROWS = [{"id": n, "text": f"t{n % 7}", "label": "xy"[n % 2]} for n in range(40)]
OTHERS = [{**row, "label": "x"} for row in ROWS]
GOLD = [{"id": row["id"], "label": row["label"]} for row in ROWS]
MIXED = random.Random(1).sample(GOLD, 40)


def side(rows, name="gold", **options):
    return TableSide(name, lambda: iter(rows), **options)


def accuracy(a, b, gold):
    pairing = truth_pairing(gold, a, ("label",))
    truths = {"label": table_truth(pairing, "label", "label", has_items=False)}
    return compare_sides(a, b, truths).columns["label"].accuracy, pairing


@pytest.mark.parametrize(
    "gold", [GOLD, MIXED, MIXED[:15], [{**row, "rank": n} for n, row in enumerate(MIXED)]]
)
def test_rows_of_a_truth_are_found_by_a_column_that_identifies_the_rows_of_both(gold):
    known, pairing = accuracy(side(ROWS, "A"), side(OTHERS, "B"), side(gold))
    assert (known.n, known.a.estimate) == (len(gold), 1.0)
    assert pairing.note == "gold: its rows are paired by the column id"


def test_the_keys_of_a_run_are_found_in_the_column_that_they_came_from():
    runs = Runs(sources=False)
    a, b = (runs.run(name, lambda n: ("good" if n % 2 else "bad", n)) for name in "ab")
    gold = [{"label": "good" if n % 2 else "bad", "name": f"n{n}"} for n in (7, 3, 10)]
    known, pairing = accuracy(a, b, side(gold))
    assert (known.n, known.a.estimate, pairing.column) == (3, 1.0, "name")


def test_rows_are_paired_by_number_only_if_both_have_the_same_and_a_note_says_so():
    labels = [{"label": row["label"]} for row in ROWS]
    known, pairing = accuracy(side(ROWS, "A"), side(OTHERS, "B"), side(labels))
    assert known.a.estimate == 1.0
    assert "paired by number" in pairing.note


@pytest.mark.parametrize(
    ("rows", "gold"),
    [
        (ROWS, [{"label": row["label"]} for row in ROWS[:15]]),
        (ROWS, [{"text": row["text"], "label": row["label"]} for row in ROWS[:15]]),
        ([{**row, "key": f"k{row['id']}"} for row in ROWS], [{"label": "x"}] * 40),
    ],
)
def test_a_truth_whose_rows_cannot_be_found_is_an_error(rows, gold):
    with pytest.raises(ConfigError, match="name a column that identifies a row in both with --key"):
        truth_pairing(side(gold), side(rows, "A"), ("label",))


def test_a_key_that_the_user_names_decides():
    gold = side([{"id": 99, "nr": row["id"], "label": row["label"]} for row in MIXED], key="nr")
    pairing = truth_pairing(gold, side(ROWS, "A"), ("label",))
    assert (pairing.table, pairing.column, pairing.note) == (gold, None, None)


def test_tables_without_a_key_are_paired_by_number_with_a_note_and_a_run_only_with_as_many_rows():
    assert "paired by number" in compare_sides(side(ROWS, "A"), side(OTHERS, "B")).notes[0]
    for others in (OTHERS[::-1], [*OTHERS[1:], OTHERS[0]]):
        with pytest.raises(ConfigError, match=r"the same values of 'id' in another order.* --key id"):
            compare_sides(side(ROWS, "A"), side(others, "B"))
    run = Runs(sources=False).run("a", lambda n: ("good", n))
    with pytest.raises(ConfigError, match="a has 12 rows and B has 40"):
        compare_sides(run, side(ROWS, "B"))

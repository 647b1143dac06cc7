"""Right values of another type or spelling than the answers are read as the answers, and a note says so."""

from __future__ import annotations

import csv

import pytest

from cluster.compare.comparison import compare_sides
from cluster.compare.pairing import TruthPairing
from cluster.compare.sides import TableSide
from cluster.compare.truth import table_truth

WORDS = [f"word {number}" for number in range(80)]


def found(answers, rights, *, is_text=True):
    """Compare answers with themselves, and with right values that are cells of a CSV file."""

    def side(name, values, **options):
        rows = [{"key": f"k{place}", "it": value} for place, value in enumerate(values)]
        return TableSide(name, lambda: iter(rows), **options)

    gold = TruthPairing(side("gold", rights, is_text=is_text))
    truths = {"it": table_truth(gold, "it", "it", has_items=False)}
    return compare_sides(side("A", answers), side("B", answers), truths)


@pytest.mark.parametrize(
    ("answers", "rights", "right"),
    [
        (["1", "5"] * 10, ["1", "4"] * 10, 0.5),
        (["positive", "bad"] * 10, ["Positive", "bad"] * 10, 1.0),
        (["yes", "no"] * 10, [" yes ", " no"] * 10, 1.0),
        ([True, False] * 10, ["1", "1"] * 10, 0.5),
        ([True, False] * 10, ["Yes", "no"] * 10, 1.0),
        (["yes", "no"] * 10, ["true", "true"] * 10, 0.5),
        ([["x", "y"], []] * 10, ['["x", "y"]', "[1]"] * 10, 0.5),
        (["Yes", "yes"] * 10, ["yes", "yes"] * 10, 0.5),
        ([str(number) for number in range(80)], [str(number) for number in range(80)], 1.0),
        (WORDS, [word.upper() for word in WORDS], 0.0),
        (["1", "5"] * 10, ["1", "nan"] * 10, 0.5),
    ],
)
def test_right_values_are_read_as_the_answers_are_written(answers, rights, right):
    assert found(answers, rights).columns["it"].accuracy.a.estimate == right


def test_right_numbers_may_be_texts_but_no_booleans():
    errors = found([1, 2, 3], ["1", " 4 ", True], is_text=False).columns["it"].errors
    assert (errors.n, errors.a) == (2, 1.0)


def test_notes_name_the_values_that_are_read_otherwise_and_a_truth_without_any_answer():
    notes = found(["positive", "bad"] * 10, ["Positive", "bad"] * 10).notes
    assert notes == ('gold: values of it are read as the answers: "Positive" as "positive"',)
    notes = found(["positive", "bad"] * 10, ["gut", "schlecht"] * 10).notes
    assert notes == (
        'gold: none of its values of it is an answer of A or B, such as "gut": is it the right column?',
    )


def test_whole_numbers_of_a_csv_file_stay_whole(tmp_path):
    for name, more in (("a", 0), ("b", 4)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["key", "stars"], *([f"k{n}", 1 + more] for n in range(3))])
    sides = [TableSide.of_file(str(tmp_path / name)) for name in ("a.csv", "b.csv")]
    example = compare_sides(*sides).columns["stars"].examples[0]
    assert [repr(value) for value in (example.a, example.b)] == ["1", "5"]

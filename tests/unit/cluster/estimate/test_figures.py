"""How an estimate is shown, and when a command asks before a job."""

from __future__ import annotations

import json

import pytest

from cluster.estimate.figures import Estimate, Figure, against


def estimate(**figures):
    none = Figure.exact(0, "nothing")
    names = (
        "rows",
        "different",
        "answered",
        "todo",
        "input_tokens",
        "output_tokens",
        "tokens",
        "usd",
        "seconds",
    )
    return Estimate(**{**dict.fromkeys(names, none), **figures})


def test_counts_that_say_nothing_new_are_left_out():
    same = estimate(rows=Figure.exact(500, ""), different=Figure.exact(500, ""), todo=Figure.exact(500, ""))
    assert next(same.lines()) == "500 rows · 500 to do"
    other = estimate(
        rows=Figure.exact(20_000, ""),
        different=Figure.exact(19_412, ""),
        answered=Figure.exact(3_100, ""),
        todo=Figure.exact(16_312, ""),
    )
    assert next(other.lines()) == "20,000 rows · 19,412 different · 3,100 answered before · 16,312 to do"


@pytest.mark.parametrize(
    ("figure", "shown"),
    [
        (Figure.exact(4_612_345, "counted"), "input   4.61 M                        counted"),
        (Figure(812, None, 48_200, "bounds"), "input   812 to 48.2 k                 bounds"),
        (Figure(400_000, 490_000, 1.2e9, "x"), "input   490 k (400 k to 1.2 G)        x"),
        (Figure(5, None, None, "x"), "input   at least 5                    x"),
        (Figure.unknown("no price"), "input   unknown                       no price"),
    ],
)
def test_a_figure_is_shown_with_three_digits_and_what_it_rests_on(figure, shown):
    assert list(estimate(input_tokens=figure).lines())[1] == shown


def test_a_cost_shows_the_bound_that_holds_whatever_the_model_answers():
    lines = list(estimate(usd=Figure(2.05, 2.31, 2.7, "30 random rows", at_most=5.7)).lines())
    assert lines[3] == ("cost    $2.31 ($2.05 to $2.70)        at most $5.70 (max_tokens) · 30 random rows")


def test_small_costs_keep_their_digits():
    lines = list(estimate(usd=Figure(0.00001, None, 0.0123, "x")).lines())
    assert lines[3].startswith("cost    $0.000010 to $0.0123 ")


def test_the_actual_figures_stand_beside_the_estimate():
    made = estimate(
        usd=Figure(2.05, 2.31, 2.7, ""), tokens=Figure(4e6, 5e6, 6e6, ""), seconds=Figure(360, None, 660, "")
    )
    assert against(made, usd=2.2, tokens=5_100_000, seconds=400) == (
        "actual  $2.20, estimated $2.31 ($2.05 to $2.70) · 5.1 M tokens, estimated 5 M (4 M to 6 M) · "
        "6:40, estimated 6:00 to 11:00"
    )


@pytest.mark.parametrize(
    ("todo", "usd", "asks"),
    [
        (1_000, Figure.exact(1.0, ""), False),
        (1_001, Figure.exact(0.0, ""), True),
        (10, Figure(0.5, 1.01, 3.0, ""), True),
        (10, Figure(0.5, 0.9, 3.0, ""), False),
        (10, Figure(0.5, None, 3.0, ""), True),
        (10, Figure.unknown("no price"), False),
    ],
)
def test_a_command_asks_above_a_dollar_or_a_thousand_rows(todo, usd, asks):
    assert estimate(todo=Figure.exact(todo, ""), usd=usd).wants_consent is asks


def test_the_document_holds_each_figure_with_its_basis():
    document = json.loads(json.dumps(estimate(usd=Figure(1.0, 2.0, 3.0, "sample", at_most=9.0)).document()))
    assert document["usd"] == {"low": 1.0, "mid": 2.0, "high": 3.0, "at_most": 9.0, "basis": "sample"}
    assert document["rows"]["at_most"] == 0

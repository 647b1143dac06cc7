"""The sentence says what changed, and lists only better columns as better. Equal columns are one line."""

from __future__ import annotations

from cluster.compare.comparison import compare_sides
from cluster.compare.lines import comparison_lines
from cluster.compare.page import comparison_page
from cluster.compare.pairing import TruthPairing
from cluster.compare.truth import table_truth
from tests.unit.cluster.compare.test_comparison import answered, compared, side


def test_without_a_truth_the_sentence_says_first_how_much_changed():
    a = [{"key": f"k{n}", "label": "xy"[n % 2], "score": n / 60, "note": f"{n}"} for n in range(60)]
    b = [
        {**row, "label": "yx"[n % 2], "note": f"{n}!", "score": row["score"] + (-1) ** n / 100}
        for n, row in enumerate(a)
    ]
    assert compared(a, b).sentence.startswith(
        "B and A differ in single pairs: label changed in 100.0% (94.0% to 100.0%) of 60 pairs. "
        "No difference of means or shares detected: "
    )


def test_a_column_without_a_difference_is_not_said_to_be_better():
    a, b, truth = answered(400, only_a=32, only_b=61, both=250)
    a, b = ([{**row, "same": "y"} for row in rows] for rows in (a, b))
    rights = side([{"key": key, "right": value} for key, value in truth.items()], "gold")
    truths = {
        name: table_truth(TruthPairing(rights), "right", name, has_items=False) for name in ("label", "same")
    }
    found = compare_sides(side(a), side(b, "B"), truths)
    assert found.sentence.endswith("p = 0.0026). No difference detected in same.")
    equal = compare_sides(side(a), side(a, "B"), truths)
    assert "(0 only B right, 0 only A)" in equal.sentence


def test_columns_that_are_equal_everywhere_take_one_line_and_a_correction_is_said():
    rows = [{"key": f"k{n}", "one": n, "two": "x", "label": "xy"[n % 2], "score": n} for n in range(30)]
    other = [{**row, "label": "x", "score": row["score"] + row["score"] % 3} for row in rows]
    found = compared(rows, other)
    assert list(comparison_lines(found))[-1] == "equal in all pairs: one, two"
    assert '<p class="dim">Equal in all pairs: one, two</p>' in comparison_page(found)
    assert found.notes == ("p-values are corrected for 2 columns (Holm), intervals are not",)

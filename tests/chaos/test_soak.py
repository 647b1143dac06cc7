"""What a soak makes of what it has seen. The soak itself is ``make soak``: it takes half an hour."""

from __future__ import annotations

import pytest

from cluster.chaos.soak_measure import Sample, has_grown, rows, slope


def seen(at: float, memory: int, *, kind: str = "driver", processes: int = 1, files: int = 10) -> Sample:
    return Sample(at, kind, processes, memory, files)


def test_what_a_process_takes_to_warm_up_is_no_growth():
    samples = [seen(at, 20 if at < 100 else 100) for at in range(0, 400, 10)]
    (*_, total) = rows(samples, 400)
    assert total.memory == (100, 100)
    assert total.slope == pytest.approx(0)
    assert has_grown(total) == ()


@pytest.mark.parametrize("what", ["memory", "files", "processes"])
def test_what_grows_beyond_its_swing_is_named(what):
    samples = [
        seen(at, 1000 + (at if what == "memory" else 0), files=10 + (at // 40 if what == "files" else 0))
        if what != "processes"
        else seen(at, 1000, processes=1 + at // 150)
        for at in range(0, 400, 10)
    ]
    (*_, total) = rows(samples, 400)
    (sentence,) = has_grown(total)
    assert sentence.startswith({"files": "open files"}.get(what, what))


def test_kinds_are_summed_moment_by_moment_and_the_largest_comes_first():
    samples = [seen(at, 10) for at in (150, 350)] + [seen(at, 30, kind="Journal") for at in (150, 350)]
    first, second, total = rows(samples, 400)
    assert (first.kind, second.kind, total.kind) == ("Journal", "driver", "all")
    assert total.memory == (40, 40)
    assert total.files == (20, 20)


def test_a_slope_is_that_of_the_line_through_the_points_and_none_without_two_of_them():
    assert slope([(0, 1), (10, 21)]) == pytest.approx(2)
    assert slope([(5, 1), (5, 2)]) == 0
    assert slope([]) == 0

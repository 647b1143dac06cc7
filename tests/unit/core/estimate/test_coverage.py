"""A simulation: how often the interval of a sampled total holds the true total.

Each case is a job of 10,000 rows with other costs. From each, 1,000 samples are drawn.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from actors.core.estimate.totals import Reservoir, total, total_beside, typical_ratio

ROWS = 10_000
RUNS = 1000
SIGMA = float(np.sqrt(np.log(1 + 0.9**2)))  # of log-normal values with a coefficient of variation of 0.9


CASES = {
    "log-normal answers": lambda counted, output, second, luck: output,
    "log-normal answers, sorted by length": lambda counted, output, second, luck: np.sort(output),
    "answers as long as the input, sorted": lambda counted, output, second, luck: (
        counted * luck.lognormal(0, SIGMA, ROWS)
    ),
    "three steps": lambda counted, output, second, luck: output + second + luck.lognormal(3, SIGMA, ROWS),
    "a second step for a third of the rows": lambda counted, output, second, luck: (
        output + second * (luck.random(ROWS) < 1 / 3)
    ),
    "a long second step for a tenth of the rows": lambda counted, output, second, luck: (
        output + 2 * second * (luck.random(ROWS) < 0.1)
    ),
    "a long second step for the longest fifth of the rows": lambda counted, output, second, luck: (
        output + 2 * second * (np.arange(ROWS) > 0.8 * ROWS)
    ),
    "one step that skips four rows of five": lambda counted, output, second, luck: (
        output * (luck.random(ROWS) < 0.2)
    ),
    "short choices": lambda counted, output, second, luck: luck.integers(8, 15, ROWS).astype(float),
}


def costs(case):
    """Return the counted input tokens and the output tokens of each row of a job."""
    luck = np.random.default_rng(20261130)
    counted = np.sort(luck.lognormal(5, 0.6, ROWS))  # the file is sorted by length
    output = luck.lognormal(4, SIGMA, ROWS)
    second = luck.lognormal(5, SIGMA, ROWS)
    return counted, CASES[case](counted, output, second, luck)


def covered(values, make, *, size=30):
    """Return the share of samples whose interval holds the sum of `values`, and the median half-width."""
    truth, held, widths = float(values.sum()), 0, []
    luck = random.Random(7)
    for _ in range(RUNS):
        span = make(luck.sample(range(len(values)), size))
        held += span.low <= truth <= span.high
        widths.append((span.high - span.low) / 2 / truth)
    return held / RUNS, float(np.median(widths))


@pytest.mark.parametrize("case", CASES)
def test_the_interval_of_30_rows_holds_the_total_in_93_of_100_samples(case):
    _, output = costs(case)
    share, width = covered(output, lambda rows: total([float(output[row]) for row in rows], ROWS))
    assert share >= 0.93
    assert width < 2.5, "an interval this wide says nothing"


def beside(cost, counted, reported):
    """Return what makes the span of a cost from a sample of rows, as the program does."""

    def make(rows):
        known = [float(counted[row]) for row in rows]
        ratio = typical_ratio([float(reported[row]) for row in rows], known)
        return total_beside([float(cost[row]) for row in rows], known, float(counted.sum()), ROWS, ratio)

    return make


@pytest.mark.parametrize("case", CASES)
def test_the_intervals_of_the_input_and_the_cost_beside_the_counted_input_hold_too(case):
    """Half of the rows have a second question, of which nothing is counted."""
    counted, output = costs(case)
    luck = np.random.default_rng(3)
    again = (output > np.median(output)) * 0.8 * counted * luck.random(ROWS)
    reported = 1.1 * counted * luck.normal(1, 0.05, ROWS) + again
    for value in (reported, reported + 4 * output):
        share, _ = covered(value, beside(value, counted, reported))
        assert share >= 0.93


def test_counted_input_narrows_the_interval_of_a_cost_that_it_makes():
    counted, _ = costs("short choices")
    cost = counted * np.random.default_rng(3).normal(1, 0.05, ROWS)
    _, alone = covered(cost, lambda rows: total([float(cost[row]) for row in rows], ROWS))
    _, narrow = covered(cost, beside(cost, counted, cost))
    assert narrow < alone / 4


def test_the_interval_holds_also_where_most_rows_are_in_the_sample():
    output = costs("log-normal answers")[1][:60]
    share, width = covered(output, lambda rows: total([float(output[row]) for row in rows], 60), size=40)
    assert share >= 0.93
    assert width < 0.25


def test_every_row_has_the_same_chance_to_be_drawn():
    drawn = np.zeros(20)
    for seed in range(4_000):
        reservoir: Reservoir[int] = Reservoir(5, seed)
        for row in range(20):
            reservoir.offer(row)
        drawn[list(reservoir.rows)] += 1
    assert abs(drawn - 1000).max() < 5 * np.sqrt(1000 * 0.75), "five standard deviations of a count"

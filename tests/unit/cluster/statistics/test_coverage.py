"""A simulation: how often intervals hold an injected difference, and how often none raises an alarm.

Seeds are fixed, so that the test gives the same figures each time. At least 93 of 100 intervals hold the
difference of 0.05, and at most 7 of 100 find a difference where there is none. Scores have 30
tasks: more are easier, and take longer.
"""

from __future__ import annotations

import numpy as np
import pytest

from cluster.statistics.intervals import paired_bootstrap, share_difference
from cluster.statistics.significance import mcnemar_mid_p

SEEDS = 400
INJECTED = 0.05
RESAMPLES = 500

# What differs between the scores of two answers to one task; the mean of each is zero.
SCORES = {
    "normal": lambda luck, n: luck.normal(0, 0.2, n),
    "skewed": lambda luck, n: 0.3 * (luck.exponential(1, n) - 1),
    "log-normal, of the other sign": lambda luck, n: 0.3 * (np.exp(0.32) - luck.lognormal(0, 0.8, n)),
    "four of five equal": lambda luck, n: np.where(luck.random(n) < 0.2, luck.normal(0, 0.3, n), 0),
    "four of five equal, skewed": lambda luck, n: (
        np.where(luck.random(n) < 0.2, luck.exponential(0.5, n), 0) - 0.1
    ),
    "steps of a quarter": lambda luck, n: luck.choice(
        [-0.5, -0.25, 0, 0.25, 0.5], n, p=[0.05, 0.15, 0.6, 0.15, 0.05]
    ),
}


@pytest.mark.parametrize("name", SCORES)
def test_intervals_of_scores_hold_an_injected_difference_and_raise_few_alarms(name):
    n = 30
    held = alarms = 0
    for seed in range(SEEDS):
        luck = np.random.default_rng([n, seed])
        noise = SCORES[name](luck, n)
        alarms += paired_bootstrap(noise, luck, RESAMPLES).p < 0.05
        found = paired_bootstrap(noise + INJECTED, luck, RESAMPLES).interval
        held += found.low <= INJECTED <= found.high
    assert held >= 0.93 * SEEDS
    assert alarms <= 0.07 * SEEDS


@pytest.mark.parametrize("n", [30, 60])
def test_few_differences_among_equal_pairs_raise_few_alarms(n):
    """Often no sample has the rare large losses, which make up for the small gains."""
    alarms = 0
    for seed in range(SEEDS):
        luck = np.random.default_rng([n, seed])
        differences = luck.choice([0, 0.25, -1], n, p=[0.8, 0.16, 0.04])
        alarms += paired_bootstrap(differences, luck, RESAMPLES).p < 0.05
    assert alarms <= 0.09 * SEEDS


@pytest.mark.parametrize(("changed", "equal", "is_found"), [(9, 20, False), (10, 20, True), (9, 0, True)])
def test_ten_differences_among_equal_pairs_are_enough_to_find_one(changed, equal, is_found):
    values = [0.5 + 0.01 * each for each in range(changed)] + [0.0] * equal
    found = paired_bootstrap(values, np.random.default_rng(0), RESAMPLES)
    assert (found.p < 0.05, found.interval.excludes_zero) == (is_found, is_found)
    assert found.interval.low <= found.interval.estimate <= found.interval.high


# The shares of tasks that only A and only B answers rightly, without the injected difference.
@pytest.mark.parametrize("n", [30, 200, 1000])
@pytest.mark.parametrize("discordant", [0.02, 0.1, 0.3])
def test_intervals_of_labels_hold_an_injected_difference_and_raise_few_alarms(discordant, n):
    luck = np.random.default_rng(1)
    shares = [discordant / 2, discordant / 2 + INJECTED, 1 - discordant - INJECTED]
    held = [
        (interval := share_difference(only_a, only_b, n)).low <= INJECTED <= interval.high
        for only_a, only_b, _ in luck.multinomial(n, shares, SEEDS).tolist()
    ]
    alarms = [
        mcnemar_mid_p(only_a, only_b) < 0.05
        for only_a, only_b, _ in luck.multinomial(
            n, [discordant / 2, discordant / 2, 1 - discordant], SEEDS
        ).tolist()
    ]
    assert sum(held) >= 0.93 * SEEDS
    assert sum(alarms) <= 0.07 * SEEDS

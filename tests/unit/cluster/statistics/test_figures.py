"""The figures equal published or hand-computed ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.estimate.student import t_cdf, t_quantile, transformed, untransformed
from cluster.statistics.agreement import cohen_kappa, confusion
from cluster.statistics.calibration import calibration
from cluster.statistics.intervals import (
    MOST_RESAMPLED,
    Interval,
    mean_interval,
    paired_bootstrap,
    share_difference,
    wilson,
)
from cluster.statistics.significance import holm, mcnemar_mid_p


def rng():
    return np.random.default_rng(7)


# Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_the_published_intervals(successes, n, low, high):
    found = wilson(successes, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.estimate == successes / n
    mirrored = wilson(n - successes, n)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=5e-5)


def test_a_share_of_nothing_is_unknown_between_0_and_1():
    found = wilson(0, 0)
    assert (found.low, found.high) == (0, 1)
    assert math.isnan(found.estimate)
    with pytest.raises(ValueError, match="3 of 2 is no share"):
        wilson(3, 2)


def test_the_difference_of_paired_shares_equals_the_formula_by_hand():
    """Bentur et al. (2009), as in Fagerland et al.: of 21 children, 1 only before and 7 only after."""
    found = share_difference(1, 7, 21)
    assert found.estimate == pytest.approx(6 / 21)
    assert (found.low, found.high) == pytest.approx((0.0134, 0.5084), abs=5e-5)
    with pytest.raises(ValueError, match="cannot differ"):
        share_difference(3, 3, 5)


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        (1, 7, 10 / 256),  # Fagerland et al. (2013): exact 0.070, mid-p 0.039
        (0, 6, 1 / 64),
        (5, 5, 1.0),
        (0, 0, 1.0),
        (61, 32, 0.00259),
    ],
)
def test_mid_p_equals_the_published_values(b, c, p):
    assert mcnemar_mid_p(b, c) == mcnemar_mid_p(c, b) == pytest.approx(p, abs=5e-5)


def test_mid_p_of_many_pairs_is_that_of_the_normal_limit():
    assert mcnemar_mid_p(49_500, 50_500) == pytest.approx(mcnemar_mid_p(49_501, 50_501), rel=0.01)
    assert mcnemar_mid_p(0, 10**9) == 0


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1, 1]
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm([math.nan])


def test_kappa_of_the_textbook_example_is_0_4():
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(a, b) == pytest.approx(0.4)
    assert confusion(a, b)["yes", "no"] == 5
    assert math.isnan(cohen_kappa(["x"], ["x"]))
    assert math.isnan(cohen_kappa([], []))


def test_calibration_is_the_weighted_distance_of_confidence_and_accuracy():
    found = calibration([0.95, 0.95, 0.15, 1.0], [True, False, False, True])
    assert (found.bins[9].count, found.bins[1].count, found.count) == (3, 1, 4)
    assert found.bins[9].confidence == pytest.approx(2.9 / 3)
    assert found.bins[9].accuracy == pytest.approx(2 / 3)
    assert found.error == pytest.approx((0.9 + 0.15) / 4)
    assert math.isnan(calibration([], []).error)
    with pytest.raises(ValueError, match="from 0 to 1"):
        calibration([1.2], [True])


# Abramowitz and Stegun, table 26.10.
@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (10, 2.228), (29, 2.045), (30, 2.042), (120, 1.980)],
)
def test_the_t_distribution_equals_the_table(freedom, quantile):
    assert t_quantile(0.975, freedom) == pytest.approx(quantile, abs=5e-4)
    assert t_cdf(-quantile, freedom) == pytest.approx(0.025, abs=2e-5)


def test_the_t_distribution_with_many_degrees_of_freedom_is_continuous():
    assert t_cdf(2.0, 10_000) == pytest.approx(t_cdf(2.0, 10_001), abs=1e-8)
    assert t_cdf(-math.inf, 5) == 0


@given(t=st.floats(-20, 20), slant=st.floats(-1, 1))
def test_halls_transformation_is_undone(t, slant):
    assert untransformed(transformed(t, slant), slant) == pytest.approx(t, abs=1e-3)


def test_the_mean_of_symmetric_values_has_students_interval():
    found = mean_interval([1, 2, 3, 4, 5])
    half = 2.7764 * math.sqrt(2.5 / 5)
    assert (found.low, found.estimate, found.high) == pytest.approx((3 - half, 3, 3 + half), abs=1e-3)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([], -math.inf, math.inf),
        ([4.0], -math.inf, math.inf),
        ([0.0] * 9, 0, 0),
        ([1.0] * 9, 1, 1),
        ([-1.0] * 3, -1, 0),  # three equal signs are no evidence
    ],
)
def test_bounds_where_nothing_varies(values, low, high):
    found = paired_bootstrap(values, rng()).interval
    assert (found.low, found.high) == (low, high)


def test_values_that_are_not_numbers_are_an_error():
    with pytest.raises(ValueError, match="finite"):
        mean_interval([1.0, math.nan])


def test_equal_seeds_give_equal_intervals():
    values = rng().exponential(1, 40)
    assert paired_bootstrap(values, rng()) == paired_bootstrap(list(values), rng())


def test_the_interval_of_many_values_continues_that_of_few():
    values = rng().exponential(1, MOST_RESAMPLED + 1)
    resampled, many = paired_bootstrap(values[:-1], rng()).interval, paired_bootstrap(values, rng()).interval
    width = many.high - many.low
    assert resampled.low == pytest.approx(many.low, abs=width / 20)
    assert resampled.high == pytest.approx(many.high, abs=width / 20)


@given(st.lists(st.integers(-3, 5).map(float) | st.floats(-1e6, 1e6), min_size=2, max_size=40))
def test_the_p_value_is_below_5_percent_where_the_interval_excludes_zero(values):
    for found in (
        paired_bootstrap(values, rng(), 200),
        paired_bootstrap([-value for value in values], rng(), 200),
    ):
        interval = found.interval
        assert interval.low <= interval.estimate <= interval.high
        assert (found.p < 0.05) == interval.excludes_zero


def test_an_interval_excludes_zero_if_it_lies_on_one_side():
    assert Interval(0.1, 0.2, 0.3).excludes_zero
    assert not Interval(-0.1, 0.2, 0.3).excludes_zero

"""Repeatable random numbers."""

from __future__ import annotations

import math
import statistics

import pytest

from simulators import chance
from simulators.chance import Draws, lognormal, uniforms


def test_the_same_seed_and_names_draw_the_same_and_any_other_draws_something_else():
    assert uniforms(1, "key", 2) == uniforms(1, "key", 2)
    others = {uniforms(1, "key", 2), uniforms(2, "key", 2), uniforms(1, "kez", 2), uniforms(1, "key", 3)}
    assert len(others) == 4


def test_names_that_read_the_same_when_joined_are_still_apart():
    assert uniforms(0, "a", "bc") != uniforms(0, "ab", "c")


def test_uniforms_spread_evenly():
    drawn = [u for n in range(5000) for u in uniforms(0, n)]
    assert statistics.mean(drawn) == pytest.approx(0.5, abs=0.01)
    assert statistics.pvariance(drawn) == pytest.approx(1 / 12, abs=0.005)


@pytest.mark.parametrize("digest", [b"\x00" * 32, b"\xff" * 32])
def test_the_extremes_stay_inside_so_that_every_quantile_is_finite(monkeypatch, digest):
    class Extreme:
        def __init__(self, data, digest_size):
            pass

        def digest(self):
            return digest

    monkeypatch.setattr(chance.hashlib, "blake2b", Extreme)
    drawn = uniforms(0)
    assert all(0.0 < u < 1.0 for u in drawn)
    assert all(math.isfinite(lognormal(1.0, 1.0, u)) for u in drawn)


def test_lognormal_has_its_median_and_no_spread_without_sigma():
    assert lognormal(0.3, 0.4, 0.5) == pytest.approx(0.3)
    assert lognormal(0.3, 0.0, 0.999) == pytest.approx(0.3)
    drawn = [math.log(lognormal(0.3, 0.4, uniforms(0, n)[1])) for n in range(4000)]
    assert statistics.pstdev(drawn) == pytest.approx(0.4, abs=0.02)


def test_draws_go_on_past_one_block_and_reach_both_ends_of_a_range():
    draws = Draws(7, "x")
    numbers = [draws.number() for _ in range(40)]
    assert len(set(numbers)) == 40
    assert {draws.integer(2, 4) for _ in range(200)} == {2, 3, 4}


def test_a_sample_holds_different_choices():
    draws = Draws(7, "x")
    for n in range(6):
        assert len(set(draws.sample("abcde", min(n, 5)))) == min(n, 5)

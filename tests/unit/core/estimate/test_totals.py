"""Totals from a sample: exact where all is known, unbounded where nothing is."""

from __future__ import annotations

import math

import pytest

from actors.core.estimate.totals import Reservoir, Span, total, total_beside, unseen


def drawn(size, rows, seed=1):
    reservoir: Reservoir[int] = Reservoir(size, seed)
    for row in range(rows):
        reservoir.offer(row)
    return reservoir


def test_a_sample_of_all_rows_gives_the_sum():
    assert total([1.0, 2.0, 40.0], 3) == Span(43.0, 43.0, 43.0)


def test_a_job_without_rows_takes_nothing():
    assert total([], 0) == Span(0.0, 0.0, 0.0)


def test_fewer_than_five_values_bound_nothing():
    span = total([10.0, 11.0, 12.0], 100)
    assert (span.low, span.mid, span.high) == (-math.inf, 1100.0, math.inf)


def test_equal_values_have_no_spread():
    assert total([12.0] * 30, 1000) == Span(12_000.0, 12_000.0, 12_000.0)


def test_symmetric_values_have_about_the_t_interval():
    sample = [float(value) for value in range(1, 31)]
    span = total(sample, 10**9)
    error = 10**9 * 8.8034 / math.sqrt(30)
    assert span.mid - span.low == pytest.approx(2.150 * error, rel=0.01)
    assert span.high - span.mid == pytest.approx(2.586 * error, rel=0.01)


def test_a_few_high_values_move_the_upper_bound_more_than_the_lower():
    span = total([1.0] * 27 + [50.0, 60.0, 70.0], 1000)
    assert span.high - span.mid > 2 * (span.mid - span.low)


def test_one_rare_value_leaves_the_upper_bound_finite():
    span = total([12.0] * 29 + [13.0], 1000)
    assert 12_033 < span.high < 12_400


def test_a_total_is_cut_to_what_is_possible():
    assert total([10.0, 11.0, 12.0], 100).within(500, 2000) == Span(500, 1100.0, 2000)


def test_a_value_in_proportion_to_a_counted_one_is_known_without_spread():
    span = total_beside([2.0, 4.0, 6.0, 8.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0], 1000.0, 300, 2.0)
    assert span.low == pytest.approx(2000)
    assert span.high == pytest.approx(2000)


def test_what_30_rows_do_not_show_may_stand_in_an_eighth_of_the_others():
    assert unseen(30, 1030) == pytest.approx(122, abs=1)
    assert unseen(0, 50) == 50
    assert unseen(30, 30) == 0


def test_a_sample_keeps_the_order_of_the_stream_and_the_seed_chooses_it():
    rows = drawn(30, 5_000).rows
    assert list(rows) == sorted(set(rows))
    assert len(rows) == 30
    assert rows == drawn(30, 5_000).rows
    assert rows != drawn(30, 5_000, seed=2).rows


def test_a_stream_shorter_than_the_sample_is_drawn_whole():
    assert drawn(30, 7).rows == tuple(range(7))
    assert drawn(30, 7).seen == 7

"""Aggregate and verify, by example."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

from actors.core.messages.tasks import ItemResult, ItemState
from actors.core.messages.values import Json
from actors.core.task import dimensions
from actors.core.task.aggregation import aggregate
from actors.core.task.dimensions import DimensionSettings, Flag, Observation, observe, seed_of, verify

SETTINGS = DimensionSettings("quality", "quality", 2.0, "Write about {key}: {evidence}")


def observations(*values: float, source: str = "wire") -> list[Observation]:
    return [Observation(f"{source}:{place}", source, value) for place, value in enumerate(values)]


GOOD = aggregate(SETTINGS, observations(0.5, 0.6, 0.7, 0.8), seed=1)
GOOD_IDS = frozenset({"wire:0", "wire:1", "wire:2", "wire:3"})


def answer(**changes: object) -> dict[str, object]:
    return {"finding": "It holds up well.", "evidence": ["wire:3", "wire:0"], "score": GOOD.score, **changes}


# ---- aggregate -------------------------------------------------------------------------------------------


def test_without_observations_there_is_no_number():
    nothing = aggregate(SETTINGS, [], seed=1)
    assert (nothing.n, nothing.score, nothing.spread, nothing.low, nothing.high) == (
        0,
        None,
        None,
        None,
        None,
    )
    assert nothing.evidence_for == nothing.evidence_against == ()


def test_a_single_observation_is_its_own_score_and_interval():
    single = aggregate(SETTINGS, observations(0.7), seed=1)
    assert (single.n, single.score, single.spread, single.low, single.high) == (1, 0.7, 0.0, 0.7, 0.7)
    assert (single.evidence_for, single.evidence_against) == (("wire:0",), ())


@pytest.mark.parametrize("value", [0.1, 0.7])
@pytest.mark.parametrize("copies", [3, 6, 7])
def test_equal_values_are_the_score_to_the_last_bit_and_have_no_spread(value, copies):
    same = aggregate(SETTINGS, observations(*[value] * copies), seed=1)
    assert (same.score, same.spread, same.low, same.high) == (value, 0.0, value, value)


def test_two_values_of_one_source_are_averaged():
    assert aggregate(SETTINGS, observations(0.2, 0.8), seed=1).score == pytest.approx(0.5)


def test_one_outlier_among_many_hardly_moves_the_score():
    steady = [0.78, 0.79, 0.8, 0.8, 0.8, 0.8, 0.81, 0.82]
    mean_with_outlier = (sum(steady) + 0.0) / 9
    score = aggregate(SETTINGS, observations(*steady, 0.0), seed=1).score
    assert mean_with_outlier < 0.72
    assert score == pytest.approx(0.8, abs=0.01)


def test_a_rating_that_most_items_share_does_not_silence_the_rest():
    # The reason for not taking Huber's mean: here the median absolute deviation is 0, and it would give 1.0.
    score = aggregate(SETTINGS, observations(1.0, 1.0, 1.0, 0.0, 0.0), seed=1).score
    assert score == pytest.approx(0.6)


def test_the_spread_is_the_scaled_median_absolute_deviation():
    assert aggregate(SETTINGS, observations(1, 2, 3, 4, 5), seed=1).spread == pytest.approx(1.4826 * 1.0)


def test_a_source_with_many_items_counts_at_most_twice_a_source_with_one():
    crowd = observations(*[1.0] * 1000, source="crowd")
    voices = [Observation(f"{name}:0", name, 0.0) for name in "abcd"]
    score = aggregate(SETTINGS, [*crowd, *voices], seed=1).score
    assert score == pytest.approx(2 / 6, abs=0.01)


def test_the_interval_narrows_with_more_sources():
    few = [Observation(f"{s}:{i}", str(s), 0.2 + 0.6 * i) for s in range(2) for i in range(2)]
    many = [Observation(f"{s}:{i}", str(s), 0.2 + 0.6 * i) for s in range(20) for i in range(2)]
    wide, narrow = aggregate(SETTINGS, few, seed=1), aggregate(SETTINGS, many, seed=1)
    assert narrow.high - narrow.low < 0.7 * (wide.high - wide.low)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_bounds_are_quantiles_of_the_resampled_means(seed):
    """Nine in ten of the means of resamples lie between them, before they are stretched."""
    values = [0.1, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.75, 0.9]
    each_of_its_own = [Observation(f"s{n}:0", f"s{n}", value) for n, value in enumerate(values)]
    found = aggregate(SETTINGS, each_of_its_own, seed)
    pulled_in = np.clip(values, 0.3, 0.75)  # a fifth of the weight on each side
    weights = np.random.default_rng(seed).standard_exponential((len(values), 200))
    means = pulled_in @ weights / weights.sum(axis=0)
    inside = sorted(means)[10:-10]
    stretch = 1 / (1 - 2 * 0.2)
    assert found.score == pytest.approx(pulled_in.mean())
    assert found.low == pytest.approx(found.score - stretch * (found.score - inside[0]))
    assert found.high == pytest.approx(found.score + stretch * (inside[-1] - found.score))


def test_items_of_one_source_tell_less_than_as_many_sources():
    values = [place / 10 for place in range(10)]
    one = aggregate(SETTINGS, observations(*values), seed=1)
    ten = aggregate(SETTINGS, [Observation(f"{v}:0", str(v), v) for v in values], seed=1)
    assert one.score == pytest.approx(ten.score)
    assert one.high - one.low > 1.5 * (ten.high - ten.low)


def test_sources_that_agree_and_sources_at_the_ends_of_the_scale_are_told_apart():
    agreeing = [Observation("a:0", "a", 0.5), Observation("b:0", "b", 0.5)]
    opposed = [Observation("a:0", "a", 0.0), Observation("b:0", "b", 1.0)]
    assert aggregate(SETTINGS, agreeing, seed=1).agreement == 1.0
    assert aggregate(SETTINGS, opposed, seed=1).agreement == 0.0
    assert aggregate(SETTINGS, opposed, seed=1).source_means == {"a": 0.0, "b": 1.0}


def test_agreement_is_relative_to_the_scale_of_the_field():
    opposed = [Observation("a:0", "a", 0.0), Observation("b:0", "b", 1.0)]
    wide = DimensionSettings("stars", "stars", maximum=10.0)
    assert aggregate(wide, opposed, seed=1).agreement == pytest.approx(0.9)


def test_the_best_evidence_is_the_highest_and_the_lowest_and_never_both():
    best = aggregate(SETTINGS, observations(0.1, 0.9, 0.5, 0.3, 0.7), seed=1)
    assert best.evidence_for == ("wire:1", "wire:4", "wire:2")
    assert best.evidence_against == ("wire:0", "wire:3")


def test_at_most_three_items_are_named_on_each_side():
    best = aggregate(SETTINGS, observations(*[place / 20 for place in range(20)]), seed=1)
    assert best.evidence_for == ("wire:19", "wire:18", "wire:17")
    assert best.evidence_against == ("wire:0", "wire:1", "wire:2")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e101])
def test_a_value_that_cannot_be_added_up_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"quality: wire:1 has the value"):
        aggregate(SETTINGS, observations(0.5, value), seed=1)


def test_another_seed_gives_the_same_score_and_another_interval():
    spread_out = [Observation(f"{v}:0", str(v), v) for v in (0.1, 0.3, 0.4, 0.8, 0.9, 0.2, 0.6, 0.5)]
    one, two = aggregate(SETTINGS, spread_out, seed=1), aggregate(SETTINGS, spread_out, seed=2)
    assert one.score == two.score
    assert (one.low, one.high) != (two.low, two.high)


def test_the_seed_of_a_task_is_the_same_in_another_process():
    program = "from actors.core.task.dimensions import seed_of; print(seed_of('task-1'))"
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603 - our own program
    assert int(printed.stdout) == seed_of("task-1") != seed_of("task-2")


def test_aggregates_and_observations_pickle():
    assert pickle.loads(pickle.dumps(GOOD)) == GOOD  # noqa: S301 - our own bytes
    assert pickle.loads(pickle.dumps(observations(0.1))) == observations(0.1)  # noqa: S301 - our own bytes


@pytest.mark.parametrize(("minimum", "maximum"), [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)])
def test_a_scale_without_extent_is_refused(minimum, maximum):
    with pytest.raises(ValueError, match="min < max"):
        DimensionSettings("d", "f", minimum=minimum, maximum=maximum)


def test_a_weight_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="weight"):
        DimensionSettings("d", "f", weight=math.nan)


# ---- observe ---------------------------------------------------------------------------------------------


def evaluated(values: dict[str, Json], step: str = "evaluate") -> ItemResult:
    return ItemResult("wire:0", "wire", ItemState.SUCCEEDED, {step: values})


def test_an_observation_takes_the_field_and_quotes_the_first_text():
    item = evaluated({"quality": 1, "note": "sound", "other": "later"})
    assert observe(SETTINGS, [item]) == (Observation("wire:0", "wire", 1.0, "sound"),)


def test_an_item_without_an_answer_to_the_step_of_the_dimension_is_not_observed():
    assert observe(SETTINGS, [evaluated({"quality": 1}, "other")]) == ()
    assert observe(SETTINGS, [evaluated({"quality": None})]) == ()


@pytest.mark.parametrize("values", [{}, {"quality": "0.5"}, {"quality": True}, {"quality": 10**400}])
def test_an_evaluation_without_a_usable_number_is_refused_by_name(values):
    with pytest.raises(ValueError, match="wire:0 has no usable number in the field quality"):
        observe(SETTINGS, [evaluated(values)])


# ---- verify ----------------------------------------------------------------------------------------------


def test_an_answer_that_holds_is_taken_as_it_is():
    result = verify(SETTINGS, GOOD, answer(), GOOD_IDS)
    assert (result.finding, result.evidence, result.flags) == ("It holds up well.", ("wire:3", "wire:0"), ())
    assert (result.name, result.score, result.low, result.high, result.n) == (
        "quality",
        GOOD.score,
        GOOD.low,
        GOOD.high,
        4,
    )


def test_cited_items_that_do_not_exist_are_dropped_and_flagged():
    result = verify(SETTINGS, GOOD, answer(evidence=["wire:9", "wire:2", 7, None]), GOOD_IDS)
    assert result.evidence == ("wire:2",)
    assert result.flags == (Flag.UNKNOWN_EVIDENCE,)


def test_a_citation_in_brackets_is_understood_and_repeats_are_dropped():
    result = verify(SETTINGS, GOOD, answer(evidence=["[wire:2]", " wire:2 ", "wire:2"]), GOOD_IDS)
    assert (result.evidence, result.flags) == (("wire:2",), ())


def test_without_a_citation_the_best_evidence_stands_in():
    result = verify(SETTINGS, GOOD, answer(evidence=[]), GOOD_IDS)
    assert result.evidence == ("wire:3", "wire:2", "wire:0", "wire:1")
    assert result.flags == (Flag.NO_EVIDENCE,)


def test_with_unknown_citations_only_the_best_evidence_stands_in():
    result = verify(SETTINGS, GOOD, answer(evidence=["made up"]), GOOD_IDS)
    assert result.evidence == GOOD.evidence_for + GOOD.evidence_against
    assert result.flags == (Flag.UNKNOWN_EVIDENCE, Flag.NO_EVIDENCE)


@pytest.mark.parametrize("score", [0.0, 1.0, None, "0.65", math.nan, True, 10**400])
def test_a_score_outside_the_interval_is_flagged_and_never_reported(score):
    result = verify(SETTINGS, GOOD, answer(score=score), GOOD_IDS)
    assert result.score == GOOD.score
    assert result.flags == (Flag.SCORE_OUTSIDE_INTERVAL,)


@pytest.mark.parametrize(
    ("score", "is_outside"),
    [(0.71, False), (0.70235, False), (0.72225, False), (0.7022, True), (0.7224, True)],
)
def test_a_score_that_was_rounded_is_not_outside(score, is_outside):
    single = aggregate(SETTINGS, observations(0.7123), seed=1)
    flags = verify(SETTINGS, single, answer(score=score), GOOD_IDS).flags
    assert (Flag.SCORE_OUTSIDE_INTERVAL in flags) == is_outside


@pytest.mark.parametrize("finding", ["", " \n ", None, 5])
def test_an_empty_finding_is_flagged(finding):
    result = verify(SETTINGS, GOOD, answer(finding=finding), GOOD_IDS)
    assert (result.finding, result.flags) == ("", (Flag.EMPTY_FINDING,))


def test_a_long_finding_is_cut_and_flagged():
    result = verify(SETTINGS, GOOD, answer(finding="x" * 2001), GOOD_IDS)
    assert (len(result.finding), result.finding[-1], result.flags) == (2000, "…", (Flag.LONG_FINDING,))
    assert verify(SETTINGS, GOOD, answer(finding="x" * 2000), GOOD_IDS).flags == ()


def test_a_missing_answer_leaves_the_numbers_and_the_best_evidence():
    result = verify(SETTINGS, GOOD, None, GOOD_IDS)
    assert (result.score, result.finding) == (GOOD.score, "")
    assert result.evidence == GOOD.evidence_for + GOOD.evidence_against
    assert result.flags == (Flag.NO_FINDING,)


def test_a_dimension_that_asks_for_no_finding_misses_none():
    silent = DimensionSettings("risk", "risk", -1.0)
    assert verify(silent, GOOD, None, GOOD_IDS).flags == ()


def test_a_single_observation_is_thin():
    assert Flag.THIN in verify(SETTINGS, aggregate(SETTINGS, observations(0.5), seed=1), None, ()).flags
    assert Flag.THIN not in verify(SETTINGS, GOOD, None, ()).flags


def test_sources_that_disagree_are_flagged():
    opposed = aggregate(SETTINGS, [Observation("a:0", "a", 0.1), Observation("b:0", "b", 0.9)], seed=1)
    assert Flag.SOURCES_DISAGREE in verify(SETTINGS, opposed, None, ()).flags


def test_flags_are_plain_strings_outside():
    flags = verify(SETTINGS, dimensions.NOTHING, None, ()).flags
    assert json.dumps(flags) == '["thin", "no_finding"]'
    assert {type(flag) for flag in flags} == {str}

"""What must hold of every aggregate and every verification."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from actors.core.task.aggregation import aggregate
from actors.core.task.dimensions import SYNTHESIS_FIELDS, DimensionSettings, Observation, verify

SCALE = DimensionSettings("quality", "quality", 1.0, "{evidence}")
SOURCES = ("wire", "notes", "api")

# A grid, so that values tie, and arithmetic on them stays exact enough to compare.
values = st.integers(0, 1000).map(lambda place: place / 1000)
seeds = st.integers(0, 2**64 - 1)


@st.composite
def observed(draw, least=1):
    drawn = draw(st.lists(st.tuples(values, st.sampled_from(SOURCES)), min_size=least, max_size=30))
    return [Observation(f"{source}:{place}", source, value) for place, (value, source) in enumerate(drawn)]


def mapped(observations, scale, shift):
    return [Observation(o.item_id, o.source, o.value * scale + shift, o.quote) for o in observations]


@given(observed(), seeds)
def test_score_and_interval_stay_within_the_values_and_the_interval_holds_the_score(observations, seed):
    found = aggregate(SCALE, observations, seed)
    least, most = min(o.value for o in observations), max(o.value for o in observations)
    assert least <= found.low <= found.score <= found.high <= most
    assert found.spread >= 0
    assert 0 <= found.agreement <= 1
    assert found.n == len(observations)


@given(observed(), seeds, st.randoms(use_true_random=False))
def test_the_order_of_observations_changes_nothing_at_all(observations, seed, random):
    shuffled = list(observations)
    random.shuffle(shuffled)
    assert aggregate(SCALE, shuffled, seed) == aggregate(SCALE, observations, seed)


@given(observed(), seeds, st.sampled_from([0.5, 2.0, 100.0]), st.integers(-100, 100))
def test_another_unit_and_another_zero_give_the_same_result_in_that_unit(observations, seed, scale, shift):
    found = aggregate(SCALE, observations, seed)
    unit = DimensionSettings("q", "q", minimum=shift, maximum=scale + shift)
    moved = aggregate(unit, mapped(observations, scale, shift), seed)
    assert moved.score == pytest.approx(found.score * scale + shift, abs=1e-9)
    assert moved.low == pytest.approx(found.low * scale + shift, abs=1e-9)
    assert moved.high == pytest.approx(found.high * scale + shift, abs=1e-9)
    assert moved.spread == pytest.approx(found.spread * scale, abs=1e-9)
    assert moved.agreement == pytest.approx(found.agreement, abs=1e-9)
    assert moved.evidence_for == found.evidence_for


@given(observed(least=2), seeds, st.data())
def test_a_higher_value_never_lowers_the_score(observations, seed, data):
    place = data.draw(st.integers(0, len(observations) - 1))
    chosen = observations[place]
    raised = data.draw(values.filter(lambda value: value >= chosen.value))
    better = [*observations]
    better[place] = Observation(chosen.item_id, chosen.source, raised)
    assert aggregate(SCALE, better, seed).score >= aggregate(SCALE, observations, seed).score - 1e-12


@given(values, values, st.integers(1, 300), st.integers(2, 5), seeds)
def test_one_source_never_gets_more_than_two_voices_however_much_it_says(loud, quiet, copies, others, seed):
    crowd = [Observation(f"crowd:{place}", "crowd", loud) for place in range(copies)]
    rest = [Observation(f"s{place}:0", f"s{place}", quiet) for place in range(others)]
    score = aggregate(SCALE, crowd + rest, seed).score
    assert abs(score - quiet) <= 2 / (2 + others) * abs(loud - quiet) + 1e-12


@given(observed(least=2), seeds)
def test_no_item_is_evidence_for_and_against_and_every_one_exists(observations, seed):
    found = aggregate(SCALE, observations, seed)
    named = found.evidence_for + found.evidence_against
    assert len(set(named)) == len(named)
    assert set(named) <= {o.item_id for o in observations}
    by_id = {o.item_id: o.value for o in observations}
    assert min(by_id[i] for i in found.evidence_for) >= max(by_id[i] for i in found.evidence_against)


junk = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
answers = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "finding": junk | st.text(max_size=3000),
        "evidence": junk | st.lists(junk | st.sampled_from(["wire:0", "[wire:1]", "notes:2"]), max_size=6),
        "score": junk,
    },
)


@given(observed(), answers, seeds)
@settings(max_examples=200)
def test_whatever_the_model_says_the_result_cites_known_items_and_keeps_the_numbers(
    observations, answer, seed
):
    known = {o.item_id for o in observations}
    found = aggregate(SCALE, observations, seed)
    result = verify(SCALE, found, answer, known)
    assert set(result.evidence) <= known
    assert result.evidence
    assert (result.score, result.low, result.high, result.n) == (found.score, found.low, found.high, found.n)
    assert len(result.finding) <= 2000
    assert len(set(result.flags)) == len(result.flags)


@given(observed(), seeds)
def test_an_answer_made_of_the_aggregate_itself_raises_no_flag_about_the_answer(observations, seed):
    assume(len(observations) > 1)
    found = aggregate(SCALE, observations, seed)
    answer = {"finding": "Fine.", "evidence": list(found.evidence_for), "score": found.score}
    assert set(answer) == set(SYNTHESIS_FIELDS)
    assert set(verify(SCALE, found, answer, set(found.evidence_for)).flags) <= {"sources_disagree"}

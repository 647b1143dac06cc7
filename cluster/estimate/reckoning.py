"""Makes the figures of an estimate: from what bounds a job, or from what a sample of its rows has cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from actors.core.estimate.duration import EndpointLoad, slowest
from actors.core.estimate.totals import ENOUGH, Span, total, total_beside, typical_ratio, unseen
from actors.core.messages.values import Usage
from cluster.estimate.bounds import Amount, Bounds
from cluster.estimate.count import JobCount
from cluster.estimate.figures import Estimate, Figure
from cluster.estimate.measure import SampleCost
from cluster.report.console import dollars

_TEXT = "counted over all rows: prompts, system text, schema and fields in words, about 4 characters a token"
_LATER = "counted without answers of earlier steps; which steps are asked depends on them"
_FORM = "from the shortest answer of the form to max_tokens; --sample measures it"
_SOURCES = "sources decide what is asked; --sample measures it"
_NO_PACE = "no rate is configured; --sample measures the latency"


def from_bounds(count: JobCount, bounds: Bounds) -> Estimate:
    """Return the estimate that needs no call: the input is counted, output and cost lie between bounds."""
    least, most = bounds.least, bounds.most
    if count.open and not count.facts:
        tokens_in = tokens_out = Figure.unknown(_SOURCES)
    else:
        tokens_in = _between(least.input_tokens, most.input_tokens, _TEXT, _LATER)
        tokens_out = _between(least.output_tokens, most.output_tokens, _FORM, _FORM)
    usd = _usd(count, bounds, None, "configured or listed prices, nothing cached; output as above")
    seconds, binding = slowest(_loads(bounds, bounds.least_of, None, None))
    if not count.open:
        time = Figure.exact(0, "nothing is asked")
    elif binding:
        time = Figure(seconds, None, None, f"{binding} of the configuration")
    else:
        time = Figure.unknown(_NO_PACE)
    return _estimate(count, tokens_in, tokens_out, usd=usd, seconds=time, notes=[])


def from_sample(count: JobCount, bounds: Bounds, measured: SampleCost, spent: Usage) -> Estimate:
    """Return the estimate that rests on a sample. `spent` is the cost of the run so far, with its sample."""
    rows, population = measured.rows, count.population
    known = [row.counted for row in rows]
    ratio = typical_ratio([row.input_tokens for row in rows], known)
    tokens_in = total_beside([row.input_tokens for row in rows], known, count.counted, population, ratio)
    tokens_out = total([row.output_tokens for row in rows], population)
    cost = total_beside(
        [row.usd for row in rows],
        known,
        count.counted,
        population,
        ratio * bounds.endpoints.input_price,
    )
    unasked = _unasked(count, bounds, measured)
    most = bounds.most
    # An endpoint may count more input than the text has, such as instructions that it adds.
    at_most = most.usd * max(1.0, ratio)
    longest = sum(fact.ceiling for fact in count.facts)
    is_bounded = not measured.repeated and all(row.output_tokens <= longest for row in rows)
    left_in = _left(tokens_in, spent.input_tokens, unasked.input_tokens, math.inf)
    left_out = _left(
        tokens_out, spent.output_tokens, unasked.output_tokens, most.output_tokens if is_bounded else math.inf
    )
    left_usd = _left(cost, spent.cost_usd, unasked.usd, at_most if is_bounded else math.inf)
    basis = _basis(measured)
    paid = f"{basis}; {dollars(spent.cost_usd)} spent so far, its answers kept"
    return _estimate(
        count,
        _figure(count, left_in, f"prompts counted; {basis}"),
        _figure(count, left_out, basis),
        usd=_usd(count, bounds, left_usd, paid, at_most if is_bounded else None),
        seconds=_time(count, bounds, measured),
        notes=_reservations(count, measured),
    )


# ---- parts -----------------------------------------------------------------------------------------------


def _estimate(
    count: JobCount, tokens_in: Figure, tokens_out: Figure, *, usd: Figure, seconds: Figure, notes: list[str]
) -> Estimate:
    if count.empty:
        are = "row is" if count.empty == 1 else "rows are"
        notes.append(f"{count.empty:,} {are} skipped: a value that the prompt needs is null")
    return Estimate(
        rows=Figure.exact(count.rows, "counted"),
        different=Figure.exact(count.different, "counted: equal prompts are asked once"),
        answered=Figure.exact(count.different - count.open, "answers in the store"),
        todo=Figure.exact(count.open, "counted"),
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        tokens=_sum(tokens_in, tokens_out),
        usd=usd,
        seconds=seconds,
        notes=tuple(notes),
    )


def _sum(first: Figure, second: Figure) -> Figure:
    mid = None if first.mid is None or second.mid is None else first.mid + second.mid
    high = None if first.high is None or second.high is None else first.high + second.high
    return Figure(first.low + second.low, mid, high, "input and output")


def _between(low: float, high: float, basis: str, open_basis: str) -> Figure:
    return Figure.exact(low, basis) if low == high else Figure(low, None, high, open_basis)


def _figure(count: JobCount, span: Span, basis: str) -> Figure:
    if not count.open:
        return Figure.exact(0, "every answer is stored")
    return Figure(span.low, span.mid, span.high, basis)


def _usd(
    count: JobCount, bounds: Bounds, span: Span | None, basis: str, at_most: float | None = None
) -> Figure:
    """Return the cost; `span` is None without a sample."""
    if not count.open:
        return Figure.exact(0, "every answer is stored")
    if bounds.endpoints.is_simulated:
        return Figure.exact(0, "the simulator costs nothing")
    if bounds.endpoints.why_unpriced is not None:
        return Figure.unknown(bounds.endpoints.why_unpriced)
    if span is None:
        return (
            _between(bounds.least.usd, bounds.most.usd, basis, basis)
            if count.facts
            else Figure.unknown(_SOURCES)
        )
    return Figure(span.low, span.mid, span.high, basis, at_most)


def _left(span: Span, spent: float, unasked: float, most: float) -> Span:
    """Return what is left of a total. `unasked` is what steps may add that the sample did not ask."""
    left = span.shifted(-spent)
    return Span(left.low, left.mid, left.high + unasked).within(0.0, most)


def _unasked(count: JobCount, bounds: Bounds, measured: SampleCost) -> Amount:
    """Return the most that steps cost which no sampled row was asked: others may ask them."""
    asked = {name for row in measured.rows for name in row.steps}
    found = Amount()
    for fact, tally, most in zip(count.facts, count.tallies, bounds.most_of, strict=True):
        if fact.name not in asked and tally.asked:
            found += most.times(min(1.0, unseen(len(measured.rows), count.population) / tally.asked))
    return found


def _time(count: JobCount, bounds: Bounds, measured: SampleCost) -> Figure:
    if not count.open:
        return Figure.exact(0, "nothing is asked")
    if count.facts:
        least, most = bounds.least_of, bounds.most_of
    else:
        least = most = (Amount(fmean(row.calls for row in measured.rows) * count.open),)
    fast, binding = slowest(_loads(bounds, least, measured.latency_s, None))
    slow, _ = slowest(_loads(bounds, most, measured.latency_s, measured.in_flight))
    if not binding:
        return Figure.unknown("the sample's attempts are not stored, and no rate is configured")
    basis = binding
    if measured.latency_s is not None and measured.in_flight is not None:
        flight = f"from the highest limit to {measured.in_flight:.0f} in flight"
        basis = f"{binding}; latency {measured.latency_s:.2g} s, {flight}, as in the sample"
    return Figure(min(fast, slow), None, max(fast, slow), basis)


def _loads(
    bounds: Bounds, amounts: Sequence[Amount], latency_s: float | None, in_flight: float | None
) -> list[EndpointLoad]:
    names = bounds.step_endpoints or ((),)
    return bounds.endpoints.loads(list(zip(names, amounts, strict=False)), latency_s, in_flight)


def _basis(measured: SampleCost) -> str:
    n = len(measured.rows)
    return f"{n} random rows, 95 %" if n >= ENOUGH else f"only {n} random rows: rough"


def _reservations(count: JobCount, measured: SampleCost) -> list[str]:
    """Return what the figures of a sample leave out."""
    notes = []
    if measured.failed:
        notes.append(f"{measured.failed} of {len(measured.rows)} sampled rows failed; their cost counts")
    asked = {name for row in measured.rows for name in row.steps}
    notes += [
        f"no sampled row was asked step {fact.name}: the upper bounds allow for it"
        for fact in count.facts
        if fact.name not in asked
    ]
    return notes

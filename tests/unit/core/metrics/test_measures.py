from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.tasks import TaskState
from actors.core.messages.values import Usage
from actors.core.metrics import measures
from actors.core.metrics.attempt_totals import AttemptTotals
from actors.core.metrics.histogram import Histogram
from actors.core.metrics.measures import (
    CALL_SECONDS,
    CALLS,
    LIMIT,
    HistogramMeasure,
    Increases,
    Measure,
    MeasureReading,
)

CONFIGS = Path(__file__).parents[4] / "configs"


def test_a_histogram_counts_what_is_at_most_its_bounds_as_monitoring_reads_it():
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.add(value)
    totals = histogram.totals()
    assert (totals.at_most, totals.count) == ((2, 3), 4)
    assert totals.total == pytest.approx(7.65)
    histogram.check_invariants()


def test_a_histogram_is_exported_as_totals_under_the_names_that_prometheus_gives_them():
    histogram = Histogram((0.5, 10.0))
    histogram.add(0.7)
    told = {
        (it.measure.name, it.labels): it.value for it in CALL_SECONDS.readings(histogram.totals(), "main")
    }
    assert told == {
        ("headrace_call_seconds_bucket", ("main", "0.5")): 0,
        ("headrace_call_seconds_bucket", ("main", "10")): 1,
        ("headrace_call_seconds_bucket", ("main", "+Inf")): 1,
        ("headrace_call_seconds_count", ("main",)): 1,
        ("headrace_call_seconds_sum", ("main",)): 0.7,
    }


def test_a_total_is_told_as_what_it_grew_by_under_each_of_its_labels():
    increases = Increases()
    assert increases.since_last(MeasureReading(CALLS, 5, ("main", "succeeded"))) == 5
    assert increases.since_last(MeasureReading(CALLS, 2, ("main", "refused"))) == 2
    assert increases.since_last(MeasureReading(CALLS, 9, ("main", "succeeded"))) == 4
    assert increases.since_last(MeasureReading(CALLS, 9, ("main", "succeeded"))) == 0


def ended(kind=None, **more):
    error = None if kind is None else Failure(kind, Blame.ENDPOINT, "so it was")
    return AttemptEnded(1, values=None if error else {}, error=error, **more)


def test_attempts_are_counted_by_how_they_ended_and_a_repeated_answer_is_paid_for_once():
    totals = AttemptTotals()
    usage, estimate = Usage(10, 5, 0.25), Usage(30, 20, 0.5)
    totals.add(ended(usage=usage, took_s=0.3), estimate)
    totals.add(ended(usage=usage, took_s=0.2, replayed=True), estimate)
    totals.add(ended(reused=True), estimate)
    totals.add(ended(FailureKind.UNUSABLE, unmetered=True, took_s=0.4), estimate)
    totals.add(ended(FailureKind.CANCELLED), estimate)
    known = totals.statistics()
    assert known.outcomes == {"succeeded": 2, "reused": 1, "unusable": 1, "cancelled": 1}
    assert known.usage == usage + estimate
    assert known.seconds.count == 3  # the others were never on the wire


# ---- the files that people load --------------------------------------------------------------------------

VALUES = {
    "outcome": {"succeeded", "reused", *FailureKind, *TaskState},
    "where": {"endpoint", "dispatcher", "pipeline"},
}


def named():
    """Return all measures by the name that Ray exports."""
    found = [it for it in vars(measures).values() if isinstance(it, Measure)]
    for it in vars(measures).values():
        if isinstance(it, HistogramMeasure):
            found += [it.bucket, it.count, it.total]
    return {f"ray_{measure.name}": measure for measure in found}


def files():
    return [CONFIGS / "grafana" / "headrace.json", CONFIGS / "prometheus" / "alerts.yml"]


def test_every_measure_is_on_the_dashboard_and_the_dashboard_names_no_other():
    dashboard = files()[0].read_text()
    assert set(re.findall(r"ray_headrace_\w+", dashboard)) == named().keys()


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_a_query_names_only_labels_that_its_metric_has_and_values_that_occur(path):
    text = path.read_text() if path.suffix == ".yml" else "\n".join(json_expressions(path))
    seen = re.findall(r"(ray_headrace_\w+)\{([^}]*)\}", text)
    for name, matchers in seen:
        for label, values in re.findall(r"(\w+)=~?\"([^\"]*)\"", matchers):
            assert label in named()[name].labels
            assert set(values.split("|")) <= VALUES[label]
    for metric in re.findall(r"ray_headrace_\w+", text):
        assert metric in named()


def json_expressions(path):
    return [target["expr"] for panel in json.loads(path.read_text())["panels"] for target in panel["targets"]]


def test_labels_are_few():
    assert LIMIT.labels == ("endpoint",)
    assert max(len(measure.labels) for measure in named().values()) == 2

"""A simulation of whole estimates: how often the dollars and tokens that are left lie in their intervals."""

from __future__ import annotations

import random

import numpy as np
import pytest

from actors.core.messages.tasks import Task
from actors.core.messages.values import Usage
from cluster.config.model import HeadraceConfig
from cluster.estimate.bounds import Bounds
from cluster.estimate.count import DrawnRow, JobCount, StepTally
from cluster.estimate.measure import RowCost, SampleCost
from cluster.estimate.questions import JobQuestions
from cluster.estimate.reckoning import from_sample

ROWS, RUNS, SAMPLE = 4_000, 300, 30
IN_USD, OUT_USD = 0.5e-6, 4e-6
PRICE = {"input_usd_per_mtok": IN_USD * 1e6, "output_usd_per_mtok": OUT_USD * 1e6}
CONFIG = HeadraceConfig.model_validate(
    {
        "llm": {
            "endpoints": ({"name": "e", "base_url": "http://127.0.0.1:1/v1", "model": "m", "price": PRICE},)
        },
        "evaluate": (
            {"name": "triage", "prompt": "Rate {text}", "output": {"sure": {"type": "boolean"}}},
            {
                "name": "verdict",
                "prompt": "Judge {text}",
                "when": "triage.sure == false",
                "output": {"why": {"type": "string"}},
                "max_tokens": 20_000,
            },
        ),
    }
)


def job(case):
    """Return counted and reported input tokens, output tokens, and which rows are asked the second step."""
    luck = np.random.default_rng(11)
    counted = np.sort(luck.lognormal(5, 0.6, ROWS))  # the file is sorted by length
    first, second = luck.lognormal(3.5, 0.77, ROWS), luck.lognormal(4.5, 0.77, ROWS)
    asked = {
        "one row of four is asked the second step": luck.random(ROWS) < 0.25,
        "the longest third is asked the second step": np.arange(ROWS) > ROWS * 2 / 3,
        "every row is asked the second step": np.ones(ROWS, bool),
        "no row is asked the second step": np.zeros(ROWS, bool),
    }[case]
    reported = counted * luck.normal(0.9, 0.05, ROWS) * (1 + asked)
    return counted, reported, first + second * asked, asked


@pytest.mark.parametrize(
    "case",
    [
        "one row of four is asked the second step",
        "the longest third is asked the second step",
        "every row is asked the second step",
        "no row is asked the second step",
    ],
)
def test_what_is_left_to_pay_lies_in_its_interval_in_93_of_100_estimates(case):
    counted, reported, output, asked = job(case)
    cost = reported * IN_USD + output * OUT_USD
    luck, held = random.Random(5), {"usd": 0, "output_tokens": 0, "input_tokens": 0}
    facts = JobQuestions(CONFIG).facts
    for _ in range(RUNS):
        drawn = luck.sample(range(ROWS), SAMPLE)
        left = ROWS - SAMPLE
        count = JobCount(
            facts=facts,
            rows=ROWS,
            different=ROWS,
            open=left,
            tallies=[StepTally(left, int(counted.sum())), StepTally(left, int(counted.sum()))],
            counted=int(counted.sum()),
            population=ROWS,
            drawn=tuple(DrawnRow(Task(str(row)), int(counted[row]), row) for row in drawn),
        )
        rows = tuple(
            RowCost(
                counted=int(counted[row]),
                input_tokens=int(reported[row]),
                output_tokens=int(output[row]),
                usd=float(cost[row]),
                calls=1 + int(asked[row]),
                steps=frozenset(["triage", "verdict"] if asked[row] else ["triage"]),
                failed=False,
            )
            for row in drawn
        )
        spent = Usage(
            sum(row.input_tokens for row in rows),
            sum(row.output_tokens for row in rows),
            sum(row.usd for row in rows),
        )
        found = from_sample(count, Bounds.of(CONFIG, count), SampleCost(rows, 0.5, 10.0, 0), spent)
        for name, values in (("usd", cost), ("output_tokens", output), ("input_tokens", reported)):
            truth = float(values.sum() - values[drawn].sum())
            held[name] += getattr(found, name).low <= truth <= getattr(found, name).high
    assert {name: count / RUNS >= 0.93 for name, count in held.items()} == dict.fromkeys(held, True), held

"""A run of 300 tasks on Ray in which everything is killed once, beside an endpoint that refuses and mumbles.

The heavy form is ``make chaos``. Which process dies when is drawn from the seed; what it does at that moment
is not, so every run of this test is another one, under the same promises.
"""

from __future__ import annotations

from pathlib import Path

from cluster.chaos.conductor import ChaosPlan, run_chaos
from cluster.chaos.plan import Form

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "chaos.yaml"


def test_whatever_is_killed_nothing_is_lost_and_nothing_is_paid_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    found = run_chaos(ChaosPlan(CONFIG, ("tasks.count=300",), Form.LIGHT, 1, "chaos", told.append))
    broken = [f"{check.name}: {check.detail}" for check in found if not check.holds]
    assert not broken, "\n".join([*broken, *told])

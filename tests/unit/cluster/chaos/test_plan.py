"""What strikes a run is drawn from a seed."""

from __future__ import annotations

import pytest

from cluster.chaos.plan import Blow, Form, Strike, StrikeTarget, faults, strikes


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("seed", range(20))
def test_every_target_is_killed_and_what_starts_late_is_struck_late(form, seed):
    planned = strikes(form, seed)
    assert {it.target for it in planned if it.blow is Blow.KILL} == set(StrikeTarget)
    assert [it.at for it in planned] == sorted(it.at for it in planned)
    assert all(0 < it.at < 1 for it in planned)
    early = planned[: len(planned) // 2]
    assert all(it.target is not StrikeTarget.WORKER for it in early)


def test_the_same_seed_strikes_the_same_and_another_does_not():
    assert strikes(Form.HEAVY, 1) == strikes(Form.HEAVY, 1)
    assert strikes(Form.HEAVY, 1) != strikes(Form.HEAVY, 2)


def test_the_heavy_form_strikes_more_often_and_freezes_what_is_then_a_zombie():
    heavy = strikes(Form.HEAVY, 1)
    assert len(heavy) > 3 * len(strikes(Form.LIGHT, 1))
    frozen = {it.target for it in heavy if it.blow is Blow.FREEZE}
    assert frozen == {StrikeTarget.CLIENT, StrikeTarget.PIPELINE, StrikeTarget.JOURNAL}
    assert all(it.seconds > 0 for it in heavy if it.blow is Blow.FREEZE)


@pytest.mark.parametrize("form", Form)
def test_the_faults_of_a_form_leave_most_requests_alone(form):
    assert 0 < sum(fault["rate"] for fault in faults(form)) < 0.3


def test_a_strike_says_what_it_does():
    assert str(Strike(0.5, Blow.FREEZE, StrikeTarget.CLIENT, 0, 3.0)) == "freeze client for 3 s"
    assert str(Strike(0.5, Blow.KILL, StrikeTarget.JOURNAL, 0)) == "kill journal"

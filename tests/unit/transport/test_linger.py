"""Messages about long calls need not hurry."""

from __future__ import annotations

import pytest

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.attempts import AttemptEnded
from actors.transport.linger import AdaptiveLinger
from actors.transport.pacer import Pacer
from tests.unit.transport.test_pacer import pace

VALUES = {"quality": 1.0}
ABORTED = Failure(FailureKind.CANCELLED, Blame.TASK, "aborted")


def after(*took_s):
    linger = AdaptiveLinger()
    for seconds in took_s:
        linger.on_ended(AttemptEnded(1, VALUES, took_s=seconds))
    return linger


def test_what_is_about_long_calls_goes_further_apart():
    pacer = Pacer(0.003, burst=1, linger=after(*[1.5] * 200))
    assert pace(pacer, 3) == pytest.approx([0, 0.015, 0.03], rel=1e-3)


def test_what_is_about_short_calls_goes_at_the_pace_it_has():
    pacer = Pacer(0.003, burst=1, linger=after(*[0.1] * 200))
    assert pace(pacer, 3) == pytest.approx([0, 0.003, 0.006])


def test_calls_of_minutes_do_not_hold_messages_back_for_seconds():
    assert pace(Pacer(0.003, burst=1, linger=after(*[300.0] * 200)), 2) == pytest.approx([0, 0.02])


def test_one_long_call_among_short_ones_changes_little():
    assert after(*[0.1] * 200, 1.7).interval_s == pytest.approx(0.002, rel=1e-3)


def test_where_all_may_go_at_once_linger_holds_nothing_back():
    assert pace(Pacer(0.0, linger=after(*[300.0] * 200)), 9) == [0.0] * 9


@pytest.mark.parametrize(
    "ended", [AttemptEnded(1, VALUES, reused=True), AttemptEnded(1, error=ABORTED, took_s=9.0)]
)
def test_only_what_an_endpoint_answered_now_tells_how_long_it_takes(ended):
    linger = after(*[1.0] * 200)
    before = linger.interval_s
    linger.on_ended(ended)
    assert linger.interval_s == before > 0

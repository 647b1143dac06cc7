"""What the dispatcher needs beside the limit: adoption, a backlog, rates that are known."""

from __future__ import annotations

import pytest

from actors.core.errors import InvariantError
from actors.core.limiter.limiter import LimiterSettings, Permit, Reason, Wait
from actors.core.messages.attempts import RateHeaders, Refusal
from tests.unit.support.limiter_caller import LimiterCaller


@pytest.fixture
def caller():
    caller = LimiterCaller()
    yield caller
    caller.limiter.check_invariants()


# ---- what the dispatcher needs ---------------------------------------------------------------------------


def test_an_adopted_attempt_counts_whatever_the_limit_says(caller):
    caller.fill()
    permit = caller.limiter.adopt(0.0, tokens=100)
    assert permit.in_flight == 17
    assert caller.limiter.in_flight == 17
    assert isinstance(caller.ask(), Wait)


def test_a_permit_is_given_back_once(caller):
    permit = caller.ask()
    caller.limiter.on_cancelled(permit, 0.0)
    with pytest.raises(InvariantError, match="given back"):
        caller.limiter.on_success(permit, 0.0, input_tokens=1, output_tokens=1)
    assert caller.limiter.in_flight == 0


def test_the_backlog_is_some_answers_deep_and_at_most_a_quarter(caller):
    caller.fill()
    assert caller.limiter.backlog(0.0) == 0  # nothing is known of how long an answer takes
    caller.pass_time(0.1)
    caller.answer()
    assert caller.limiter.backlog(caller.now) == caller.limit // 4


def test_there_is_no_backlog_after_a_cut_until_an_attempt_is_let_in(caller):
    caller.fill()
    caller.pass_time(0.1)
    caller.answer()
    caller.refuse()
    assert caller.limiter.backlog(caller.now) == 0
    caller.answer(2)
    caller.pass_time(0.5)
    assert caller.limiter.backlog(caller.now) > 0


def test_nothing_in_flight_needs_no_tick(caller):
    assert caller.limiter.tick(0.0) is None
    caller.fill()
    assert caller.limiter.tick(0.0) > 0.0


@pytest.mark.parametrize(
    "wrong",
    [{"max_in_flight": 0}, {"max_in_flight": 1, "start": 0}, {"max_in_flight": 1, "tokens_per_minute": 0.0}],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ValueError, match=r"at least 1|positive"):
        LimiterSettings(**wrong)


# ---- rates -----------------------------------------------------------------------------------------------


def test_a_configured_rate_makes_attempts_wait_for_their_tokens():
    caller = LimiterCaller(tokens_per_minute=6100)  # 100 a second
    assert isinstance(caller.ask(tokens=100), Permit)
    wait = caller.ask(tokens=50)
    assert isinstance(wait, Wait)
    assert (wait.why, wait.until) == (Reason.RATE, pytest.approx(0.5))


def test_there_is_no_backlog_while_a_rate_binds():
    caller = LimiterCaller(tokens_per_minute=6100)
    first = caller.ask(tokens=40)
    caller.now = 0.5
    caller.ask(tokens=40)
    caller.limiter.on_success(first, 0.5, input_tokens=0, output_tokens=40)
    assert caller.limiter.backlog(0.5) == 4
    caller.ask(tokens=40)
    assert caller.limiter.backlog(0.5) == 0


def test_what_an_answer_did_not_take_is_there_for_the_next():
    caller = LimiterCaller(tokens_per_minute=6100)
    permit = caller.ask(tokens=100)
    caller.limiter.on_success(permit, 0.0, input_tokens=10, output_tokens=40)
    assert isinstance(caller.ask(tokens=50), Permit)


@pytest.mark.parametrize(
    ("end", "is_refunded"), [("on_cancelled", True), ("on_refused", True), ("on_failure", False)]
)
def test_tokens_come_back_unless_they_may_have_been_billed(end, is_refunded):
    caller = LimiterCaller(tokens_per_minute=6100, requests_per_minute=6100)
    permit = caller.ask(tokens=100)
    getattr(caller.limiter, end)(permit, 0.0)
    left = {"tokens": 100.0, "requests": 100.0} if is_refunded else {"tokens": 0.0, "requests": 99.0}
    assert caller.limiter.statistics().buckets == pytest.approx(left)


def test_a_rate_told_in_headers_is_kept_from_then_on(caller):
    permit = caller.ask()
    headers = RateHeaders(limit_requests=61, remaining_requests=60)
    caller.limiter.on_success(permit, 0.0, input_tokens=1, output_tokens=1, headers=headers)
    assert isinstance(caller.ask(), Permit)
    wait = caller.ask()
    assert isinstance(wait, Wait)
    assert (wait.why, wait.until) == (Reason.RATE, pytest.approx(1.0))


def test_headers_do_not_raise_a_configured_rate():
    caller = LimiterCaller(requests_per_minute=61)
    permit = caller.ask()
    caller.now = 1.0
    headers = RateHeaders(limit_requests=6100)
    caller.limiter.on_success(permit, 1.0, input_tokens=1, output_tokens=1, headers=headers)
    assert isinstance(caller.ask(), Permit)
    assert isinstance(caller.ask(), Wait)


def test_a_rate_used_up_for_the_window_stops_everybody_for_at_most_a_minute(caller):
    caller.fill()
    caller.refuse(kind=Refusal.TOKENS, retry_after=3600.0)
    caller.answer(3)
    wait = caller.ask()
    assert isinstance(wait, Wait)
    assert (wait.why, wait.until) == (Reason.PAUSE, pytest.approx(caller.now + 60.0))


def test_a_refused_rate_that_wishes_for_a_moment_stops_nobody(caller):
    caller.fill()
    caller.refuse(kind=Refusal.TOKENS, retry_after=1.0)
    caller.answer(3)
    assert isinstance(caller.ask(), Permit)


def test_an_absurd_usage_holds_an_endpoint_for_a_minute_at_the_most():
    caller = LimiterCaller(tokens_per_minute=6100)
    permit = caller.ask(tokens=10)
    caller.limiter.on_success(permit, 1.0, input_tokens=10**15, output_tokens=0)
    caller.now = 1.0
    wait = caller.ask(tokens=10)
    assert wait.why is Reason.RATE
    assert wait.until <= 61.0
    caller.now = wait.until
    assert isinstance(caller.ask(tokens=10), Permit)


@pytest.mark.parametrize("how", ["refused", "cancelled"])
def test_what_did_no_work_gives_its_request_and_its_tokens_back(how):
    caller = LimiterCaller(
        requests_per_minute=61, tokens_per_minute=6100
    )  # one request and 100 tokens a second
    permit = caller.ask(tokens=100)
    assert caller.ask(tokens=100).why is Reason.RATE
    if how == "refused":
        caller.limiter.on_refused(permit, 0.0)
    else:
        caller.limiter.on_cancelled(permit, 0.0)
    buckets = caller.limiter.statistics().buckets
    assert buckets == {"requests": pytest.approx(1.0), "tokens": pytest.approx(100.0)}


def test_what_was_turned_down_for_its_text_gives_its_tokens_back_but_counts_as_a_request():
    caller = LimiterCaller(requests_per_minute=61, tokens_per_minute=6100)
    caller.limiter.on_rejected(caller.ask(tokens=100), 0.0)
    buckets = caller.limiter.statistics().buckets
    assert buckets == {"requests": pytest.approx(0.0), "tokens": pytest.approx(100.0)}

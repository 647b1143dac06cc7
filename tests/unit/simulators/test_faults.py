"""Fault plans."""

from __future__ import annotations

import datetime as dt

import pytest

from simulators.chance import uniforms
from simulators.faults import (
    MOMENTS,
    FaultKind,
    FaultRule,
    FaultRuleError,
    choose,
    load_rules,
    parse_rules,
    promised_wait_s,
    render_retry_after,
)

RESET = FaultRule(FaultKind.RESET, 0.2)
SLOW = FaultRule(FaultKind.SLOW, 0.3)


@pytest.mark.parametrize(
    ("u", "rule"), [(0.0001, RESET), (0.1999, RESET), (0.2001, SLOW), (0.4999, SLOW), (0.5001, None)]
)
def test_rates_are_stacked_and_the_number_falls_into_one_of_them(u, rule):
    assert choose([RESET, SLOW], u, attempt=1, elapsed_s=0.0) is rule


def test_a_rule_that_does_not_apply_leaves_its_place_to_the_next():
    first = FaultRule(FaultKind.RESET, 0.2, attempts=frozenset({1}))
    assert choose([first, SLOW], 0.1, attempt=1, elapsed_s=0.0) is first
    assert choose([first, SLOW], 0.1, attempt=2, elapsed_s=0.0) is SLOW


@pytest.mark.parametrize(("elapsed_s", "strikes"), [(1.9, False), (2.0, True), (2.9, True), (3.0, False)])
def test_a_window_limits_a_rule_to_a_time(elapsed_s, strikes):
    rule = FaultRule(FaultKind.RESET, 1.0, from_s=2.0, to_s=3.0)
    assert (choose([rule], 0.5, attempt=1, elapsed_s=elapsed_s) is rule) is strikes


def test_over_many_keys_a_fault_comes_as_often_as_its_rate_says():
    struck = sum(choose([SLOW], uniforms(3, f"key{n}", 1)[0], 1, 0.0) is SLOW for n in range(5000))
    assert struck / 5000 == pytest.approx(0.3, abs=0.02)


def test_every_kind_knows_when_it_strikes():
    assert set(MOMENTS) == set(FaultKind)


def test_a_plan_is_read_with_all_options():
    (rule,) = parse_rules(
        [
            {
                "kind": "status",
                "rate": 0.1,
                "status": 429,
                "retry_after": 1,
                "attempts": [1, 2],
                "from_s": 1,
                "to_s": 2,
            }
        ]
    )
    assert rule == FaultRule(
        FaultKind.STATUS, 0.1, frozenset({1, 2}), from_s=1.0, to_s=2.0, status=429, retry_after=1
    )


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"kind": "explode", "rate": 1}, "'explode' - at `\\$\\[0\\].kind`.* Kinds: status, reset"),
        ({"rate": 1}, "missing required field `kind`"),
        ({"kind": "reset", "rate": 1.5}, "<= 1.0 - at `\\$\\[0\\].rate`"),
        ({"kind": "reset", "rate": -0.5}, ">= 0.0 - at `\\$\\[0\\].rate`"),
        ({"kind": "reset", "rate": True}, "bool` - at `\\$\\[0\\].rate`"),
        ({"kind": "reset", "rate": 1, "status": 500}, "fault rule 0: reset has no option status"),
        ({"kind": "slow", "rate": 1, "second": 5}, "unknown field `second`"),
        ({"kind": "slow", "rate": 1, "bytes": 5}, "slow has no option bytes"),
        ({"kind": "reset", "attempts": "1"}, "array.* `\\$\\[0\\].attempts`"),
        ({"kind": "status", "retry_after": "http-date:soon"}, "http-date:SECONDS"),
        ({"kind": "status", "retry_after": "http-date:1e99"}, "http-date:SECONDS"),
        ("reset", "Expected `object`"),
    ],
)
def test_a_rule_that_makes_no_sense_is_named_with_its_reason(rule, message):
    with pytest.raises(FaultRuleError, match=message):
        parse_rules([rule])


def test_a_plan_that_is_no_list_is_refused():
    with pytest.raises(FaultRuleError, match="not a list of rules"):
        parse_rules({"kind": "reset"})


def test_a_plan_is_read_from_json_and_from_yaml(tmp_path):
    as_json = tmp_path / "plan.json"
    as_json.write_text('[{"kind": "late", "rate": 0.5, "seconds": 2}]')
    as_yaml = tmp_path / "plan.yaml"
    as_yaml.write_text("- {kind: late, rate: 0.5, seconds: 2}\n")
    assert load_rules(as_json) == load_rules(as_yaml) == (FaultRule(FaultKind.LATE, 0.5, seconds=2.0),)


@pytest.mark.parametrize("name", ["plan.json", "plan.yaml"])
def test_a_file_that_cannot_be_parsed_is_named(tmp_path, name):
    path = tmp_path / name
    path.write_text("[")
    with pytest.raises(FaultRuleError, match=f"{name} cannot be read"):
        load_rules(path)


def test_a_retry_after_can_be_a_date_or_any_text():
    now = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC).timestamp()
    assert render_retry_after("http-date:10", now) == "Fri, 02 Jan 2026 03:04:15 GMT"
    assert render_retry_after("soon", now) == "soon"
    with pytest.raises(FaultRuleError, match="http-date:SECONDS"):
        render_retry_after("http-date:later", now)


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("1", 1.0),
        ("0.25", 0.25),
        ("Fri, 02 Jan 2026 03:04:15 GMT", 10.0),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("1e99", None),
        ("", None),
    ],
)
def test_what_a_retry_after_promises_is_understood_where_it_is_sane(header, wait_s):
    now = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC).timestamp()
    assert promised_wait_s(header, now) == wait_s

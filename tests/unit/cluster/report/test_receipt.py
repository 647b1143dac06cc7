"""The receipt of a run: its lines by endpoint, model and step, and what they leave."""

from __future__ import annotations

from actors.core.messages.journal import ReceiptLine, Spent
from actors.core.messages.values import CallCounts, Usage
from cluster.report.receipt import receipt_json, receipt_lines, receipt_of, usage_text

CHEAP = ReceiptLine("fast", "small", "evaluate:triage", 3, Usage(1_200, 60, 0.002, 900, 100, 45))
DEAR = ReceiptLine("strong", "large", "synthesize", 1, Usage(500, 40, 0.5))
WHOLE = CHEAP.usage + DEAR.usage


def test_the_lines_are_listed_from_the_dearest_and_add_up():
    found = receipt_of(Spent(CallCounts(billed=4), WHOLE, lines=(CHEAP, DEAR)))
    assert found == (DEAR, CHEAP)


def test_what_an_earlier_version_recorded_is_a_line_without_names():
    spent = Spent(CallCounts(billed=6), WHOLE + Usage(70, 7, 0.25), lines=(CHEAP, DEAR))
    *_, left = receipt_of(spent)
    assert left == ReceiptLine("", "", "", 2, left.usage)
    assert (left.usage.input_tokens, left.usage.output_tokens) == (70, 7)
    assert [*receipt_lines(receipt_of(spent), is_priced=True)][-1].startswith(
        "recorded by an earlier version: 2 calls · $0.2500"
    )


def test_a_receipt_is_told_by_endpoint_model_and_step():
    assert list(receipt_lines((DEAR, CHEAP), is_priced=True)) == [
        "strong (large), findings: 1 call · $0.5000 · 500 tokens in · 40 out",
        (
            "fast (small), triage: 3 calls · $0.002000 · 1,200 tokens in (900 cached, 100 stored in a cache) "
            "· 60 out (45 reasoning)"
        ),
    ]
    assert list(receipt_lines((DEAR,), is_priced=True)) == []


def test_a_receipt_as_json_says_null_for_what_is_not_known():
    (known,) = receipt_json((CHEAP,), is_priced=True)
    assert known == {
        "endpoint": "fast",
        "model": "small",
        "step": "triage",
        "calls": 3,
        "tokens": {"input": 1_200, "output": 60, "cached": 900, "cache_write": 100, "reasoning": 45},
        "cost_usd": 0.002,
    }
    (unknown,) = receipt_json((ReceiptLine("", "", "", 1, Usage(5, 5)),), is_priced=False)
    assert (unknown["endpoint"], unknown["step"], unknown["cost_usd"]) == (None, None, None)


def test_the_parts_of_the_tokens_are_shown_where_they_are_reported():
    assert usage_text(CHEAP.usage).endswith("(900 cached, 100 stored in a cache) · 60 out (45 reasoning)")
    assert usage_text(Usage(10, 5, 0.25)) == "$0.2500 · 10 tokens in · 5 out"

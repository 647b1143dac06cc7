"""Shows what the answers of a run cost: by kind of token, and by endpoint, model and step.

Pure. Rule: the lines of a receipt add up to the usage that the journal has for the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from actors.core.messages.journal import ReceiptLine, Spent
from actors.core.messages.values import Json, Usage
from actors.pipeline.task_rules import EVALUATE, SYNTHESIZE
from cluster.report.console import cost_text, plain

FINDINGS = "findings"  # in place of a step: the findings of dimensions
_MOST_LINES = 50


def receipt_of(spent: Spent) -> tuple[ReceiptLine, ...]:
    """Return the lines of the receipt, the dearest first.

    The answers that an earlier version recorded without an endpoint and a step are a line without names.
    """
    lines = sorted(spent.lines, key=lambda line: -line.usage.cost_usd)
    left = spent.usage
    for line in lines:
        left = left.less(line.usage)
    calls = spent.counts.billed - sum(line.calls for line in lines)
    return (*lines, *([ReceiptLine("", "", "", calls, left)] if calls > 0 else []))


def receipt_json(lines: Sequence[ReceiptLine], *, is_priced: bool) -> list[Json]:
    """Return the lines as JSON objects. `is_priced`: the prices of all endpoints are known."""
    return [
        {
            "endpoint": line.endpoint or None,
            "model": line.model or None,
            "step": step_of(line.form) or None,
            "calls": line.calls,
            "tokens": line.usage.kinds(),
            "cost_usd": line.usage.known_cost(is_priced=is_priced),
        }
        for line in lines
    ]


def receipt_lines(lines: Sequence[ReceiptLine], *, is_priced: bool) -> Iterator[str]:
    """Yield the lines as text. One line alone says nothing that the totals do not say."""
    for line in lines[:_MOST_LINES] if len(lines) > 1 else ():
        names = f"{plain(line.endpoint, 64)} ({plain(line.model, 256)}), {plain(step_of(line.form), 256)}"
        what = names if line.endpoint else "recorded by an earlier version"
        calls = "1 call" if line.calls == 1 else f"{line.calls:,} calls"
        yield f"{what}: {calls} · {_usage_text(line.usage, is_priced=is_priced)}"
    if len(lines) > _MOST_LINES:
        yield f"and {len(lines) - _MOST_LINES:,} more lines, in the output of --json"


def usage_text(usage: Usage, *, is_priced: bool = True) -> str:
    """Return the cost and the tokens as text. `is_priced`: the prices of all endpoints are known."""
    if is_priced or not usage.tokens:
        return _usage_text(usage, is_priced=is_priced)
    cost, tokens = cost_text(usage, is_priced=is_priced), ", ".join(_tokens(usage))
    if usage.cost_usd:
        return f"at least {cost} (an endpoint has no price; {tokens})"
    return f"{cost} (no price is known; {tokens})"


def _usage_text(usage: Usage, *, is_priced: bool) -> str:
    return " · ".join((cost_text(usage, is_priced=is_priced), *_tokens(usage)))


def _tokens(usage: Usage) -> tuple[str, str]:
    cache = {"cached": usage.cached_tokens, "stored in a cache": usage.cache_write_tokens}
    return (
        f"{usage.input_tokens:,} tokens in{_parts(cache)}",
        f"{usage.output_tokens:,} out{_parts({'reasoning': usage.reasoning_tokens})}",
    )


def _parts(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    return f" ({shown})" if shown else ""


def step_of(form: str) -> str:
    """Return the step that the form of a call stands for, or `FINDINGS`."""
    return FINDINGS if form == SYNTHESIZE else form.removeprefix(f"{EVALUATE}:")

"""Checks the guarantees against the records of a run and the ledger of the endpoint. Pure.

The ledger is independent of Headrace: the endpoint writes it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from actors.core.messages.journal import AttemptView, LoggedEvent, RunView
from actors.core.messages.values import Json, Usage
from simulators.ledger import LedgerEntry

_SHOWN = 3
_SAME = ("state", "overall", "dimensions", "sources")  # members of a result line without costs and times


@dataclass(frozen=True, slots=True)
class VerdictCheck:
    """One guarantee, and whether it holds. `detail` gives the figures."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The records of a run and of the undisturbed reference run. Result lines are by task key."""

    results: Mapping[str, Mapping[str, Json]]
    reference: Mapping[str, Mapping[str, Json]]
    repeated: Sequence[str]  # keys with more than one result line
    run: RunView
    attempts: Mapping[str, Sequence[AttemptView]]  # by task
    events: Sequence[LoggedEvent]
    ledger: Sequence[LedgerEntry]
    honours_keys: bool  # the endpoint answers a repeated Idempotency-Key without billing
    fired: Mapping[str, int] = field(default_factory=dict)
    planned: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)
    planned_faults: Sequence[str] = ()


def checks(evidence: Evidence) -> tuple[VerdictCheck, ...]:
    """Check every guarantee."""
    return (
        _nothing_lost(evidence),
        _ended_once(evidence),
        _as_undisturbed(evidence),
        _billing_bound(evidence),
        *([_billed_once(evidence)] if evidence.honours_keys else []),
        _books_agree(evidence),
        _receipt_adds_up(evidence),
        _own_answers(evidence),
        _gapless(evidence),
        _all_fired(evidence),
    )


def call_of(key: str) -> str:
    """Return the call key of an Idempotency-Key, which has a suffix if the question was corrected."""
    return key.partition(".")[0]


# ---- tasks -----------------------------------------------------------------------------------------------


def _nothing_lost(evidence: Evidence) -> VerdictCheck:
    lost = sorted(evidence.reference.keys() - evidence.results.keys())
    tally = evidence.run.tasks
    holds = not lost and tally.ended == tally.accepted == len(evidence.results)
    detail = f"{tally.accepted} accepted, {len(evidence.results)} reported, {len(lost)} lost"
    return VerdictCheck("no task is lost", holds, _with_examples(detail, lost))


def _ended_once(evidence: Evidence) -> VerdictCheck:
    ends = Counter(event.task for event in evidence.events if event.kind == "ended")
    twice = sorted([*evidence.repeated, *(task for task, count in ends.items() if count != 1)])
    never = sorted(evidence.results.keys() - ends.keys())
    detail = f"{len(ends)} tasks ended, {len(twice)} twice, {len(never)} never"
    return VerdictCheck(
        "every task ends exactly once", not twice and not never, _with_examples(detail, twice + never)
    )


def _as_undisturbed(evidence: Evidence) -> VerdictCheck:
    """Compare the reports of tasks with the same questions; a correction changes the question."""
    corrected = {
        task
        for task, attempts in evidence.attempts.items()
        if any(it.outcome == "unusable" for it in attempts)
    }
    compared = [key for key in evidence.reference if key in evidence.results and key not in corrected]
    differing = [
        key
        for key in compared
        if any(evidence.reference[key][name] != evidence.results[key][name] for name in _SAME)
    ]
    detail = (
        f"{len(compared) - len(differing)} of {len(compared)} are equal; "
        f"{len(corrected)} were asked other questions, after answers that did not fit"
    )
    name = "reports equal those of an undisturbed run"
    return VerdictCheck(name, bool(compared) and not differing, _with_examples(detail, differing))


# ---- money -----------------------------------------------------------------------------------------------


def _billing_bound(evidence: Evidence) -> VerdictCheck:
    """Check billed(call) ≤ 1 + attempts in doubt + unusable answers (+ 1 if hedged)."""
    billed = Counter(call_of(entry.key) for entry in evidence.ledger if entry.billed)
    allowed: Counter[str] = Counter()
    hedged = {attempt.call_key for attempt in _all(evidence.attempts) if attempt.is_hedge}
    for attempt in _all(evidence.attempts):
        allowed[attempt.call_key] += attempt.in_doubt + (attempt.outcome == "unusable")
    beyond = sorted(key for key, times in billed.items() if times > 1 + allowed[key] + (key in hedged))
    doubt = evidence.run.spent.counts.in_doubt
    detail = f"{sum(billed.values())} billed for {len(billed)} calls, {doubt} in doubt, {len(beyond)} beyond"
    return VerdictCheck("no call is billed beyond its bound", not beyond, _with_examples(detail, beyond))


def _billed_once(evidence: Evidence) -> VerdictCheck:
    billed = Counter(entry.key for entry in evidence.ledger if entry.billed)
    twice = sorted(key for key, times in billed.items() if times > 1)
    detail = f"{sum(billed.values())} billed under {len(billed)} keys"
    return VerdictCheck(
        "where keys are honoured each is billed once", not twice, _with_examples(detail, twice)
    )


def _books_agree(evidence: Evidence) -> VerdictCheck:
    """Check that the journal counts at most the billed answers, and has the others as in doubt."""
    billed = Counter(call_of(entry.key) for entry in evidence.ledger if entry.billed)
    counted: Counter[str] = Counter()
    doubt: Counter[str] = Counter()
    for attempt in _all(evidence.attempts):
        counted[attempt.call_key] += attempt.billed
        doubt[attempt.call_key] += attempt.in_doubt and not attempt.billed
    wrong = sorted(
        key
        for key in billed.keys() | counted.keys()
        if not counted[key] <= billed[key] <= counted[key] + doubt[key]
    )
    ours, theirs = evidence.run.spent.counts.billed, sum(billed.values())
    detail = f"we count {ours} billed and {sum(doubt.values())} in doubt, the endpoint {theirs}"
    return VerdictCheck("our books agree with the endpoint's", not wrong, _with_examples(detail, wrong))


def _receipt_adds_up(evidence: Evidence) -> VerdictCheck:
    """Check that the lines by endpoint, model and step add up to what the journal counts as billed."""
    spent = evidence.run.spent
    calls = sum(line.calls for line in spent.lines)
    used = sum((line.usage for line in spent.lines), Usage())
    is_whole = calls == spent.counts.billed and used.kinds() == spent.usage.kinds()
    is_whole = is_whole and math.isclose(used.cost_usd, spent.usage.cost_usd, abs_tol=1e-9)
    detail = f"{len(spent.lines)} lines with {calls} answers of {spent.counts.billed}"
    return VerdictCheck("the lines of the receipt add up", is_whole, detail)


def _all(attempts: Mapping[str, Sequence[AttemptView]]) -> Iterable[AttemptView]:
    for of_task in attempts.values():
        yield from of_task


# ---- answers and events ----------------------------------------------------------------------------------


def _own_answers(evidence: Evidence) -> VerdictCheck:
    """Check that no two tasks have the same finding: each answer contains a digest of its question."""
    findings = Counter(
        dimension["finding"]
        for line in evidence.results.values()
        for dimension in line["dimensions"]
        if "nonce:" in (dimension["finding"] or "")
    )
    shared = [finding for finding, times in findings.items() if times > 1]
    detail = f"{len(findings)} findings with a nonce, {len(shared)} of them twice"
    return VerdictCheck(
        "every answer is that to its own question", not shared, _with_examples(detail, shared)
    )


def _gapless(evidence: Evidence) -> VerdictCheck:
    ids = [event.id for event in evidence.events]
    holds = ids == list(range(1, len(ids) + 1))
    of_task: dict[str, int] = {}
    for event in evidence.events:
        holds &= event.task_id == of_task.get(event.task, 0) + 1
        of_task[event.task] = event.task_id
    return VerdictCheck("the event log has no gap and no repetition", holds, f"{len(ids)} events")


def _all_fired(evidence: Evidence) -> VerdictCheck:
    missed = [name for name, count in evidence.planned.items() if evidence.fired.get(name, 0) < count]
    missed += [name for name in evidence.planned_faults if not evidence.faults.get(name)]
    struck = ", ".join(f"{name} {count}" for name, count in sorted(evidence.fired.items()))
    met = ", ".join(f"{name} {count}" for name, count in sorted(evidence.faults.items()))
    return VerdictCheck(
        "everything planned did happen", not missed, _with_examples(f"{struck}; faults: {met}", missed)
    )


def _with_examples(detail: str, examples: Sequence[str]) -> str:
    return f"{detail}: {', '.join(examples[:_SHOWN])}" if examples else detail

"""A step that no answer fits stops its run before all rows are paid for."""

from __future__ import annotations

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.tasks import ItemResult, ItemState, Report, TaskState
from actors.core.messages.values import CallCounts, Usage
from actors.llm.forms import RAISE_MAX_TOKENS
from cluster.run.form_watch import MOST_UNUSABLE, FormWatch


def report(key, *items):
    return Report(key, TaskState.FAILED, None, (), {}, CallCounts(), Usage(), 0.1, items=items)


def failed(number, kind=FailureKind.UNUSABLE, step="answers", message="score: 7 is above 1"):
    error = Failure(kind, Blame.ENDPOINT, message)
    return report(f"r{number}", ItemResult(f"r{number}", "rows", ItemState.FAILED, error=error, step=step))


def answered(*steps):
    return report("good", ItemResult("good", "rows", ItemState.SUCCEEDED, {step: {"a": 1} for step in steps}))


def test_twenty_unusable_answers_before_the_first_usable_one_stop_the_run():
    watch = FormWatch()
    *before, last = (watch.look(failed(number)) for number in range(MOST_UNUSABLE))
    assert set(before) == {None}
    assert last is not None
    assert last.message == (
        "none of the first 20 answers of step answers fits its form: score: 7 is above 1; "
        "change the columns or the model"
    )


def test_where_the_bound_cut_the_answers_the_advice_is_to_raise_it():
    watch = FormWatch()
    message = f"cut off at max_tokens, 200: {RAISE_MAX_TOKENS}"
    causes = [watch.look(failed(number, message=message)) for number in range(MOST_UNUSABLE)]
    assert causes[-1].message.endswith(message)


def test_one_usable_answer_ends_the_watch_over_its_step_only():
    watch = FormWatch()
    watch.look(answered("first"))
    assert not any(watch.look(failed(number, step="first")) for number in range(100))
    assert any(watch.look(failed(number, step="second")) for number in range(MOST_UNUSABLE))


def test_failures_of_another_kind_are_no_sign_of_a_wrong_form():
    watch = FormWatch()
    for kind in set(FailureKind) - {FailureKind.UNUSABLE}:
        assert not any(watch.look(failed(number, kind)) for number in range(100))

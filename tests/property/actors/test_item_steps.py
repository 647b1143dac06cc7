"""Whatever the steps, the answers and the failures: an item ends once, at the cost of its calls."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.calls import Completion
from actors.core.messages.journal import Accepted, Answer
from actors.core.messages.tasks import Fetched, Item, ItemState, Submit, Task, TaskState
from actors.core.messages.values import CallCounts, Usage
from actors.core.task.conditions import compile_condition
from actors.core.task.prompts import own_item
from actors.core.task.reports import TaskOutcome, combine
from actors.pipeline.calls import CallSender
from actors.pipeline.item_steps import ItemSteps
from actors.pipeline.step_batches import StepBatches
from actors.pipeline.task_rules import StepRules, TaskJob, TaskRules
from tests.unit.support.leaping_loop import run_leaping
from tests.unit.support.pipeline_world import StepsHere

BROKEN = Failure(FailureKind.PERMANENT, Blame.SOURCE, "too large")
REFUSED = Failure(FailureKind.REFUSED, Blame.ENDPOINT, "status 429")


class Dispatcher:
    """Answers each call some turns of the loop later: with values that may be null, or with a failure."""

    def __init__(self, seed, rules):
        self.seed = seed
        self.forms = {step.form: step for step in rules.steps}
        self.ended = {}  # the completion of each call by its key

    async def send(self, call, *, within_s):
        assert call.key not in self.ended, "a call was asked twice"
        rng = random.Random(f"{self.seed} {call.form} {call.prompt}")
        values = {name: rng.choice([None, 0, 1]) for name in self.forms[call.form].fields}
        is_answered = rng.random() < 0.8
        self.ended[call.key] = Completion(
            call.key,
            values if is_answered else None,
            None if is_answered else REFUSED,
            Usage(rng.randrange(100), rng.randrange(100), rng.random()),
            CallCounts(planned=1, billed=int(is_answered)),
        )
        future = asyncio.get_running_loop().create_future()
        self.later(rng.randrange(5), future, self.ended[call.key])
        return future

    def later(self, turns, future, completion):
        if turns:
            asyncio.get_running_loop().call_soon(self.later, turns - 1, future, completion)
        else:
            future.set_result(completion)


@st.composite
def task_rules(draw):
    steps = []
    for number in range(draw(st.integers(1, 4))):
        earlier = [f"{step.name}.{field}" for step in steps for field in step.fields]
        operands = st.sampled_from(earlier) if earlier else st.just("1")
        when = st.builds("{} {}".format, operands, st.sampled_from(["== 1", "is null", "< 1", "!= 0"]))
        used = draw(st.lists(st.sampled_from(earlier), max_size=2)) if earlier else []
        places = "".join(f" {{{name}{draw(st.sampled_from(['', '?']))}}}" for name in used)
        name = f"s{number}"
        fields = tuple(draw(st.sets(st.sampled_from("abc"), min_size=1)))
        prompt = draw(st.sampled_from(["{text}", "{text?} {n}", "{absent}"]))
        steps.append(
            StepRules(
                name, f"evaluate:{name}", prompt + places, 10, fields=fields, when=draw(st.none() | when)
            )
        )
    return TaskRules((), tuple(steps), 10, "m", {}, frozenset(), 60.0, is_map=draw(st.booleans()))


texts = st.none() | st.sampled_from(["x", "y"])
TASKS = st.fixed_dictionaries({"text": texts, "n": st.integers(0, 1)})
ITEMS = st.lists(st.sampled_from(["one", "two"]) | st.none(), max_size=6)


async def run(rules, params, texts_of_items, seed, answers=None):
    """Return the report, the dispatcher and the job of one task."""
    dispatcher = Dispatcher(seed, rules)
    task = Task("t1", params)
    job = TaskJob(Submit("run", task), Accepted("t1", True, 0.0, answers=answers or {}), 60.0)
    items = tuple(
        Item(f"wire:{number}", "wire", text or "", {}, None if text else BROKEN)
        for number, text in enumerate(texts_of_items)
    )
    fetched = () if rules.is_map else (Fetched("wire", items),)
    asked = (own_item(task),) if rules.is_map else items
    sender = CallSender(dispatcher, lambda: 0.0)
    batches = StepBatches(StepsHere(()), sender.time_left, timeout_s=60.0, clock=lambda: 0.0)
    results = await ItemSteps(rules, sender, batches).run(job, asked)
    assert [result.item_id for result in results] == [item.id for item in asked]
    outcome = TaskOutcome(fetched, results, (), calls=job.counts, usage=job.usage)
    return combine(task, (), outcome), dispatcher, job


@given(task_rules(), TASKS, ITEMS, st.integers(0, 1000))
@settings(max_examples=200)
def test_every_item_ends_in_one_state_at_the_cost_of_its_calls(rules, params, items, seed):
    report, dispatcher, job = run_leaping(run(rules, params, items, seed))
    for item in report.items:
        check_item(rules, item)
    usages = [item.usage for item in report.items]
    assert sum(usage.tokens for usage in usages) == report.usage.tokens
    assert abs(sum(usage.cost_usd for usage in usages) - report.usage.cost_usd) < 1e-9
    assert report.usage.tokens == sum(each.usage.tokens for each in dispatcher.ended.values())
    assert job.counts.planned == len(dispatcher.ended)
    check_state(report)


def check_item(rules, item):
    names = [step.name for step in rules.steps]
    assert (item.error is None) == (item.state is ItemState.SUCCEEDED)
    assert list(item.values) == [name for name in names if name in item.values]
    assert item.step in ("", *names)
    assert item.step not in item.values
    if item.error == BROKEN:
        assert (item.step, item.values, item.usage) == ("", {}, Usage())
        return
    # Every step before the end was answered, unless its condition was false.
    reached = names if item.error is None else names[: names.index(item.step)]
    for step in rules.steps[: len(reached)]:
        fields = {
            f"{name}.{field}": value for name, each in item.values.items() for field, value in each.items()
        }
        holds = step.when is None or compile_condition(step.when).holds(fields)
        assert holds == (step.name in item.values)
    assert set(item.values) <= set(reached)
    if item.state is ItemState.SKIPPED:
        assert item.error.message.startswith("null in ")


def check_state(report):
    states = {item.state for item in report.items}
    if not report.items or (states == {ItemState.FAILED} and not any(item.values for item in report.items)):
        assert report.state is TaskState.FAILED
    elif states == {ItemState.SUCCEEDED}:
        assert (report.state, report.errors) == (TaskState.SUCCEEDED, ())
    else:
        assert report.state in (TaskState.PARTIAL, TaskState.FAILED)
    assert (report.state is TaskState.SUCCEEDED) == (not report.errors)


@given(task_rules(), TASKS, ITEMS, st.integers(0, 1000), st.data())
def test_a_resumed_task_asks_again_only_what_has_no_answer_and_ends_alike(rules, params, items, seed, data):
    whole, dispatcher, _ = run_leaping(run(rules, params, items, seed))
    answered = [each for each in dispatcher.ended.values() if each.values is not None]
    kept = data.draw(st.lists(st.sampled_from(answered), unique_by=id)) if answered else []
    answers = {each.key: Answer(each.values, each.usage) for each in kept}
    again, asked, _ = run_leaping(run(rules, params, items, seed, answers))
    assert asked.ended.keys() == dispatcher.ended.keys() - answers.keys()
    assert [(one.state, one.values, one.step, one.usage) for one in again.items] == [
        (one.state, one.values, one.step, one.usage) for one in whole.items
    ]
    assert (again.state, again.errors, again.usage.tokens) == (whole.state, whole.errors, whole.usage.tokens)

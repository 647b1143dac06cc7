"""Several steps about an item: in order, under conditions, with the answers of those before, and resumed."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from actors.core.errors import Blame, Failure, FailureKind, StoreUnavailableError
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.calls import Completion
from actors.core.messages.journal import AttemptOutcome, Intent
from actors.core.messages.tasks import Fetched, Item, ItemResult, ItemState, Submit, Task, TaskState
from actors.core.messages.values import CallCounts, Usage
from actors.core.task.dimensions import DimensionSettings
from actors.pipeline.task_rules import StepRules
from tests.unit.pipeline.test_actor import world  # noqa: F401 - a fixture
from tests.unit.support.pipeline_world import RULES, submit

TRIAGE = StepRules("triage", "evaluate:triage", "Sort {text}", 10, fields=("label", "confidence", "note"))
VERDICT = StepRules(
    "verdict",
    "evaluate:verdict",
    "Judge {text} as {triage.label}",
    20,
    fields=("quality", "label"),
    when="confidence < 0.7",
    endpoints=("strong",),
)
BOTH = replace(
    RULES, dimensions=(DimensionSettings("quality", "quality", step="verdict"),), steps=(TRIAGE, VERDICT)
)
ROWS = replace(BOTH, dimensions=(), is_map=True)
FAILED = Failure(FailureKind.PERMANENT, Blame.ENDPOINT, "status 400")


def row(key="t1", **params):
    return Submit("run", Task(key, params))


def answering(world, triage, verdict=None):  # noqa: F811
    """Have the dispatcher answer each step with these values, or fail a step that has none."""
    answers = {"evaluate:triage": triage, "evaluate:verdict": verdict}

    def answer(call):
        values = answers[call.form]
        error = FAILED if values is None else None
        return Completion(call.key, values, error, Usage(10, 5), CallCounts(planned=1, billed=1))

    world.dispatcher.answer = answer


def prompts(world):  # noqa: F811
    return [call.prompt for call in world.dispatcher.asked]


async def test_a_later_step_is_asked_with_the_answers_of_earlier_ones(world):  # noqa: F811
    triage, verdict = {"label": "bad", "confidence": 0.2, "note": ""}, {"quality": 0.1, "label": "poor"}
    answering(world, triage, verdict)
    world.begin(rules=ROWS)
    report = await world.ask(row(text="it broke"))
    assert prompts(world) == ["Sort it broke", "Judge it broke as bad"]
    first, second = world.dispatcher.asked
    assert (first.form, first.endpoints, second.endpoints) == ("evaluate:triage", (), ("strong",))
    assert report.state is TaskState.SUCCEEDED
    assert report.items == (
        ItemResult(
            "rows:t1",
            "rows",
            ItemState.SUCCEEDED,
            {"triage": triage, "verdict": verdict},
            usage=Usage(20, 10),
        ),
    )


@pytest.mark.parametrize("confidence", [0.9, None])
async def test_a_step_whose_condition_is_false_is_not_asked(world, confidence):  # noqa: F811
    answering(world, {"label": "good", "confidence": confidence, "note": ""})
    world.begin(rules=ROWS)
    report = await world.ask(row(text="fine"))
    assert prompts(world) == ["Sort fine"]
    assert report.state is TaskState.SUCCEEDED
    assert [(item.state, tuple(item.values)) for item in report.items] == [(ItemState.SUCCEEDED, ("triage",))]


async def test_a_failed_step_ends_its_item_and_the_earlier_answers_are_kept(world):  # noqa: F811
    answering(world, {"label": "bad", "confidence": 0.2, "note": ""})
    third = StepRules("third", "evaluate:third", "Third {text}", 10)
    world.begin(rules=replace(ROWS, steps=(TRIAGE, VERDICT, third)))
    report = await world.ask(row(text="it broke"))
    assert len(world.dispatcher.asked) == 2
    (item,) = report.items
    assert (item.state, item.step, item.error, item.usage) == (
        ItemState.FAILED,
        "verdict",
        FAILED,
        Usage(20, 10),
    )
    assert item.values["triage"]["label"] == "bad"
    assert (report.state, report.errors) == (TaskState.FAILED, ("permanent: status 400",))


async def test_a_null_in_a_prompt_skips_the_item_and_costs_nothing(world):  # noqa: F811
    world.begin(rules=ROWS)
    report = await world.ask(row(text=None))
    assert (world.dispatcher.asked, report.state) == ([], TaskState.PARTIAL)
    assert report.errors == ("null in text",)
    skipped = Failure(FailureKind.PERMANENT, Blame.TASK, "null in text")
    assert report.items == (ItemResult("rows:t1", "rows", ItemState.SKIPPED, error=skipped, step="triage"),)
    assert (await world.known())[1] == report


@pytest.mark.parametrize("rules", [ROWS, BOTH])
async def test_a_null_field_of_an_earlier_step_skips_the_item_unless_it_is_allowed(world, rules):  # noqa: F811
    world.dispatcher.answer = lambda call: Completion(
        call.key, {"label": None, "confidence": 0.1, "quality": 0.5}, None, Usage(), CallCounts(planned=1)
    )
    world.begin(rules=rules)
    report = await world.ask(row(text="x"))
    (item,) = report.items
    assert (item.state, item.step, str(item.error)) == (
        ItemState.SKIPPED,
        "verdict",
        "permanent: null in triage.label",
    )
    assert report.state in (TaskState.PARTIAL, TaskState.FAILED)
    allowed = replace(VERDICT, prompt="Judge as [{triage.label?}]")
    world.begin(rules=replace(rules, steps=(TRIAGE, allowed)))
    report = await world.ask(row("t2", text="x"))
    assert prompts(world)[-1] == "Judge as []"
    assert report.state is TaskState.SUCCEEDED


async def test_the_items_of_a_task_do_not_wait_for_one_another(world):  # noqa: F811
    world.source.answer = lambda fetch: Fetched(
        "wire", tuple(Item(f"wire:{n}", "wire", f"text {n}") for n in range(3))
    )
    answering(world, {"label": "bad", "confidence": 0.2, "note": ""}, {"quality": 0.5, "label": "poor"})
    held = world.dispatcher.held = []
    world.begin(rules=BOTH)
    asked = world.ask(submit())
    await world.until(lambda: len(held) == 3)
    call, reply = held[2]
    reply(world.dispatcher.answer(call))  # the last item goes on while the first waits
    await world.until(lambda: len(held) == 4)
    assert held[3][0].form == "evaluate:verdict"
    assert "text 2" in held[3][0].prompt
    world.dispatcher.release()
    report = await asked
    assert [item.item_id for item in report.items] == ["wire:0", "wire:1", "wire:2"]
    assert (report.state, report.dimensions[0].n) == (TaskState.SUCCEEDED, 3)
    assert {item.usage for item in report.items} == {Usage(20, 10)}


async def test_a_dimension_counts_the_items_whose_step_was_asked(world):  # noqa: F811
    world.source.answer = lambda fetch: Fetched(
        "wire", tuple(Item(f"wire:{n}", "wire", str(n)) for n in range(2))
    )

    def answer(call):
        sure = 0.9 if "\n1\n" in call.prompt else 0.1
        values = {"label": "a", "confidence": sure, "note": "", "quality": 0.5}
        return Completion(call.key, values, None, Usage(), CallCounts(planned=1))

    world.dispatcher.answer = answer
    world.begin(rules=BOTH)
    report = await world.ask(submit())
    assert (report.state, report.dimensions[0].n) == (TaskState.SUCCEEDED, 1)


async def test_a_task_in_the_middle_of_its_steps_asks_only_those_without_an_answer_again(world):  # noqa: F811
    triage, verdict = {"label": "bad", "confidence": 0.2, "note": ""}, {"quality": 0.1, "label": "poor"}
    answering(world, triage, verdict)
    world.begin(rules=ROWS)
    held = world.dispatcher.held = []
    world.ask(row(text="it broke"))
    await world.until(lambda: len(held) == 1)
    call, reply = held[0]
    await world.recorder.call(Intent("run", "t1", call.key, 1, "main", 1))
    ended = AttemptEnded(1, triage, usage=Usage(7, 3))
    await world.recorder.call(AttemptOutcome("run", "t1", call.key, ended))
    reply(world.dispatcher.answer(call))
    await world.until(lambda: len(held) == 2)
    await world.pipeline.close()
    world.dispatcher.asked.clear()
    world.dispatcher.held = None

    world.begin(rules=ROWS)
    report = await world.ask(row(text="it broke"))
    assert [call.form for call in world.dispatcher.asked] == ["evaluate:verdict"]
    assert world.dispatcher.asked[0].key == held[1][0].key
    (item,) = report.items
    assert (item.values, item.usage) == ({"triage": triage, "verdict": verdict}, Usage(17, 8))
    assert (report.calls.planned, report.calls.reused) == (2, 1)


async def test_an_answer_that_cannot_be_stored_leaves_the_task_open_and_ends_its_other_items(world):  # noqa: F811
    world.source.answer = lambda fetch: Fetched(
        "wire", tuple(Item(f"wire:{n}", "wire", str(n)) for n in range(3))
    )
    lost = Failure(FailureKind.UNSTORED, Blame.CLUSTER, "the store is away")
    held = world.dispatcher.held = []
    world.begin(rules=BOTH)
    asked = world.ask(submit())
    await world.until(lambda: len(held) == 3)
    call, reply = held[1]
    reply(Completion(call.key, None, lost, Usage(), CallCounts(planned=1)))
    assert isinstance(await asked, StoreUnavailableError)
    answering(world, {"label": "bad", "confidence": 0.2, "note": ""}, {"quality": 0.5, "label": "poor"})
    world.dispatcher.release()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(world.dispatcher.asked) == 3  # nothing more is asked for the task
    assert (await world.known())[0].state == "accepted"

"""Steps that compute fields of an item without a model: free, in order, and each item fails alone."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from actors.core.errors import Blame
from actors.core.messages.tasks import Fetched, Item, ItemState, TaskState
from actors.pipeline.steps import ComputeJob, do_step
from actors.pipeline.task_rules import StepRules
from tests.unit.pipeline.test_actor import world  # noqa: F401 - a fixture
from tests.unit.pipeline.test_several_steps import answering, prompts, row
from tests.unit.support.computed_steps import Raising, Words, Wrong
from tests.unit.support.pipeline_world import RULES, submit

FIELDS = ("count", "first")
WORDS = StepRules("words", "", "", 0, fields=FIELDS, computation=Words(name="words", kind="words"))
TRIAGE = StepRules(
    "triage",
    "evaluate:triage",
    "Sort the {words.count} words {text}",
    10,
    fields=("label",),
    when="count > 1",
)
ROWS = replace(RULES, dimensions=(), steps=(WORDS, TRIAGE), is_map=True)


async def test_later_prompts_and_conditions_use_computed_fields_and_no_call_is_made_for_them(world):  # noqa: F811
    answering(world, {"label": "bad"})
    world.begin(rules=ROWS)
    report, short = await world.ask(row(text="it broke")), await world.ask(row("t2", text="broke"))
    assert prompts(world) == ["Sort the 2 words it broke"]
    assert dict(report.items[0].values) == {"words": {"count": 2, "first": "it"}, "triage": {"label": "bad"}}
    assert dict(short.items[0].values) == {"words": {"count": 1, "first": "broke"}}
    assert (report.calls.planned, short.calls.planned, short.state) == (1, 0, TaskState.SUCCEEDED)


async def test_a_computed_step_knows_the_answers_of_earlier_steps(world):  # noqa: F811
    answering(world, {"label": "very bad indeed"})
    later = Words(name="words", kind="words", of="triage.label")
    triage = replace(TRIAGE, prompt="Sort {text}", when=None)
    world.begin(rules=replace(ROWS, steps=(triage, replace(WORDS, computation=later))))
    report = await world.ask(row(text="it broke"))
    assert report.items[0].values["words"] == {"count": 3, "first": "very"}


@pytest.mark.parametrize(
    ("computation", "cause"),
    [
        (Words(name="words", kind="words", of="title"), "step words: KeyError: 'title'"),
        (
            Wrong(name="words", kind="wrong"),
            'step words: field count is "many"; it must be a whole number from 0 to 1000',
        ),
    ],
)
async def test_a_failure_fails_its_item_with_the_cause_and_no_call(world, computation, cause):  # noqa: F811
    world.begin(rules=replace(ROWS, steps=(replace(WORDS, computation=computation), TRIAGE)))
    report = await world.ask(row(text="it broke"))
    (item,) = report.items
    assert (item.state, item.step, item.error.message) == (ItemState.FAILED, "words", cause)
    assert (report.state, item.error.blame, prompts(world)) == (TaskState.FAILED, Blame.CONFIG, [])


def test_whatever_a_computation_raises_fails_only_its_job():
    step = Raising(name="c", kind="raising")
    jobs = [ComputeJob(step, {"text": text}) for text in ("mute", "interrupt", "exit", "fine")]
    *failed, fine = [do_step((), job) for job in jobs]
    said = ["step c: MuteError: MuteError", "step c: KeyboardInterrupt: KeyboardInterrupt"]
    assert [each.message for each in failed] == [*said, "step c: SystemExit: SystemExit"]
    assert fine == {"count": 1, "first": "fine"}


async def test_the_other_items_of_a_task_go_on(world):  # noqa: F811
    items = (
        Item("wire:1", "wire", "all of it broke", {}),
        Item("wire:2", "wire", "x " * 1001, {}),
        Item("wire:3", "wire", "it works", {}),
    )
    answering(world, {"label": "ok"})
    world.source.answer = lambda _: Fetched("wire", items)
    world.begin(rules=replace(ROWS, is_map=False))
    report = await world.ask(submit())
    assert [item.state for item in report.items] == ["succeeded", "failed", "succeeded"]
    assert [item.values.get("words", {}).get("count") for item in report.items] == [4, None, 2]

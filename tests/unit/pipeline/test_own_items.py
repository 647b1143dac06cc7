"""A task without sources is its own single item: nothing is fetched, and no dimension is demanded."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.calls import Completion
from actors.core.messages.journal import ReadEvents
from actors.core.messages.tasks import ItemResult, ItemState, Submit, Task, TaskState
from actors.core.messages.values import CallCounts, Usage
from actors.core.task.dimensions import DimensionSettings
from actors.pipeline.task_rules import StepRules
from tests.unit.pipeline.test_actor import world  # noqa: F401 - a fixture
from tests.unit.support.pipeline_world import RULES

STEP = StepRules("evaluate", "evaluate", "Rate {text}", 10, model="m", fields=("quality",))
MAP = replace(RULES, dimensions=(), steps=(STEP,), is_map=True)


def row(key="t1", **params):
    return Submit("run", Task(key, params))


async def test_a_task_without_sources_is_asked_about_as_it_is(world):  # noqa: F811
    world.begin(rules=MAP)
    text = 'A "quoted" {text}\n' + "x" * 10_000
    report = await world.ask(row(text=text, other=1))
    assert [call.prompt for call in world.dispatcher.asked] == [f"Rate {text}"]
    assert world.source.asked == []
    assert (report.state, report.overall, report.dimensions) == (TaskState.SUCCEEDED, None, ())
    assert (report.errors, report.sources) == ((), {})
    assert report.items == (
        ItemResult(
            "rows:t1", "rows", ItemState.SUCCEEDED, {"evaluate": {"quality": 0.5}}, usage=Usage(10, 5)
        ),
    )
    assert (await world.known())[1] == report


@pytest.mark.parametrize(("is_plain", "tokens"), [(False, 10), (True, 0)])
async def test_only_what_writes_text_reserves_tokens_for_its_answer(world, is_plain, tokens):  # noqa: F811
    world.begin(rules=replace(MAP, steps=(replace(STEP, is_plain=is_plain),)))
    await world.ask(row(text="x"))
    assert [call.output_tokens for call in world.dispatcher.asked] == [tokens]


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("{fields}", 'Rate {"id": "i1", "n": 0}'),
        ("{id} {n}", "Rate i1 0"),
        ("{key}", "Rate t1"),
    ],
)
async def test_a_column_takes_precedence_and_the_fields_are_all_columns(
    world,  # noqa: F811
    prompt,
    asked,
):
    world.begin(rules=replace(MAP, steps=(replace(STEP, prompt=f"Rate {prompt}"),)))
    await world.ask(row(id="i1", n=0))
    assert [call.prompt for call in world.dispatcher.asked] == [asked]


async def test_a_row_that_lacks_a_column_text_is_not_asked_and_sends_nothing(world):  # noqa: F811
    world.begin(rules=MAP)
    report = await world.ask(row(id="i1"))
    assert report.state is TaskState.FAILED
    assert "{text} names nothing" in report.errors[0]
    assert world.dispatcher.asked == []


async def test_a_task_without_sources_fails_with_its_item_and_says_why_in_one_line(world):  # noqa: F811
    failure = Failure(FailureKind.PERMANENT, Blame.ENDPOINT, "status 400:\n" + "no " * 1000)
    world.dispatcher.answer = lambda call: Completion(
        call.key, None, failure, Usage(3, 0), CallCounts(planned=1, failed=1)
    )
    world.begin(rules=MAP)
    report = await world.ask(row(text="x"))
    assert report.state is TaskState.FAILED
    assert report.errors[0].startswith("permanent: status 400: no no")
    assert len(report.errors[0]) == 2_000
    assert report.items == (
        ItemResult("rows:t1", "rows", ItemState.FAILED, {}, failure, "evaluate", Usage(3, 0)),
    )


async def test_a_task_without_sources_may_have_dimensions(world):  # noqa: F811
    world.begin(rules=replace(MAP, dimensions=(DimensionSettings("quality", "quality"),)))
    report = await world.ask(row(text="x"))
    assert (report.state, report.overall, report.dimensions[0].n) == (TaskState.SUCCEEDED, 0.5, 1)


async def test_a_task_with_sources_and_no_dimension_succeeds_without_a_score(world):  # noqa: F811
    world.begin(rules=replace(RULES, dimensions=()))
    report = await world.ask(row())
    assert (report.state, report.overall, len(report.items)) == (TaskState.SUCCEEDED, None, 1)


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [({}, ["accepted", "ended"]), ({"recovers": "run"}, ["accepted", "started", "ended"])],
)
async def test_the_events_of_a_row_tell_its_way_and_its_start_only_in_a_service(world, settings, kinds):  # noqa: F811
    world.begin(rules=MAP, **settings)
    await world.ask(row(text="x"))
    assert [event.kind for event in await world.recorder.call(ReadEvents("run", "t1"))] == kinds

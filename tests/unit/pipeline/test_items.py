"""Items that a source could not read are failures of their own in the report, and are paid for by nobody."""

from __future__ import annotations

import asyncio
import gc
import itertools

from msgspec.structs import replace

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.journal import batch
from actors.core.journal.rows import dump_fetched, load_fetched
from actors.core.messages.calls import Completion
from actors.core.messages.tasks import Fetched, Item, ItemResult, ItemState, TaskState
from actors.core.messages.values import CallCounts, Usage
from actors.journal.stores.codec import JsonCodec
from actors.pipeline import task_run
from tests.unit.pipeline.test_actor import submit, world  # noqa: F401 - a fixture
from tests.unit.support.pipeline_world import RULES

TOO_LARGE = Failure(FailureKind.PERMANENT, Blame.LIMIT, "the item has 5 bytes, more than max_item_bytes = 4")
GOOD, BAD = Item("wire:a", "wire", "text"), Item("wire:b", "wire", "", {}, TOO_LARGE)


async def test_an_item_with_an_error_is_reported_and_the_others_are_evaluated(world):  # noqa: F811
    world.source.answer = lambda fetch: Fetched("wire", (GOOD, BAD))
    world.begin()
    report = await world.ask(submit())
    assert (report.state, report.dimensions[0].n, report.calls.planned) == (TaskState.PARTIAL, 1, 1)
    assert report.items == (
        ItemResult("wire:a", "wire", ItemState.SUCCEEDED, {"evaluate": {"quality": 0.5}}, usage=Usage(10, 5)),
        ItemResult("wire:b", "wire", ItemState.FAILED, error=TOO_LARGE),
    )
    assert report.errors == (f"evaluation of wire:b failed: permanent: {TOO_LARGE.message}",)


async def test_the_texts_of_items_are_in_the_report_where_they_are_asked_for(world):  # noqa: F811
    world.source.answer = lambda fetch: Fetched("wire", (GOOD, BAD))
    world.begin(rules=replace(RULES, keeps_text=True))
    report = await world.ask(submit())
    assert [item.text for item in report.items] == ["text", ""]


def many_items(fetch):
    return Fetched("wire", tuple(Item(f"wire:{number}", "wire", "text") for number in range(1000)))


async def test_the_calls_of_a_large_task_leave_the_event_loop_to_others(world):  # noqa: F811
    world.source.answer, world.dispatcher.held = many_items, []
    world.begin()
    world.ask(submit())
    asked = [0]
    async with asyncio.timeout(10):
        while asked[-1] < 1000:
            await asyncio.sleep(0)
            asked.append(world.pipeline.statistics().to_dispatcher.outstanding)
    assert max(after - before for before, after in itertools.pairwise(asked)) <= 100


async def test_a_pipeline_that_closes_leaves_no_error_of_a_call_that_nothing_waits_for(world):  # noqa: F811
    logged = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context["message"]))
    world.source.answer, world.dispatcher.held = many_items, []
    world.begin()
    world.ask(submit())
    await world.until(lambda: world.pipeline.statistics().to_dispatcher.outstanding == 1000)
    await world.pipeline.close()
    await asyncio.sleep(0)
    world.begin()  # in place of the one that is closed, which still refers to its tasks
    gc.collect()
    assert logged == []


def test_an_item_with_an_error_is_stored_and_items_stored_without_are_read():
    fetched = (Fetched("wire", (GOOD, BAD), None, 2),)
    assert load_fetched(JsonCodec, dump_fetched(JsonCodec, fetched)) == fetched
    before = JsonCodec.dumps([["wire", [["wire:a", "wire", "text", {}]], None, 2]])
    assert load_fetched(JsonCodec, before) == (replace(fetched[0], items=(GOOD,)),)


def test_the_source_whose_items_go_beyond_what_a_task_may_collect_fails_and_the_others_count():
    """All items of a task go to the journal in one message, and a message has a largest size."""
    fetched = [Fetched(name, (GOOD,), size=size) for name, size in (("a", 60), ("b", 50), ("c", 40))]
    first, second, third = task_run._bounded(fetched, 100)
    assert (first, third) == (fetched[0], fetched[2])
    assert (second.items, second.error.blame) == ((), Blame.LIMIT)
    assert (
        "50 bytes, 110 together with those of the sources before it; the limit is 100;"
        in second.error.message
    )
    assert "limits.max_collected_bytes" in second.error.message


async def test_the_items_of_a_task_whose_required_source_failed_are_not_asked_about(world):  # noqa: F811
    down = Failure(FailureKind.TRANSIENT, Blame.SOURCE, "down")
    world.source.answer = lambda fetch: Fetched("wire", (GOOD, BAD), down)
    world.begin(rules=replace(RULES, required_sources=frozenset({"wire"})))
    report = await world.ask(submit())
    assert report.state is TaskState.FAILED
    assert [(item.state, item.error.message) for item in report.items] == [
        (ItemState.FAILED, "not asked, because required source wire failed"),
        (ItemState.FAILED, TOO_LARGE.message),
    ]
    assert world.dispatcher.asked == []


async def test_a_report_that_is_too_large_to_store_fails_its_task_and_no_other(world, monkeypatch):  # noqa: F811
    """It would otherwise never end: each resume would make the same report again."""
    monkeypatch.setattr(batch, "MOST_VALUE_BYTES", 2_000)
    world.dispatcher.answer = lambda call: Completion(
        call.key,
        {"quality": 0.5, "note": "x" * (3_000 if call.task == "large" else 3)},
        None,
        Usage(),
        CallCounts(planned=1),
    )
    world.begin()
    large, small = await world.ask(submit("large")), await world.ask(submit("small"))
    assert (large.state, small.state) == (TaskState.FAILED, TaskState.SUCCEEDED)
    assert "exceed the maximum of 2,000" in large.errors[0]
    assert (await world.known("large"))[0].state == "failed"

"""A pipeline without Ray: its sources, its dispatcher and a real journal stand in the same process."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from actors.core.errors import (
    Blame,
    Failure,
    FailureKind,
    OverloadedError,
    ShareExceededError,
    StoreUnavailableError,
    TaskConflictError,
)
from actors.core.messages.calls import Call, Completion
from actors.core.messages.journal import OpenRun, ReadEvents, ReadTask
from actors.core.messages.tasks import Cancel, Submit, Task, TaskState
from actors.core.messages.values import CallCounts, Usage
from actors.journal import actor as journal_actor
from actors.journal.actor import JournalSettings
from actors.journal.stores.opening import MemorySettings
from tests.unit.support.pipeline_world import RULES, World, hurry, submit


@pytest.fixture
async def world(monkeypatch):
    hurry(monkeypatch, retry_s=0.0)
    made = World(answers_within_s=20.0)
    await made.recorder.call(OpenRun("run", "test", {}))
    yield made
    await made.recorder.close()
    await made.journal.close()


async def test_a_task_ends_with_the_report_that_the_journal_has(world):
    world.begin()
    report = await world.ask(submit())
    assert report.state is TaskState.SUCCEEDED
    assert report.dimensions[0].n == 1
    view, stored = await world.known()
    assert (view.state, stored) == ("succeeded", report)


async def test_sources_and_prompts_are_given_the_key_as_its_caller_named_it(world):
    (step,) = RULES.steps
    world.begin(rules=replace(RULES, steps=(replace(step, prompt="rate {key}: {text}"),)))
    report = await world.ask(submit("ann\x1ft1"))
    assert [fetch.task.key for fetch in world.source.asked] == ["t1"]
    assert [call.prompt for call in world.dispatcher.asked] == ['rate t1: \n"""\ntext of it\n"""\n']
    assert report.key == world.dispatcher.asked[0].task == "ann\x1ft1"


async def test_a_task_that_has_ended_is_told_again_and_nothing_is_asked(world):
    world.begin()
    first = await world.ask(submit())
    world.begin()
    assert await world.ask(submit()) == first
    assert len(world.dispatcher.asked) == len(world.source.asked) == 1


async def test_a_pipeline_that_begins_anew_asks_its_sources_nothing_that_is_stored(world):
    world.begin()
    world.dispatcher.held = []
    world.ask(submit())
    await world.until(lambda: world.dispatcher.held)
    world.begin()
    world.dispatcher.held = None
    report = await world.ask(submit())
    assert report.state is TaskState.SUCCEEDED
    assert len(world.source.asked) == 1
    first, second = world.dispatcher.asked
    assert first.key == second.key


async def test_the_same_task_submitted_twice_runs_once_and_both_are_told(world):
    world.begin()
    first, second = world.ask(submit()), world.ask(submit())
    assert await first == await second
    assert len(world.dispatcher.asked) == 1


async def test_a_known_key_with_other_params_is_refused(world):
    world.begin()
    world.dispatcher.held = []
    world.ask(submit())
    refused = await world.ask(Submit("run", Task("t1", {"other": 1})))
    assert isinstance(refused, TaskConflictError)


async def test_acceptance_is_told_once_it_is_durable_and_before_the_report(world):
    world.begin()
    world.dispatcher.held = []
    accepted = await world.ask(submit(until_accepted=True))
    assert accepted.is_new
    assert (await world.known())[0].state == "accepted"
    again = await world.ask(submit(until_accepted=True))
    assert (again.task, again.is_new) == ("t1", False)


async def test_of_several_who_wait_for_one_acceptance_one_is_told_that_it_is_new(world):
    world.begin()
    asked = [world.ask(submit(until_accepted=True)) for _ in range(3)]
    assert [(await each).is_new for each in asked] == [True, False, False]


async def test_a_named_request_is_compared_with_what_the_journal_has_also_while_its_task_runs(world):
    world.begin()
    world.dispatcher.held = []
    named = {"until_accepted": True, "tenant": "ann", "idempotency": "r1"}
    first = await world.ask(submit(digest="d1", **named))
    again = await world.ask(submit(digest="d1", **named))
    assert (first.is_new, again.is_new) == (True, False)
    assert isinstance(await world.ask(submit(digest="d2", **named)), TaskConflictError)
    waiting = world.ask(submit(digest="d1", tenant="ann", idempotency="r1"))
    world.dispatcher.release()
    assert (await waiting).state is TaskState.SUCCEEDED


async def test_beyond_its_backlog_a_task_is_turned_away(world):
    world.begin(active_tasks=1, accepted_tasks=1)
    world.dispatcher.held = []
    for key in ("t1", "t2"):
        await world.ask(submit(key, until_accepted=True))
        await world.until(lambda: world.pipeline._active == 1)
    refused = await world.ask(submit("t3"))
    assert isinstance(refused, OverloadedError)
    assert refused.retry_after_s > 0


async def test_a_caller_that_is_not_alone_is_turned_away_at_its_share(world):
    world.begin(active_tasks=1, accepted_tasks=4)
    world.dispatcher.held = []
    for key, tenant in (("t1", "ann"), ("t2", "ann"), ("t3", "bob")):
        await world.ask(submit(key, tenant=tenant, until_accepted=True))
    assert isinstance(await world.ask(submit("t4", tenant="ann")), ShareExceededError)
    assert (await world.ask(submit("t5", tenant="bob", until_accepted=True))).is_new
    assert world.pipeline.statistics().tenants == {"ann": 2, "bob": 2}
    world.dispatcher.release()
    await world.until(lambda: not world.pipeline._entries)
    known = world.pipeline.statistics()
    assert (known.tenants, known.ended, known.turned_away) == ({}, 4, 1)
    assert {state: count for state, count in known.states.items() if count} == {TaskState.SUCCEEDED: 4}


async def test_cancelling_a_task_ends_it_for_good_and_tells_the_dispatcher(world):
    world.begin()
    world.dispatcher.held = []
    waiting = world.ask(submit())
    await world.until(lambda: world.dispatcher.held)
    report = await world.ask(Cancel("t1", "run"))
    assert report.state is TaskState.CANCELLED
    assert await waiting == report
    assert Cancel("t1", "run") in world.dispatcher.asked
    assert (await world.known())[0].state == "cancelled"
    world.dispatcher.release()
    assert await world.ask(submit()) == report


async def test_cancelling_a_task_that_waits_for_its_turn_ends_it_unasked(world):
    world.begin(active_tasks=1)
    world.dispatcher.held = []
    world.ask(submit("t1"))
    await world.until(lambda: world.dispatcher.held)
    await world.ask(submit("t2", until_accepted=True))
    report = await world.ask(Cancel("t2", "run"))
    assert report.state is TaskState.CANCELLED
    assert {call.task for call in world.dispatcher.asked if isinstance(call, Call)} == {"t1"}


@pytest.mark.parametrize("begins_anew", [False, True])
async def test_a_task_cancelled_before_it_is_accepted_ends_as_cancelled_without_a_call(world, begins_anew):
    world.begin()
    if begins_anew:
        world.dispatcher.held = []
        world.ask(submit())
        await world.until(lambda: world.dispatcher.held)
        world.begin()
    calls = sum(isinstance(asked, Call) for asked in world.dispatcher.asked)
    waiting, accepted = world.ask(submit()), world.ask(submit(until_accepted=True))
    cancelled = world.ask(Cancel("t1", "run"))
    again = world.ask(Cancel("t1", "run"))
    async with asyncio.timeout(5):
        report = await cancelled
    assert report.state is TaskState.CANCELLED
    assert (await waiting, await again) == (report, report)
    assert (await accepted).is_new is not begins_anew
    assert await world.known() == ((await world.known())[0], report)
    assert sum(isinstance(asked, Call) for asked in world.dispatcher.asked) == calls
    assert Cancel("t1", "run") in world.dispatcher.asked  # it may have calls from the pipeline's earlier life
    assert world.pipeline.statistics().accepted == 0


async def test_a_task_cancelled_while_its_acceptance_fails_is_answered_with_why(world, monkeypatch):
    world.begin()

    def fail(*_):
        raise StoreUnavailableError("the disk is full")

    monkeypatch.setattr(world.journal._state, "handle", fail)
    monkeypatch.setattr(journal_actor, "_FIRST_PAUSE_S", 0)
    world.journal._settings = JournalSettings(MemorySettings(), "test", give_up_s=0.0)
    world.ask(submit())
    assert isinstance(await world.ask(Cancel("t1", "run")), StoreUnavailableError)


async def test_a_task_that_is_not_here_cannot_be_cancelled_here(world):
    world.begin()
    assert await world.ask(Cancel("t9", "run")) is None


async def test_a_service_goes_on_by_itself_with_what_was_accepted(world):
    world.begin()
    world.dispatcher.held = []
    for n in range(5):
        await world.ask(submit(f"t{n}", until_accepted=True))
    world.dispatcher.held = None
    world.begin(recovers="run", accepted_tasks=2, active_tasks=1)
    async with asyncio.timeout(5):
        while {(await world.known(f"t{n}"))[0].state for n in range(5)} != {"succeeded"}:
            await asyncio.sleep(0)


async def test_the_events_of_a_task_tell_its_way(world):
    world.begin()
    await world.ask(submit())
    events = await world.recorder.call(ReadEvents("run", "t1"))
    assert [event.kind for event in events] == [
        "accepted",
        "started",
        "collected",
        "evaluated",
        "dimension",
        "ended",
    ]
    assert [event.task_id for event in events] == [1, 2, 3, 4, 5, 6]


async def test_where_the_journal_fails_the_task_is_answered_with_why(world, monkeypatch):
    world.begin()

    def fail(*_):
        raise StoreUnavailableError("the disk is full")

    monkeypatch.setattr(world.journal._state, "handle", fail)
    monkeypatch.setattr(journal_actor, "_FIRST_PAUSE_S", 0)
    world.journal._settings = JournalSettings(MemorySettings(), "test", give_up_s=0.0)
    answer = await world.ask(submit())
    assert isinstance(answer, StoreUnavailableError)
    assert world.pipeline.statistics().accepted == 0


async def test_a_call_that_could_not_be_stored_is_no_end_of_its_task(world):
    world.begin()
    full = Failure(FailureKind.UNSTORED, Blame.CLUSTER, "the disk is full")
    world.dispatcher.answer = lambda call: Completion(call.key, None, full, Usage(), CallCounts())
    assert isinstance(await world.ask(submit()), StoreUnavailableError)
    view, _ = await world.recorder.call(ReadTask("run", "t1"))
    assert view.state == "accepted"


async def test_a_defect_fails_its_own_task_and_no_other(world, monkeypatch):
    world.begin()
    real = world.pipeline._runner.run_task

    async def run_task(job):
        if job.key == "bad":
            raise ZeroDivisionError("a defect")
        return await real(job)

    monkeypatch.setattr(world.pipeline._runner, "run_task", run_task)
    bad, good = await world.ask(submit("bad")), await world.ask(submit("good"))
    assert bad.state is TaskState.FAILED
    assert "ZeroDivisionError" in bad.errors[0]
    assert good.state is TaskState.SUCCEEDED


async def test_equal_calls_carry_the_same_content_where_answers_are_shared(world):
    world.begin(rules=replace(RULES, share_answers=True))
    await world.ask(submit("t1"))
    await world.ask(submit("t2"))
    contents = [call.content for call in world.dispatcher.asked]
    assert contents[0] == contents[1] != ""

"""A batch run whose surroundings fail: it ends, and says why."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from actors.core.errors import (
    Blame,
    Failure,
    FailureKind,
    FencedError,
    HeadraceError,
    RunTakenError,
    StoreUnavailableError,
)
from actors.core.limits.breaker import BreakerState
from actors.core.messages.journal import (
    CloseRun,
    OpenRun,
    ReadTasks,
    RunOpened,
    TaskTally,
)
from actors.core.messages.tasks import ItemResult, ItemState, Report, Task, TaskState
from actors.core.messages.values import CallCounts, Usage
from cluster.input.checked_tasks import InputChangedMeanwhileError
from cluster.records.input_digest import InputChangedError, RunInput
from cluster.report.results import ResultWriter
from cluster.report.summary import exit_code, summary_json
from cluster.report.tables.columns import Layout, TableName
from cluster.report.tables.outputs import FileOutput
from cluster.report.tables.targets import ResultsError
from cluster.run.stopping import StopRequest
from tests.unit.support.batch_world import (
    Answering,
    CancelRequested,
    Journal,
    Progress,
    Silent,
    Writer,
    begun_with,
)


async def test_input_that_cannot_be_read_on_ends_the_run(make_run):
    def tasks():
        yield Task("one")
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        async with asyncio.timeout(5):
            await make_run().run(tasks(), Progress(), StopRequest())


@pytest.mark.parametrize("step", ["open", "write", "finish", "publish"])
async def test_results_that_cannot_be_written_end_the_run(make_run, step):
    with pytest.raises(ResultsError, match="no space left"):
        async with asyncio.timeout(5):
            await make_run(Writer(step), Answering()).run([Task("one")], Progress(), StopRequest())


async def test_a_driver_that_is_refused_the_run_leaves_the_results_as_they_are(make_run, tmp_path):
    """Those of a run that another driver runs, or that has ended."""
    (tmp_path / "run").mkdir()
    kept = {
        "reports.jsonl": b"kept",
        "reports.parquet": b"",
    }
    for name, content in kept.items():
        (tmp_path / "run" / name).write_bytes(content)
    part = tmp_path / "run" / ".reports.jsonl.0a.part"
    part.write_bytes(b"being written")
    journal = Journal({OpenRun: RunTakenError("run by another")})
    files = [FileOutput(TableName.REPORTS, str(tmp_path / "run" / name), is_private=True) for name in kept]
    with ResultWriter(Layout(False, ()), files, directory=tmp_path / "run") as writer:
        run = make_run(writer, Silent(journal))
        with pytest.raises(RunTakenError):
            await run.run([Task("one")], Progress(), StopRequest())
    left = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert left == {**kept, part.name: b"being written"}


async def test_the_results_appear_once_the_journal_has_confirmed_the_end(make_run):
    writer, seen = Writer(), []

    class Looking(Journal):
        async def call(self, message):
            if isinstance(message, CloseRun):
                seen.extend(writer.did)
            return await super().call(message)

    await make_run(writer, Answering(Looking())).run([Task("one")], Progress(), StopRequest())
    assert (seen, writer.did) == (["open", "write", "finish"], ["open", "write", "finish", "publish"])
    assert writer.was_whole


async def test_a_run_whose_files_cannot_be_published_stays_ended_and_says_where_its_reports_are(make_run):
    topology = Silent()
    with pytest.raises(ResultsError, match=r"no space left.*closed as .*headrace results run"):
        await make_run(Writer("publish"), topology, total=0).run([], Progress(), StopRequest())
    closed = [message.state for message in topology.journal.told if isinstance(message, CloseRun)]
    assert len(closed) == 1
    assert closed != ["interrupted"]


async def test_a_driver_that_has_lost_its_run_publishes_nothing(make_run):
    writer, fenced = Writer(), FencedError("written by another now")
    journal = Journal({CloseRun: fenced})
    with pytest.raises(FencedError):
        await make_run(writer, Answering(journal)).run([Task("one")], Progress(), StopRequest())
    assert "publish" not in writer.did


async def test_an_end_that_is_not_confirmed_is_an_error_and_publishes_nothing(make_run):
    writer, away = Writer(), StoreUnavailableError("the server is down")
    topology = Answering(Journal({CloseRun: away}))
    with pytest.raises(StoreUnavailableError, match="end of run run could not be stored: the server is down"):
        await make_run(writer, topology).run([Task("one")], Progress(), StopRequest())
    assert "publish" not in writer.did


async def test_a_run_whose_cancellation_is_requested_ends_its_tasks_and_takes_no_more(make_run):
    topology, writer = CancelRequested(), Writer()

    def tasks():
        yield from map(Task, ("one", "two"))
        while True:  # more than there is room for, so that the run would go on
            yield Task(f"more-{len(topology.futures)}")

    async with asyncio.timeout(5):
        ended = await make_run(writer, topology).run(tasks(), Progress(), StopRequest())
    assert ended.summary.state == "cancelled"
    assert topology.cancelled == list(topology.futures)
    assert writer.written == list(enumerate(topology.cancelled))
    assert not writer.was_whole


async def test_a_task_that_left_the_input_is_named_and_keeps_the_run_from_succeeding(make_run):
    journal, said = begun_with([Task("one"), Task("gone")], state="accepted"), []
    left = [Task("one")]
    run = make_run(topology=Answering(journal), run_input=RunInput(lambda: left), say=said.append)
    journal.tasks = (replace(journal.tasks[0], state="succeeded"), journal.tasks[1])
    ended = await run.run(left, Progress(), StopRequest())
    assert said == ["the input has changed since run run was started, from 2 to 1 tasks: 1 removed (gone)"]
    assert (ended.summary.state, ended.summary.open_tasks) == ("failed", 1)
    (closed,) = [message for message in journal.told if isinstance(message, CloseRun)]
    assert (closed.state, closed.summary["tasks"]["open"]) == ("failed", 1)


async def test_tasks_whose_params_changed_end_a_resume_before_anything_is_asked(make_run):
    journal, topology = begun_with([Task("one", {"x": 1})], state="accepted"), CancelRequested()
    topology.journal = journal
    now = [Task("one", {"x": 2})]
    with pytest.raises(InputChangedError, match="1 with other params"):
        await make_run(topology=topology, run_input=RunInput(lambda: now)).run(now, Progress(), StopRequest())
    assert topology.futures == {}


async def test_an_input_that_is_changed_while_it_is_read_ends_the_run_after_the_tasks_that_were_accepted(
    make_run,
):
    tasks, said, writer = [Task(f"t{number}") for number in range(300)], [], Writer()
    known = RunInput(lambda: iter(tasks), place="t.jsonl")
    tasks[299] = Task("t299", {"x": 2})
    run = make_run(writer, Answering(), run_input=known, say=said.append)
    with pytest.raises(InputChangedMeanwhileError, match=r"t\.jsonl: .*rows 257 to 300 differ"):
        await run.run(iter(known), Progress(), StopRequest())
    assert [key for _, key in writer.written] == [f"t{number}" for number in range(256)]
    assert "publish" not in writer.did


async def test_an_input_that_is_as_it_was_is_not_compared_task_by_task(make_run):
    tasks = [Task("one")]
    journal = begun_with(tasks, state="succeeded")
    run = make_run(topology=Answering(journal), run_input=RunInput(lambda: tasks))
    await run.run(tasks, Progress(), StopRequest())
    assert not [message for message in journal.told if isinstance(message, ReadTasks)]


@pytest.mark.parametrize(("ended", "looks"), [(1, 0), (0, 1)])
async def test_the_endpoints_are_looked_at_before_anything_is_asked_and_only_then(make_run, ended, looks):
    looked, topology = [], CancelRequested()

    class Known(Journal):
        async def call(self, message):
            if isinstance(message, OpenRun):
                return RunOpened(message.run_id, False, 0.0, TaskTally(1, succeeded=ended))
            return await super().call(message)

    async def preflight():
        looked.append(dict(topology.futures))
        raise HeadraceError("the key is refused")

    topology.journal, stop = Known(), StopRequest()
    run = make_run(topology=topology, preflight=preflight, total=1)
    if looks:
        with pytest.raises(HeadraceError, match="the key is refused"):
            await run.run([Task("one")], Progress(), stop)
    else:
        stop.set()
        await run.run([Task("one")], Progress(), stop)
    assert looked == [{}] * looks
    (closed,) = [message for message in topology.journal.told if isinstance(message, CloseRun)]
    if looks:
        assert (closed.state, closed.summary) == ("failed", {"stopped_by": "the key is refused"})


class OneByOne(Silent):
    """Actors that keep the tasks that they got. `completed` counts the answers."""

    def __init__(self, faults=()):
        super().__init__()
        self.futures: dict[str, asyncio.Future] = {}
        self.completed = 0
        self.looks = 0
        self.faults = faults
        self.stopped_by = None

    async def send(self, submit):
        future = self.futures[submit.task.key] = asyncio.get_running_loop().create_future()
        return future

    async def statistics(self):
        self.looks += 1
        dispatcher = SimpleNamespace(
            stopped_by=self.stopped_by,
            **dict.fromkeys(("failed", "queued"), 0),
            completed=self.completed,
            calls=CallCounts(),
            usage=Usage(),
            endpoints=self.faults,
            binding="",
        )
        return SimpleNamespace(journal=None, dispatcher=dispatcher, pipelines=(), sources=())


@pytest.mark.parametrize("released_by", ["answer", "report", "time"])
async def test_the_first_task_goes_alone_until_an_answer_or_its_end_or_a_time(make_run, released_by):
    actors, stop = OneByOne(), StopRequest()
    run = make_run(topology=actors, alone_s=0.0 if released_by == "time" else 60.0)
    running = asyncio.create_task(run.run([Task("one"), Task("two")], Progress(), stop))
    async with asyncio.timeout(5):
        if released_by != "time":
            while actors.looks < 20:
                await asyncio.sleep(0)
            assert list(actors.futures) == ["one"]
        if released_by == "answer":
            actors.completed = 1
        elif released_by == "report":
            report = Report("one", TaskState.SUCCEEDED, None, (), {}, CallCounts(planned=1), Usage(), 0.1)
            actors.futures["one"].set_result(report)
        while len(actors.futures) < 2:
            await asyncio.sleep(0)
        stop.set()
        await running


async def test_the_others_wait_while_a_fault_may_stop_the_run(make_run):
    actors, stop = OneByOne(), asyncio.Event()
    actors.stopped_by = Failure(FailureKind.MISCONFIGURED, Blame.CONFIG, "main refuses the key")
    now = [100.0]
    run = make_run(topology=actors, alone_s=0.01, clock=lambda: now[0])
    running = asyncio.create_task(run.run([Task("one"), Task("two")], Progress(), stop))
    async with asyncio.timeout(5):
        until = asyncio.get_running_loop().time() + 0.1
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0)
        assert list(actors.futures) == ["one"]
        now[0] += 3.5
        ended = await running

    assert list(actors.futures) == ["one"]
    assert ended.summary.stopped_by == "main refuses the key"


async def test_the_cause_is_shown_when_the_first_task_fails(make_run):
    actors, said, error = OneByOne(), [], "HTTP 400: \x1b[2Jno,\r\nok\u202e"  # it quotes a server
    running = asyncio.create_task(
        make_run(topology=actors, say=said.append).run([Task("one")], Progress(), asyncio.Event())
    )
    counts = CallCounts(planned=1)
    async with asyncio.timeout(5):
        while not actors.futures:
            await asyncio.sleep(0)
        failed = Report("one", TaskState.FAILED, None, (), {}, counts, Usage(), 0.1, errors=(error,))
        actors.futures["one"].set_result(failed)
        await running

    assert said == ["the first task, one, failed: HTTP 400: no, ok"]


@pytest.mark.parametrize(
    ("kind", "fails_again"),
    [(FailureKind.PERMANENT, True), (FailureKind.UNUSABLE, True), (FailureKind.IN_DOUBT, False)],
)
async def test_a_run_that_stops_at_a_failure_says_whether_the_task_would_fail_again(
    make_run, kind, fails_again
):
    actors = OneByOne()
    run = make_run(topology=actors, stops_at_failure=True)
    running = asyncio.create_task(run.run([Task("one"), Task("two")], Progress(), StopRequest()))
    error = Failure(kind, Blame.ENDPOINT, "no")
    item = ItemResult("one", "rows", ItemState.FAILED, {}, error)
    failed = Report(
        "one", TaskState.FAILED, None, (), {}, CallCounts(planned=1), Usage(), 0.1, (str(error),), (item,)
    )
    async with asyncio.timeout(5):
        while not actors.futures:
            await asyncio.sleep(0)
        actors.futures["one"].set_result(failed)
        ended = await running
    assert ended.summary.stopped_by == f"one failed: {error}"
    assert ended.fails_again is fails_again


def endpoint_known(name, **more):
    return SimpleNamespace(
        name=name,
        limiter=SimpleNamespace(limit=1, in_flight=0),
        attempts=SimpleNamespace(answer_s=0.0, outcomes={}),
        last_failure="",
        is_failing=False,
        answered=0,
        refused=3,
        **{"fault": None, "breaker": BreakerState.CLOSED} | more,
    )


@pytest.mark.parametrize(
    ("breakers", "is_outage"),
    [
        ((BreakerState.OPEN, BreakerState.HALF_OPEN), True),
        ((BreakerState.OPEN, BreakerState.CLOSED), False),
    ],
)
async def test_the_progress_tells_an_outage_of_all_endpoints(make_run, breakers, is_outage):
    actors, stop, shown = OneByOne(), StopRequest(), []
    actors.faults = tuple(endpoint_known(f"e{n}", breaker=each) for n, each in enumerate(breakers))
    running = asyncio.create_task(
        make_run(topology=actors).run([Task("one")], SimpleNamespace(show=shown.append), stop)
    )
    async with asyncio.timeout(5):
        while actors.looks < 3:
            await asyncio.sleep(0)
        stop.set()
        await running

    assert shown[0].is_outage is is_outage
    assert shown[0].refused == 6, "refusals of calls that have not ended count"


async def test_the_fault_of_one_of_several_endpoints_is_told_at_once(make_run):
    fault = Failure(FailureKind.MISCONFIGURED, Blame.CONFIG, "spare refuses the key")
    spare = endpoint_known("spare", fault=fault)
    actors, stop, said = OneByOne((spare,)), StopRequest(), []
    run = make_run(topology=actors, say=said.append)
    running = asyncio.create_task(run.run([Task("one")], Progress(), stop))
    async with asyncio.timeout(5):
        while actors.looks < 3:
            await asyncio.sleep(0)
        stop.set()
        await running

    assert said[:1] == ["spare refuses the key. The run uses the other endpoints"]


async def test_a_run_whose_key_is_refused_everywhere_stops_with_the_cause_and_leaves_its_tasks_open(
    make_run, monkeypatch
):
    class Refused(Silent):
        async def statistics(self):
            now.append(now[-1] + 1.0)
            dispatcher = SimpleNamespace(
                stopped_by=Failure(FailureKind.MISCONFIGURED, Blame.CONFIG, "main refuses the key"),
                **dict.fromkeys(("completed", "failed", "queued"), 0),
                calls=CallCounts(),
                usage=Usage(),
                endpoints=(),
                binding="a fault",
            )
            return SimpleNamespace(journal=None, dispatcher=dispatcher, pipelines=(), sources=())

    now, writer, journal = [0.0], Writer(), begun_with([Task("one")], state="accepted")
    run = make_run(writer, Refused(journal), clock=lambda: now[-1])
    async with asyncio.timeout(5):
        ended = await run.run([Task("one")], Progress(), StopRequest())
    assert now[-1] < 20.0
    assert (ended.summary.state, exit_code(ended.summary)) == ("failed", 1)
    assert summary_json(ended.summary)["stopped_by"] == "main refuses the key"
    assert (ended.summary.open_tasks, ended.summary.tasks.ended) == (1, 0)
    assert writer.did[-1] == "publish"  # what was done before
    (closed,) = [message for message in journal.told if isinstance(message, CloseRun)]
    assert (closed.state, closed.summary["stopped_by"]) == ("failed", "main refuses the key")


async def unusable(make_run, failed_before, succeeded_before=0):
    """Return the end of a run of 60 tasks whose answers do not fit."""
    said = []

    class Unusable(Answering):
        async def send(self, submit):
            key, error = submit.task.key, Failure(FailureKind.UNUSABLE, Blame.ENDPOINT, "score: 7 is above 1")
            item = ItemResult(key, "rows", ItemState.FAILED, {}, error, "rate")
            report = Report(
                key,
                TaskState.FAILED,
                None,
                (),
                {},
                CallCounts(planned=1),
                Usage(),
                0.1,
                (str(error),),
                (item,),
            )
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_result, report)
            return future

    class Before(Journal):
        async def call(self, message):
            answer = await super().call(message)
            if isinstance(message, OpenRun):
                before = failed_before + succeeded_before
                return replace(answer, tasks=TaskTally(before, succeeded_before, failed=failed_before))
            return answer

    run = make_run(topology=Unusable(Before()), total=60, say=said.append, is_map=True, active=50)
    async with asyncio.timeout(5):
        return said, await run.run([Task(str(number)) for number in range(60)], Progress(), StopRequest())


async def test_a_run_whose_question_no_answer_fits_stops_with_its_other_tasks_open(make_run):
    _, ended = await unusable(make_run, 0)
    assert ended.summary.stopped_by.startswith("none of the first 20 answers of step rate fits its form")
    assert ended.summary.tasks.failed == 20


async def test_a_run_that_is_continued_after_that_stop_asks_twenty_more(make_run):
    said, ended = await unusable(make_run, 20)
    assert ended.summary.stopped_by.startswith("none of the first 40 answers of step rate fits its form")
    assert ended.summary.tasks.failed == 40
    assert "no row has an answer so far: at most 20 more are asked until an answer fits" in said


async def test_a_run_with_answers_is_continued_in_spite_of_failures(make_run):
    _, ended = await unusable(make_run, 20, succeeded_before=1)
    assert (ended.summary.stopped_by, ended.summary.tasks.failed) == ("", 60)


@pytest.mark.parametrize("is_map", [True, False])
async def test_twenty_rows_are_asked_before_the_first_usable_answer(make_run, is_map):
    actors, stop = OneByOne(), StopRequest()
    run = make_run(topology=actors, alone_s=0.0, is_map=is_map, active=50)
    running = asyncio.create_task(run.run([Task(str(n)) for n in range(50)], Progress(), stop))
    async with asyncio.timeout(5):
        while actors.looks < 3:
            await asyncio.sleep(0)
        assert len(actors.futures) == (20 if is_map else 50)
        actors.completed = 1
        while len(actors.futures) < 50:
            await asyncio.sleep(0)
        stop.set()
        await running

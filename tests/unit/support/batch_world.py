"""The surroundings of a batch run: actors, a journal and result files that fail as a test wants."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from actors.core.messages.journal import (
    AwaitCancel,
    OpenRun,
    ReadRun,
    ReadSpent,
    ReadTasks,
    RunOpened,
    Spent,
    TaskTally,
    TaskView,
)
from actors.core.messages.tasks import Report, TaskState
from actors.core.messages.values import CallCounts, Done, Priority, Usage
from cluster.records.input_digest import RunInput
from cluster.report.tables.targets import ResultsError
from cluster.run.stopping import StopRequest


class Silent:
    """Actors that take everything in and answer nothing."""

    def __init__(self, journal=None):
        self.journal = journal or Journal()

    def couriers(self, *, window):
        return (self,)

    async def drain(self):
        self.drained = True

    async def save_history(self):
        pass

    async def stop_asking(self):
        pass

    def journal_courier(self):
        return self.journal

    async def send(self, submit):
        return asyncio.get_running_loop().create_future()

    async def close(self):
        pass

    async def statistics(self):
        return SimpleNamespace(journal=None, dispatcher=None, pipelines=(), sources=())


class CancelRequested(Silent):
    """Actors of a run whose cancellation is requested; each task ends when it is told to."""

    def __init__(self, journal=None):
        super().__init__(journal)
        self.futures: dict[str, asyncio.Future] = {}
        self.cancelled: list[str] = []

    async def send(self, submit):
        future = self.futures[submit.task.key] = asyncio.get_running_loop().create_future()
        self.journal.cancel_requested.set()
        return future

    def post(self, cancel, *, urgent):
        assert (cancel.run_id, urgent) == ("run", True)  # it must not wait for room that is taken by tasks
        self.cancelled.append(cancel.task)
        state = TaskState.CANCELLED
        report = Report(cancel.task, state, None, (), {}, CallCounts(planned=1), Usage(), 0.1)
        self.futures[cancel.task].set_result(report)
        return self.futures[cancel.task]


class Journal:
    """One that agrees to everything, but for messages of the types that `refuses` names an error for."""

    def __init__(self, refuses=None):
        self.refuses = refuses or {}
        self.told = []
        self.origin = {}
        self.tasks = ()
        self.cancel_requested = StopRequest()

    async def call(self, message):
        self.told.append(message)
        if type(message) in self.refuses:
            raise self.refuses[type(message)]
        if isinstance(message, AwaitCancel):
            assert message.run_id == "run"
            await self.cancel_requested.wait()
        if isinstance(message, OpenRun):
            return RunOpened(message.run_id, True, 0.0, TaskTally(), self.origin)
        if isinstance(message, ReadTasks):
            return tuple(view for view in self.tasks if view.ordinal > message.after)
        if isinstance(message, ReadRun):
            ended = sum(view.state != "accepted" for view in self.tasks)
            return SimpleNamespace(tasks=TaskTally(len(self.tasks), succeeded=ended))
        if isinstance(message, ReadSpent):
            return Spent(CallCounts(planned=7, in_doubt=2), Usage(3, 4))
        return Done()

    async def close(self):
        pass


class Writer:
    """Keeps what it is given; `fails` names a method that raises."""

    paths = ("runs/run/reports.jsonl",)

    def __init__(self, fails=""):
        self.fails = fails
        self.did: list[str] = []
        self.written: list[str] = []

    def _do(self, what):
        if what == self.fails:
            raise ResultsError("no space left")
        self.did.append(what)

    def open(self):
        self._do("open")

    def write(self, task, report, ordinal):
        self._do("write")
        assert task.key == report.key
        self.written.append((ordinal, report.key))

    def finish(self, *, is_whole):
        self._do("finish")
        self.was_whole = is_whole

    def publish(self):
        self._do("publish")


class Answering(Silent):
    """Actors that report on each task at once."""

    async def send(self, submit):
        future = asyncio.get_running_loop().create_future()
        report = Report(
            submit.task.key, TaskState.SUCCEEDED, 0.5, (), {}, CallCounts(planned=1), Usage(), 0.1
        )
        future.set_result(report)
        return future


class Progress:
    def show(self, view):
        pass


def begun_with(tasks, *, state):
    """Return a journal of a run that was begun with `tasks`, all of them accepted."""
    journal = Journal()
    journal.origin = {"input": RunInput(lambda: tasks).stored()}
    journal.tasks = tuple(
        TaskView(task.key, number, state, task.params, "", Priority.BATCH, 0.0, None, 60.0)
        for number, task in enumerate(tasks)
    )
    return journal

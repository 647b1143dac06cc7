"""What a pipeline stands on, without Ray: its sources, its dispatcher and a real journal, in one process."""

from __future__ import annotations

import asyncio

from actors.core.messages.calls import Completion
from actors.core.messages.journal import ReadTask
from actors.core.messages.tasks import Cancel, Fetched, Item, Submit, Task
from actors.core.messages.values import CallCounts, Done, Usage
from actors.core.task.dimensions import DimensionSettings
from actors.journal import actor as journal_actor
from actors.journal.actor import Journal, JournalSettings
from actors.journal.stores.opening import MemorySettings
from actors.pipeline import actor as pipeline_actor
from actors.pipeline import task_recorder
from actors.pipeline.actor import Pipeline, PipelineSettings
from actors.pipeline.steps import do_step
from actors.pipeline.task_rules import EVALUATE, StepRules, TaskRules
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.inbox import Inbox
from tests.unit.support.courier_target import At, DirectLink
from tests.unit.support.loop_heart import LoopHeart

RULES = TaskRules(
    dimensions=(DimensionSettings("quality", "quality", 1.0, None, 0.0, 1.0),),
    steps=(StepRules(EVALUATE, EVALUATE, "rate {text}", 10, model="m", fields=("quality",)),),
    synthesize_tokens=10,
    model="m",
    call_parameters={},
    required_sources=frozenset(),
    task_deadline_s=60.0,
)


class Peer:
    """An actor that notes what it is asked, and answers at once unless it is held."""

    def __init__(self, answer):
        self.inbox = Inbox(self.on_item, interval_s=0.0)
        self.answer = answer
        self.asked = []
        self.held = None

    def on_item(self, item, reply):
        self.asked.append(item)
        if self.held is None or isinstance(item, Cancel):
            reply(self.answer(item))
        else:
            self.held.append((item, reply))

    def release(self):
        held, self.held = self.held, None
        for item, reply in held:
            reply(self.answer(item))


def complete(item):
    if isinstance(item, Cancel):
        return Done()
    counts = CallCounts(planned=1, billed=1)
    return Completion(item.key, {"quality": 0.5}, None, Usage(10, 5), counts)


class World:
    """A pipeline that can be started anew beside the same journal, dispatcher and source."""

    def __init__(self, answers_within_s=None):
        self.answers_within_s = answers_within_s
        self.dispatcher = Peer(complete)
        self.source = Peer(
            lambda fetch: Fetched("wire", (Item(f"wire:{fetch.task.key}", "wire", "text of it"),))
        )
        self.journal = Journal(JournalSettings(MemorySettings(), owner="test"), heart=LoopHeart)
        self.number = 0
        self.answers = {}
        self.pipeline = None
        self.links = {}
        self.recorder = self.courier("journal")

    def at(self, name):
        return At(name, lambda: self.link(name))

    def link(self, name):
        actors = {
            "dispatcher": self.dispatcher.inbox,
            "wire": self.source.inbox,
            "journal": self.journal.inbox,
        }
        made = self.links[name] = DirectLink(actors[name])
        return made

    def courier(self, name):
        settings = CourierSettings(100, 1 << 20, OnRestart.RESEND, interval_s=0.0, retry_s=0.0)
        return Courier(self.at(name), settings=settings)

    def begin(self, **settings):
        given = {"rules": RULES, "active_tasks": 10, "accepted_tasks": 10, **settings}
        self.pipeline = Pipeline(
            "pipeline:0",
            PipelineSettings(**given),
            self.at("dispatcher"),
            {"wire": self.at("wire")},
            StepsHere(RULES.dimensions),
            journal=self.at("journal"),
            clock=asyncio.get_running_loop().time,
        )

    def ask(self, message):
        """Hand a message to the pipeline; return the future of its answer, which fails if late."""
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        if self.answers_within_s is not None:
            late = TimeoutError(f"no answer to {message} within {self.answers_within_s:.0f} s")
            loop.call_later(self.answers_within_s, lambda: answer.done() or answer.set_exception(late))

        def reply(value, *, urgent=False):
            if not answer.done():
                answer.set_result(value)

        self.pipeline._on_item(message, reply)
        return answer

    async def known(self, key="t1"):
        return await self.recorder.call(ReadTask("run", key))

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)


class StepsHere:
    """The steps of dimensions, done at once."""

    parallel = 1
    interval_s = 0.0

    def __init__(self, dimensions):
        self.dimensions = dimensions

    async def run(self, jobs):
        return [do_step(self.dimensions, job) for job in jobs]


def submit(key="t1", **more):
    return Submit("run", Task(key), **more)


def hurry(monkeypatch, **more):
    """Have couriers and the journal not linger; `more` are settings of all couriers of the pipeline."""

    def settings(*args, **given):
        return CourierSettings(*args, **{**given, "interval_s": 0.0, **more})

    for module in (pipeline_actor, task_recorder):
        monkeypatch.setattr(module, "CourierSettings", settings)
    monkeypatch.setattr(journal_actor, "_PACE_S", 0.0)  # else it sleeps between commits

"""All actors of a run on one event loop with virtual time, and an endpoint whose ledger is its own.

The actors are the real ones: dispatcher, clients, pipeline, source and journal, with their couriers and
inboxes. What is replaced is what they stand on: the link between them, the connection to the endpoint, the
table beneath the store, and the clock. Each actor has a `Life`, so that it can be killed or cut off.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import time
from types import SimpleNamespace
from typing import Any

from actors.core.errors import StoreUnavailableError
from actors.core.messages.journal import OpenRun
from actors.core.messages.tasks import Submit, Task
from actors.dispatcher import actor as dispatcher_actor
from actors.journal import actor as journal_actor
from actors.journal.stores.memory import MemoryStore
from actors.llm import client as llm_client_actor
from actors.llm import http_endpoint
from actors.pipeline import actor as pipeline_actor
from actors.pipeline.steps import do_step
from actors.sources import actor as source_actor
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.link import LinkError
from cluster.assembly import actor_settings
from cluster.config.model import HeadraceConfig
from tests.property.worlds.outage_endpoint import Server
from tests.property.worlds.virtual_time import Life
from tests.unit.support.loop_heart import LoopHeart

RUN = "long"
MINUTE, HOUR = 60.0, 3600.0
SILENCE_S = 15.0  # after which a connection that was cut is noticed at both ends
ITEMS = 3


def configuration(**llm):
    """Return the configuration of a small job whose tasks have thirty hours."""
    return HeadraceConfig.model_validate(
        {
            "sources": [{"name": "notes", "kind": "simulated", "items": ITEMS, "latency_s": 0.05}],
            "llm": {
                "endpoints": [
                    {
                        "name": "main",
                        "base_url": "http://model.test/v1",
                        "model": "m",
                        "api_key": "a-long-secret-key",
                        "price": {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0},
                    }
                ],
                "clients": 2,
                "timeout_s": 15,  # what hangs when an outage ends is asked again after that
                **llm,
            },
            "evaluate": {
                "prompt": "Rate {text}",
                "output": {"quality": {"type": "number", "min": 0, "max": 1}},
                "max_tokens": 50,
            },
            "dimensions": [
                {"name": "quality", "field": "quality", "synthesize": "Say one thing about {key}: {evidence}"}
            ],
            "limits": {"active_tasks": 500, "accepted_tasks": 2000, "task_deadline_s": 30 * HOUR},
            "store": {"kind": "memory", "lease_s": 60},
        }
    )


# ---- what the actors stand on ----------------------------------------------------------------------------


class FaultyStore:
    """A table in memory that outlives the journals that open it, and can be away."""

    def __init__(self):
        self.table = MemoryStore()
        self.is_away = False

    def _check_silence(self):
        if self.is_away:
            raise StoreUnavailableError("the store is away")

    def get(self, key):
        self._check_silence()
        return self.table.get(key)

    def scan(self, low, high, limit):
        self._check_silence()
        return self.table.scan(low, high, limit)

    def scan_keys(self, low, high, limit):
        self._check_silence()
        return self.table.scan_keys(low, high, limit)

    def commit(self, batch):
        self._check_silence()
        self.table.commit(batch)

    def notes(self):
        return ()

    def close(self):
        pass


class WorldAddress(Address, frozen=True):
    """The address of an actor of the world."""

    world: Any

    def link(self):
        return WorldLink(self.world, self.name)


class WorldLink:
    """The way to an actor of the world, by its name."""

    lingers = True

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.stream = None

    async def open(self, hello, caller):
        await asyncio.sleep(0.001)
        actor = self.world.actors.get(self.name)
        if self.name in self.world.cut:
            await asyncio.sleep(5.0)
            raise LinkError("no connection within 5 s", False)
        if actor is None:
            raise LinkError(f"no actor is named {self.name}", False)
        self.stream = WorldStream(self.world, self.name, hello, caller)
        return self.stream

    async def close(self):
        if self.stream is not None:
            self.stream.break_off("the link was closed")


class WorldStream:
    """A connection. A message arrives one turn later, in the life of the one it goes to."""

    def __init__(self, world, name, hello, caller):
        self.world, self.name = world, name
        self.loop = asyncio.get_running_loop()
        self.theirs = world.lives[name]
        self.caller = caller
        inbox = world.actors[name].inbox
        self.epoch = inbox.epoch
        self.broken = self.loop.create_future()
        self.is_cut = False
        self.visit = self.theirs.run(inbox.greet, hello, self.push)
        world.streams.append(self)

    def deliver(self, delivery):
        if not self.is_cut:
            self.loop.call_soon(self._arrive, delivery, context=self.theirs.context.copy())

    def _arrive(self, delivery):
        if not self.broken.done():
            self.visit.deliver(delivery)

    def push(self, replies):
        # Without a context of its own it would be heard in the life of the one who speaks.
        if not self.is_cut:
            self.loop.call_soon(self._hear, replies, context=self.world.context_of(self.caller))

    def _hear(self, replies):
        if not self.broken.done():
            self.caller.on_replies(replies)

    def break_off(self, why):
        if not self.broken.done():
            self.broken.set_result(LinkError(why, False))
            self.loop.call_soon(self.visit.end, context=self.theirs.context.copy())
        if self in self.world.streams:
            self.world.streams.remove(self)


class Steps:
    """The steps of dimensions, done at once."""

    parallel = 1
    interval_s = 0.1

    def __init__(self, dimensions):
        self.dimensions = tuple(dimensions)

    async def run(self, jobs):
        return [do_step(self.dimensions, job) for job in jobs]


class World:
    """The actors of one run, and the hand that strikes them."""

    def __init__(self, loop, monkeypatch, config):
        self.loop, self.config = loop, config
        self.server = Server(loop)
        self.store = FaultyStore()
        self.lives, self.actors, self.streams = {}, {}, []
        self.cut = set()
        self.defects = []
        self.reports = {}
        self.submitted_at = {}
        self.failures = {}
        self._owners = {}
        self._asking = set()
        # Made once: an actor that begins anew is given the same again, its name as an owner included.
        self.began_at = time.time()
        self._journal_settings = actor_settings.journal_settings(config)
        self._patch(monkeypatch)

    def _patch(self, monkeypatch):
        world = self

        class Origin:
            def __init__(self, *_, **__):
                pass

            async def send(self, exchange, within_s):
                timer = world.loop.call_later(within_s, exchange.fail, TimeoutError(f"{within_s:g} s"))
                exchange.sent = True
                world.outside(world.server.receive, exchange)
                try:
                    await exchange.ended
                finally:
                    timer.cancel()

            async def close(self):
                pass

        for module in (dispatcher_actor, journal_actor):
            monkeypatch.setattr(module, "end_loudly", self._on_defect)
        # The same twice: a day's worth of luck is not repeated by a second look at a failure.
        seeds = itertools.count()
        lucky = SimpleNamespace(Random=lambda: random.Random(next(seeds)), uniform=random.Random(1).uniform)
        for module in (dispatcher_actor, source_actor):
            monkeypatch.setattr(module, "random", lucky)
        monkeypatch.setattr(http_endpoint, "Origin", Origin)
        monkeypatch.setattr(journal_actor, "open_store", lambda _: self.store)
        real = Courier.__init__

        def known(courier, *arguments, **named):
            real(courier, *arguments, **named)
            world._owners[id(courier)] = world.current_life()

        monkeypatch.setattr(Courier, "__init__", known)

    def _on_defect(self, what):
        import traceback  # noqa: PLC0415 - only where a test is about to fail

        self.defects.append(f"{what}: {traceback.format_exc()}")
        life = self.current_life()
        for name, known in list(self.lives.items()):
            if known is life:
                self.kill(name)
        raise SystemError(what)

    @staticmethod
    def current_life():
        from tests.property.worlds import virtual_time  # noqa: PLC0415 - its variable, not a copy

        return virtual_time._life.get()

    def context_of(self, courier):
        life = self._owners.get(id(courier))
        return None if life is None else life.context.copy()

    def outside(self, what, *arguments):
        """Have something happen that belongs to no actor's life."""
        self.loop.call_soon(what, *arguments, context=self._outside.copy())

    # ---- actors

    async def begin(self):
        """Make all actors, and open the run."""
        import contextvars  # noqa: PLC0415

        self._outside = contextvars.copy_context()
        for name in ("journal", "source:notes", *self.clients, "dispatcher", "pipeline:0"):
            self.start(name)
        self.to_journal = self._courier("journal")
        self.to_pipeline = self._courier("pipeline:0")
        await self.to_journal.call(OpenRun(RUN, "long", {}))

    @property
    def clients(self):
        return tuple(f"llm-client:{index}" for index in range(self.config.llm.clients))

    def at(self, name):
        """Return the address of the actor `name`."""
        return WorldAddress(name, self)

    def start(self, name):
        """Begin a life of the actor `name`."""
        life = self.lives[name] = Life()
        self.actors[name] = life.run(self._make, name)

    def _make(self, name):
        config, at = self.config, self.at
        match name.partition(":")[0]:
            case "journal":
                return journal_actor.Journal(self._journal_settings, heart=LoopHeart)
            case "source":
                return source_actor.GuardedSource(config.sources[0])
            case "llm-client":
                forms = actor_settings.answer_forms(config)
                llm = config.llm
                return llm_client_actor.LLMClient(name, llm.endpoints, forms, llm.timeout_s, at("journal"))
            case "dispatcher":
                settings = actor_settings.dispatch_settings(config)
                clients = tuple(at(client) for client in self.clients)
                return dispatcher_actor.Dispatcher(settings, clients, at("journal"), RUN)
            case _:
                return pipeline_actor.Pipeline(
                    name,
                    actor_settings.pipeline_settings(config, began_at=self.began_at),
                    at("dispatcher"),
                    {"notes": at("source:notes")},
                    Steps(config.dimension_settings()),
                    journal=at("journal"),
                )

    def kill(self, name):
        """End a life as kill -9 does: its connections break at once."""
        life = self.lives.pop(name)
        del self.actors[name]
        life.end()
        for stream in list(self.streams):
            if stream.theirs is life or self._owners.get(id(stream.caller)) is life:
                stream.break_off("the process ended")

    def cut_off_host(self, name):
        """Have nothing come to `name` or from it; both ends notice after a while."""
        self.cut.add(name)
        for stream in list(self.streams):
            if name in (stream.name, self._name_of(stream.caller)):
                stream.is_cut = True
                self.loop.call_later(SILENCE_S, stream.break_off, "no sign of life")

    def join_again(self, name):
        """Mend what `cut_off_host` did."""
        self.cut.discard(name)

    def _name_of(self, courier):
        life = self._owners.get(id(courier))
        return next((name for name, known in self.lives.items() if known is life), None)

    def _courier(self, name):
        settings = CourierSettings(
            max_outstanding=10_000, max_outstanding_bytes=64 << 20, on_restart=OnRestart.RESEND
        )
        return Courier(self.at(name), settings=settings)

    # ---- tasks

    def submit(self, *keys):
        """Hand tasks in; what comes back is in `reports`, or in `failures`."""
        for key in keys:
            self.submitted_at[key] = self.loop.now
            asking = asyncio.ensure_future(self._ask(key))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)

    async def _ask(self, key):
        while key not in self.reports:
            try:
                self.reports[key] = await self.to_pipeline.call(Submit(RUN, Task(key)))
            except Exception as error:  # noqa: BLE001 - a driver asks again, as `resume` does
                self.failures[key] = error
                await asyncio.sleep(5.0)

    async def pass_time(self, seconds):
        """Let time pass."""
        await asyncio.sleep(seconds)

    # ---- what a test looks at

    @property
    def open_tasks(self):
        return sorted(set(self.submitted_at) - set(self.reports))

    def objects(self):
        """Return how many objects there are that the garbage collector knows."""
        gc.collect()
        return len(gc.get_objects())

    def check_books(self):
        """Raise where the receipts and the endpoint's ledger disagree by more than what is in doubt."""
        calls = [report.calls for report in self.reports.values()]
        billed, in_doubt = sum(it.billed for it in calls), sum(it.in_doubt for it in calls)
        ledger = sum(self.server.billed.values())
        assert billed <= ledger <= billed + in_doubt, f"{billed=} {ledger=} {in_doubt=}"
        unusable = sum(it.unusable for it in calls)
        planned = sum(it.planned for it in calls)
        assert ledger <= planned + in_doubt + unusable

"""The dispatcher's shell without Ray: who asked is answered once, and clients hear things in order."""

from __future__ import annotations

import asyncio

import pytest

from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.errors import OverloadedError
from actors.core.limiter.limiter import LimiterSettings
from actors.core.messages.attempts import (
    Abort,
    Adopt,
    Attempt,
    AttemptEnded,
    Held,
    SetShare,
    StreamMark,
    StreamProgress,
    TakeOver,
    WatchStreams,
)
from actors.core.messages.calls import Call, Drain
from actors.core.messages.journal import ReadHistory, ReadSpent, Spent
from actors.core.messages.tasks import Cancel
from actors.core.messages.values import CallCounts, Done, Usage
from actors.dispatcher import actor as dispatcher_actor
from actors.transport.inbox import Inbox
from actors.transport.link import LinkError
from tests.unit.support.courier_target import At, DirectLink, DirectStream, Visitor


class Client(DirectLink):
    """A client that notes what it is told; an attempt is answered by `answer`. Its link can be held up."""

    held = ()  # in flight for an earlier dispatcher

    def __init__(self):
        super().__init__(Inbox(self.on_item, interval_s=0))
        self.told = []
        self.replies = {}
        self.is_open = asyncio.Event()
        self.is_open.set()

    def on_item(self, item, reply):
        self.told.append(item)
        if isinstance(item, Attempt):
            self.replies[item.call_key] = (item.id, reply)
        elif isinstance(item, Adopt):
            self.replies[next(one.call_key for one in self.held if one.id == item.id)] = (item.id, reply)
        elif isinstance(item, TakeOver):
            reply(self.held)
        elif isinstance(item, WatchStreams):
            self.watch = reply
        else:
            reply(Done())

    def answer(self, key):
        attempt_id, reply = self.replies.pop(key)
        reply(AttemptEnded(attempt_id, {"quality": 1.0}, took_s=0.3))

    async def open(self, hello, caller):
        await self.is_open.wait()
        return await super().open(hello, caller)

    def stream_to(self, inbox, hello, caller):
        return HeldUp(self, hello, caller)


class HeldUp(DirectStream):
    def __init__(self, client, hello, caller):
        super().__init__(client.inbox, hello, caller)
        self.is_open = client.is_open
        self.on_their_way = asyncio.Queue()
        self.carrying = asyncio.create_task(self.carry())
        self.broken.add_done_callback(lambda _: self.carrying.cancel())

    def deliver(self, delivery):
        self.on_their_way.put_nowait(delivery)

    async def carry(self):
        while True:
            delivery = await self.on_their_way.get()
            await self.is_open.wait()
            self.arrive(delivery)


class Desk:
    """A dispatcher with one client, asked by a pipeline that sends one message at a time."""

    def __init__(self, max_queued=100, journal=None, **more):
        rules = EndpointRules("main", LimiterSettings(4, start=4))
        settings = DispatchSettings((rules,), max_queued=max_queued, **more)
        self.client = Client()
        clients = [At("c1", lambda: self.client)]
        self.dispatcher = dispatcher_actor.Dispatcher(settings, clients, journal, "r1")
        self.courier = self.dispatcher._clients["c1"]
        self.visitor = Visitor(self.dispatcher.inbox)
        self.answers = self.visitor.answers
        self.ask = self.visitor.deliver

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)

    @property
    def known(self):
        return self.dispatcher._state.statistics()

    def told(self, kind):
        return [message for message in self.client.told if isinstance(message, kind)]


@pytest.fixture
async def make_desk(monkeypatch):
    # Real sleep is forbidden here, and a courier need not linger for company that a test does not send.
    settings = dispatcher_actor.CourierSettings
    desks = []

    def make(fail_after_s=0.0, most_bytes=1 << 20, **given):
        quick = {"interval_s": 0.0, "retry_s": 0.0, "fail_after_s": fail_after_s}
        quick["max_outstanding_bytes"] = most_bytes
        monkeypatch.setattr(
            dispatcher_actor, "CourierSettings", lambda **given: settings(**{**given, **quick})
        )
        desks.append(Desk(**given))
        return desks[-1]

    yield make
    for desk in desks:
        await desk.dispatcher.close()


def call(key, task="t1"):
    return Call(key, "evaluate", "prompt", 100, task)


async def test_a_call_is_answered_with_what_the_client_found(make_desk):
    desk = make_desk()
    desk.ask(call("k1"))
    await desk.until(lambda: "k1" in desk.client.replies)
    desk.client.answer("k1")
    await desk.until(lambda: desk.answers)
    assert desk.answers[1].values == {"quality": 1.0}
    assert desk.dispatcher._linger.interval_s == pytest.approx(0.003 / 16)  # by what the answer took


async def test_a_drain_is_answered_once_the_attempts_in_flight_have_ended(make_desk):
    desk = make_desk()
    desk.ask(call("k1"))
    await desk.until(lambda: "k1" in desk.client.replies)
    desk.ask(Drain())
    desk.ask(call("k2"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert desk.answers == {}
    desk.client.answer("k1")
    await desk.until(lambda: len(desk.answers) == 2)
    assert desk.answers[2] == Done()
    assert "k2" not in desk.client.replies


async def test_a_client_that_leaves_gets_no_more_attempts_until_it_has_begun_again(make_desk):
    desk = make_desk()
    desk.ask(call("k1"))
    await desk.until(lambda: "k1" in desk.client.replies)
    desk.client.watch(StreamProgress((), is_leaving=True))
    await desk.until(lambda: len(desk.told(WatchStreams)) == 2)
    desk.client.answer("k1")
    desk.ask(call("k2"))
    await desk.until(lambda: 1 in desk.answers)
    assert desk.answers[1].values == {"quality": 1.0}
    assert "k2" not in desk.client.replies
    desk.client.inbox = Inbox(desk.client.on_item, interval_s=0)  # Ray has restarted it on another host
    desk.client.stream.break_off(LinkError("restarted"))
    await desk.until(lambda: "k2" in desk.client.replies)


async def test_all_who_ask_the_same_are_answered_and_it_is_asked_once(make_desk):
    desk = make_desk()
    desk.ask(call("k1"), call("k1"))
    await desk.until(lambda: "k1" in desk.client.replies)
    desk.ask(call("k1"))
    desk.client.answer("k1")
    await desk.until(lambda: len(desk.answers) == 3)
    assert len(desk.told(Attempt)) == 1


async def test_a_call_asked_again_in_the_turn_in_which_it_ends_is_answered_and_not_made_again(make_desk):
    desk = make_desk()
    desk.ask(call("k1"))
    await desk.until(lambda: "k1" in desk.client.replies)
    take_turn = desk.dispatcher._take_turn
    desk.dispatcher._turn = object()  # what happens from here on is handled in one turn
    desk.client.answer("k1")
    await desk.until(lambda: desk.dispatcher._events)
    desk.ask(call("k1"))
    take_turn()
    await desk.until(lambda: len(desk.answers) == 2)
    desk.ask(call("k2"))
    await desk.until(lambda: "k2" in desk.client.replies)
    assert [attempt.call_key for attempt in desk.told(Attempt)] == ["k1", "k2"]


async def test_where_the_queue_is_full_all_who_ask_the_same_are_turned_away(make_desk):
    desk = make_desk(max_queued=1)
    desk.ask(call("k1"), call("k2"), call("k2"))
    await desk.until(lambda: len(desk.answers) == 2)
    assert all(isinstance(desk.answers[n], OverloadedError) for n in (2, 3))
    await desk.until(lambda: "k1" in desk.client.replies)


async def test_an_abort_arrives_after_the_attempt_that_it_is_about(make_desk):
    desk = make_desk()
    await desk.until(lambda: desk.told(SetShare))
    desk.client.is_open.clear()
    for number in range(2):
        desk.ask(call(f"k{number}"))
        await desk.until(lambda sent=number + 1: desk.known.sent == sent)
    messages = desk.courier.statistics().messages
    desk.ask(Cancel("t1"))
    await desk.until(lambda: desk.courier.statistics().messages > messages)
    desk.client.is_open.set()
    await desk.until(lambda: len(desk.told(Abort)) == 2)
    aborted = {attempt for abort in desk.told(Abort) for attempt in abort.ids}
    before = desk.client.told[: desk.client.told.index(desk.told(Abort)[0])]
    assert {each.id for each in before if isinstance(each, Attempt)} == aborted
    assert len(aborted) == 2


async def test_attempts_of_a_client_that_is_lost_wait_for_another_and_the_dispatcher_goes_on(make_desk):
    desk = make_desk()
    desk.ask(call("k1"))
    await desk.until(lambda: "k1" in desk.client.replies)
    desk.client.be_away()
    desk.ask(*(call(f"more{n}", "t2") for n in range(3)))
    await desk.until(lambda: not desk.known.sent and desk.known.binding == "no client actor is running")
    desk.ask(Cancel("t1"), Cancel("t2"))
    await desk.until(lambda: len(desk.answers) == 6)
    desk.dispatcher._state.check_invariants()


async def test_prompts_that_fill_the_way_to_a_client_wait_and_do_not_end_the_dispatcher(
    make_desk, monkeypatch
):
    monkeypatch.setattr(dispatcher_actor, "end_loudly", pytest.fail)
    desk = make_desk(most_bytes=300)
    desk.ask(call("k1"), call("k2"))
    await desk.until(lambda: "k1" in desk.client.replies and desk.known.waiting == 1)
    desk.client.answer("k1")
    await desk.until(lambda: "k2" in desk.client.replies)
    assert len(desk.told(Attempt)) == 2


async def test_a_client_that_was_lost_and_is_back_says_what_it_holds_and_is_used_again(
    make_desk, monkeypatch
):
    desk = make_desk()
    desk.ask(call("k1"))
    await desk.until(lambda: "k1" in desk.client.replies)
    desk.client.be_away()
    await desk.until(lambda: desk.known.binding == "no client actor is running")
    desk.ask(call("k2", "t2"), call("k3", "t3"))
    desk.client.told.clear()
    monkeypatch.setattr(Client, "held", (Held(7, "k9", "main", 1, Usage(100)),))
    desk.client.error = None
    await desk.until(lambda: {"k2", "k3"} <= desk.client.replies.keys())
    assert isinstance(desk.client.told[0], TakeOver)
    assert desk.told(Adopt) == [Adopt(7)]
    assert desk.told(SetShare)
    for key in ("k2", "k3", "k9"):
        desk.client.answer(key)
    await desk.until(lambda: {2, 3} <= desk.answers.keys())
    desk.dispatcher._state.check_invariants()


async def test_each_client_is_watched_and_watched_again_once_it_has_told_something(make_desk):
    desk = make_desk()
    desk.ask(call("k1"))
    await desk.until(lambda: "k1" in desk.client.replies and desk.told(WatchStreams))
    attempt_id, _ = desk.client.replies["k1"]
    meter = desk.dispatcher._state._endpoints[0]._limiter._pace.meter
    desk.client.watch(StreamProgress((StreamMark(attempt_id, 1, 0.0),)))
    await desk.until(lambda: len(desk.told(WatchStreams)) == 2)
    assert meter._known == 1


async def test_what_a_client_has_in_flight_for_an_earlier_dispatcher_is_waited_for_and_not_asked_again(
    make_desk, monkeypatch
):
    monkeypatch.setattr(Client, "held", (Held(7, "k1", "main", 1, Usage(100)),))
    desk = make_desk()
    desk.ask(call("k1"), call("k2"))
    await desk.until(lambda: {"k1", "k2"} <= desk.client.replies.keys())
    assert [attempt.call_key for attempt in desk.told(Attempt)] == ["k2"]
    desk.client.answer("k1")
    await desk.until(lambda: desk.answers)
    assert desk.answers[1].values == {"quality": 1.0}


async def test_nothing_is_sent_before_every_client_has_told_what_it_holds(make_desk):
    desk = make_desk()
    desk.client.is_open.clear()
    desk.ask(call("k1"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert desk.client.told == []
    desk.client.is_open.set()
    await desk.until(lambda: "k1" in desk.client.replies)
    assert isinstance(desk.client.told[0], TakeOver)


async def test_a_client_that_does_not_answer_holds_up_nothing_for_long(make_desk, monkeypatch):
    monkeypatch.setattr(dispatcher_actor, "_ROLL_CALL_S", 0.0)
    desk = make_desk()
    desk.client.is_open.clear()
    desk.ask(call("k1"))
    await desk.until(lambda: desk.known.binding == "no client actor is running")
    desk.client.is_open.set()
    await desk.until(lambda: "k1" in desk.client.replies)


def journal_with(spent):
    """Return what a journal is asked, and its address; it has no history."""
    asked = []

    class Journal(Client):
        def on_item(self, item, reply):
            if isinstance(item, ReadHistory):
                reply(None)
                return
            asked.append(item)
            reply(spent)

    return asked, At("journal", Journal)


@pytest.mark.parametrize(
    "case",
    [(1, 3600.0, True), (0, 3600.0, False), (1, 0.0, False)],
    ids=["others are open", "nothing is open", "for too long"],
)
async def test_a_client_that_stands_still_is_waited_for_where_it_may_have_calls_in_flight(
    make_desk, monkeypatch, case
):
    """Asked again by another client, what it has in flight would be paid for twice."""
    in_doubt, stands_still_s, waits = case
    monkeypatch.setattr(dispatcher_actor, "_ROLL_CALL_S", 0.0)
    monkeypatch.setattr(dispatcher_actor, "_STALLED_CLIENT_S", stands_still_s)
    monkeypatch.setattr(Client, "held", (Held(7, "k1", "main", 1, Usage(100), "t1", "r1"),))
    asked, journal = journal_with(Spent(CallCounts(in_doubt=in_doubt), Usage()))
    desk = make_desk(3600.0, journal=journal)
    desk.client.is_open.clear()
    desk.ask(call("k1"))
    await desk.until(lambda: asked)
    for _ in range(50):
        await asyncio.sleep(0)
    assert desk.dispatcher._begun == (not waits)
    assert asked == [ReadSpent("r1")]
    desk.client.is_open.set()
    await desk.until(lambda: desk.told(Adopt))
    assert not (waits and desk.told(Attempt))


async def test_what_was_spent_is_asked_for_after_the_clients_have_told_what_they_hold(make_desk, monkeypatch):
    """What ended before would be with the clients no more, and what ended between the two in neither sum."""
    held = Held(7, "k1", "main", 1, Usage(100), "t1", "r1")
    monkeypatch.setattr(Client, "held", (held,))
    asked, journal = journal_with(Spent(CallCounts(billed=1), Usage(600), Usage(300), (7,)))
    desk = make_desk(30.0, journal=journal, budget_tokens=1000)
    desk.client.is_open.clear()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not asked
    desk.client.is_open.set()
    desk.ask(call("k2"), call("k3"))
    await desk.until(lambda: "k2" in desk.client.replies)
    assert asked == [ReadSpent("r1", (held,))]
    assert [attempt.call_key for attempt in desk.told(Attempt)] == ["k2"]  # 900 of 1,000 are spent

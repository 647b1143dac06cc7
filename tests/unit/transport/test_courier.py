"""The courier and the inbox together, over a link that breaks and to an actor that begins anew."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from actors.core.errors import OverloadedError, PeerLostError, SourceError
from actors.core.messages.delivery import Replies
from actors.transport.courier_settings import OnRestart
from tests.unit.support.courier_target import FlakyLink, Target, make, turns, until
from tests.unit.support.leaping_loop import run_leaping


async def test_answers_arrive_in_any_order():
    target = Target(hold=True)
    courier = make(FlakyLink(target))
    futures = [courier.post(n) for n in range(5)]
    await until(lambda: len(target.held) == 5)
    for item, reply in reversed(target.held):
        reply(item * 2)
        await turns()
    assert await asyncio.gather(*futures) == [0, 2, 4, 6, 8]
    await courier.close()


@pytest.mark.parametrize("lost", [{"lose_before": {0}}, {"lose_after": {0}}, {"lose_after": {0, 1, 2}}])
async def test_a_lost_message_is_sent_again_and_runs_once(lost):
    target = Target()
    courier = make(FlakyLink(target, **lost))
    assert await asyncio.gather(*[courier.call(n) for n in range(10)]) == [n * 2 for n in range(10)]
    assert set(target.ran.values()) == {1}
    await courier.close()


async def test_after_a_restart_the_unanswered_is_sent_again_where_that_does_no_harm():
    target = Target(hold=True)
    courier = make(FlakyLink(target))
    futures = [courier.post(n) for n in range(4)]
    await until(lambda: len(target.held) == 4)
    target.restart()
    futures.append(courier.post(4))
    await until(lambda: len(target.held) == 5)
    target.release()
    assert await asyncio.gather(*futures) == [0, 2, 4, 6, 8]
    assert target.ran == Counter({0: 2, 1: 2, 2: 2, 3: 2, 4: 1})
    await courier.close()


async def test_after_a_restart_what_may_have_run_fails_and_the_new_item_goes_on():
    target = Target(hold=True)
    restarts = []
    courier = make(FlakyLink(target), rule=OnRestart.FAIL, on_restart=lambda: restarts.append(1))
    old = courier.post(1)
    await until(lambda: target.held)
    target.restart()
    new = courier.post(2)
    with pytest.raises(PeerLostError) as lost:
        await old
    assert lost.value.may_have_run
    await until(lambda: target.held)
    target.release()
    assert await new == 4
    assert target.ran == Counter({1: 1, 2: 1})
    assert restarts == [1]
    await courier.close()


async def test_a_delivery_in_doubt_is_not_repeated_to_a_new_life_where_that_could_pay_twice():
    target = Target(hold=True)
    link = FlakyLink(target, lose_after={1})
    courier = make(link, rule=OnRestart.FAIL)
    first = courier.post(0)
    await until(lambda: target.held)
    target.release()
    await first
    doubtful = courier.post(1)
    await until(lambda: target.held)
    target.restart()
    with pytest.raises(PeerLostError) as lost:
        await doubtful
    assert lost.value.may_have_run
    assert target.ran[1] == 1
    await courier.close()


async def test_an_error_replied_is_raised_at_the_caller():
    class Failing(Target):
        def on_item(self, item, reply):
            reply(SourceError("no such thing"))

    courier = make(FlakyLink(Failing()))
    with pytest.raises(SourceError, match="no such thing"):
        await courier.call(1)
    await courier.close()


async def test_what_is_outstanding_is_bounded_and_waits_its_turn():
    target = Target(hold=True)
    courier = make(FlakyLink(target), outstanding=3)
    callers = [asyncio.create_task(courier.call(n)) for n in range(10)]
    await until(lambda: len(target.held) == 3)
    await turns()
    assert courier.statistics().outstanding == 3
    assert courier.statistics().waiting_for_room == 7
    with pytest.raises(OverloadedError):
        courier.post(99)
    while not all(caller.done() for caller in callers):
        assert courier.statistics().outstanding <= 3
        target.release()
        await asyncio.sleep(0)
    assert [caller.result() for caller in callers] == [n * 2 for n in range(10)]
    await courier.close()


async def test_outstanding_bytes_are_bounded_and_one_large_item_goes_alone():
    target = Target(hold=True)
    courier = make(FlakyLink(target), size=100, size_of=lambda item: item)
    big = asyncio.create_task(courier.call(500))
    await until(lambda: target.held)
    small = asyncio.create_task(courier.call(10))
    await turns()
    assert courier.statistics().outstanding == 1
    target.release()
    assert await big == 1000
    await until(lambda: target.held)
    target.release()
    assert await small == 20
    await courier.close()


async def test_bytes_stay_within_bounds_when_many_wait():
    target = Target(hold=True)
    courier = make(FlakyLink(target), size=100, size_of=lambda item: item)
    callers = [asyncio.create_task(courier.call(n)) for n in [50, 50, *range(1, 40), 90, 80, 99]]
    while not all(caller.done() for caller in callers):
        await turns(3)
        assert courier.statistics().outstanding_bytes <= 100
        if target.held:
            item, reply = target.held.pop(0)
            reply(item)
    await courier.close()


async def test_a_cancelled_caller_leaves_no_room_taken():
    target = Target(hold=True)
    courier = make(FlakyLink(target), outstanding=1)
    first = asyncio.create_task(courier.call(1))
    await until(lambda: target.held)
    waiting = asyncio.create_task(courier.call(2))
    third = asyncio.create_task(courier.call(3))
    await turns()
    waiting.cancel()
    target.release()
    assert await first == 2
    await until(lambda: target.held)
    target.release()
    assert await third == 6
    assert courier.statistics().outstanding == 0
    await courier.close()


def test_replies_are_acknowledged_within_half_a_second_though_nothing_more_is_sent():
    async def main():
        target = Target()
        courier = make(FlakyLink(target))
        for n in range(3):
            await courier.call(n)
            await asyncio.sleep(0.4)
            assert target.inbox.statistics().unacknowledged == 1
            await asyncio.sleep(0.2)
            assert target.inbox.statistics().unacknowledged == 0
        assert target.inbox.statistics().working == 0
        assert courier.statistics().outstanding_bytes == 0
        await courier.close()

    run_leaping(main())


@pytest.mark.parametrize(("count", "left"), [(1023, 1023), (1024, 0), (3000, 952)])
async def test_a_thousand_replies_are_acknowledged_at_once_though_nothing_more_is_sent(count, left):
    target = Target(hold=True)
    courier = make(FlakyLink(target), outstanding=10_000)
    futures = [courier.post(n) for n in range(count)]
    await until(lambda: len(target.held) == count)
    target.release()
    await asyncio.gather(*futures)
    await turns()
    assert target.inbox.statistics().unacknowledged == left
    await courier.close()


async def test_a_cancelled_call_frees_its_room_and_lets_the_next_one_in():
    target = Target(hold=True)
    courier = make(FlakyLink(target), outstanding=1)
    hopeless = asyncio.create_task(courier.call(1))
    await until(lambda: target.held)
    waiting = asyncio.create_task(courier.call(2))
    await turns()
    hopeless.cancel()
    await until(lambda: [item for item, _ in target.held] == [1, 2])
    target.release()
    assert await waiting == 4
    await courier.close()


async def test_one_that_leaves_while_it_waits_for_room_makes_way_for_those_behind_it():
    target = Target(hold=True)
    courier = make(FlakyLink(target), size=100, size_of=lambda item: item)
    first = courier.post(50)
    large = asyncio.create_task(courier.call(90))
    small = asyncio.create_task(courier.call(10))
    await turns()
    assert courier.statistics().waiting_for_room == 2
    large.cancel()
    await until(lambda: [item for item, _ in target.held] == [50, 10])
    target.release()
    assert (await first, await small) == (100, 20)
    assert courier.statistics().waiting_for_room == 0
    await courier.close()


async def test_one_that_leaves_in_the_turn_in_which_it_is_let_in_leaves_nothing_behind():
    target = Target(hold=True)
    courier = make(FlakyLink(target), outstanding=1)
    first = courier.post(1)
    waiting = asyncio.create_task(courier.call(2))
    await until(lambda: target.held)
    first.cancel()
    await asyncio.sleep(0)  # the room is free, and given away
    waiting.cancel()
    await turns()
    assert (courier.statistics().outstanding, courier.statistics().waiting_for_room) == (0, 0)
    await courier.close()


async def test_closing_fails_what_is_pending_and_what_waits_for_room_and_ends_the_connection():
    target = Target(hold=True)
    link = FlakyLink(target)
    courier = make(link, outstanding=1)
    pending = courier.post(1)
    waiting = asyncio.create_task(courier.call(2))
    await until(lambda: target.held)
    await courier.close()
    for future, may_have_run in ((pending, True), (waiting, False)):
        with pytest.raises(PeerLostError, match="the courier was closed") as lost:
            await future
        assert lost.value.may_have_run is may_have_run
    assert link.stream.broken.done()


async def test_a_reply_that_comes_just_after_its_caller_has_left_disturbs_no_other():
    target = Target(hold=True)
    link = FlakyLink(target)
    courier = make(link)
    gone, kept = courier.post(1), courier.post(2)
    await until(lambda: len(target.held) == 2)
    gone.cancel()
    link.stream.hear(Replies(((0, "late"), (1, "in time"))))
    assert await kept == "in time"
    await courier.close()


async def test_statistics_count_items_messages_and_restarts():
    target = Target(hold=True)
    courier = make(FlakyLink(target), size_of=lambda item: item)
    for item in (10, 20):
        courier.post(item)
    assert courier.statistics().queued == 2
    await until(lambda: len(target.held) == 2)
    courier.post(30)
    known = courier.statistics()
    assert (known.queued, known.outstanding, known.outstanding_bytes) == (1, 3, 60)
    assert (known.sent, known.answered, known.messages, known.restarts) == (2, 0, 1, 0)
    await until(lambda: len(target.held) == 3)
    target.restart()
    await until(lambda: len(target.held) == 3)
    target.release()
    await until(lambda: courier.statistics().answered)
    known = courier.statistics()
    assert (known.queued, known.outstanding, known.outstanding_bytes) == (0, 0, 0)
    assert (known.sent, known.answered, known.messages, known.restarts) == (6, 3, 3, 1)
    assert known.epoch == target.inbox.epoch
    await courier.close()

"""An actor that is away for an hour: what waits, what fails and when, and how it is used again."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import pytest

from actors.core.errors import PeerLostError
from actors.transport.courier_settings import OnRestart
from actors.transport.link import LinkError
from tests.unit.support.courier_target import FlakyLink, Target, make, turns, until
from tests.unit.support.leaping_loop import run_leaping

HOUR = 3600.0


class Desk:
    """A courier with real pauses, on a loop whose time leaps; `told`: what its owner is told, and when."""

    def __init__(self, rule, **more):
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.target = Target(hold=True)
        self.link = FlakyLink(self.target)
        self.told = []
        self.courier = make(
            self.link,
            rule=rule,
            retry=0.05,
            on_restart=lambda: self.tell("restart"),
            on_lost=lambda: self.tell("lost"),
            on_back=lambda: self.tell("back"),
            **more,
        )

    def tell(self, what):
        self.told.append((what, round(self.loop.time() - self.began)))

    async def running(self, item):
        posted = self.courier.post(item)
        await until(lambda: item in [held for held, _ in self.target.held])
        return posted

    async def be_away(self, seconds, *, restart=False):
        self.link.be_away()
        await asyncio.sleep(seconds)
        self.link.error = None
        if restart:
            self.target.restart()


def desk_test(rule, **more):
    """Have a test of a desk run on a leaping loop."""

    def decorate(test):
        async def main():
            desk = Desk(rule, **more)
            await test(desk)
            await desk.courier.close()

        def run():
            run_leaping(main())

        run.__name__ = test.__name__
        return run

    return decorate


@pytest.mark.parametrize("restart", [False, True])
def test_what_may_run_twice_waits_for_an_actor_that_is_away_for_an_hour(restart):
    @desk_test(OnRestart.RESEND)
    async def run(desk):
        sent = await desk.running(1)
        away = asyncio.create_task(desk.be_away(HOUR, restart=restart))
        await turns()
        unsent = desk.courier.post(2)
        await asyncio.sleep(HOUR - 1)
        assert not sent.done()
        assert not unsent.done()
        assert desk.courier.statistics().trouble == "away"
        await away
        await asyncio.sleep(3.0)  # no pause is longer than two seconds
        desk.target.release()
        assert await asyncio.gather(sent, unsent) == [2, 4]
        assert desk.courier.statistics().trouble == ""
        assert [what for what, _ in desk.told] == ["restart"] * restart

    run()


def test_an_absent_actor_is_tried_again_ever_more_slowly_and_within_two_seconds():
    @desk_test(OnRestart.RESEND)
    async def run(desk):
        pending = await desk.running(1)
        before = desk.link.opened
        await desk.be_away(HOUR)
        assert HOUR / 2.0 <= desk.link.opened - before <= HOUR / 1.0 + 10
        desk.target.release()
        await pending

    run()


def test_after_a_reply_a_broken_connection_is_made_again_soon():
    @desk_test(OnRestart.RESEND)
    async def run(desk):
        first = await desk.running(1)
        await desk.be_away(HOUR)
        await asyncio.sleep(3.0)
        desk.target.release()
        await first
        before = desk.link.opened
        await desk.running(2)
        desk.link.stream.break_off(LinkError("broke"))
        await asyncio.sleep(0.1)
        assert desk.link.opened == before + 1

    run()


def test_a_connection_that_breaks_before_it_did_any_work_is_not_made_again_in_a_hurry():
    @desk_test(OnRestart.RESEND)
    async def run(desk):
        desk.courier.post(1)
        open_ = desk.link.open

        async def open_and_break(hello, caller):
            stream = await open_(hello, caller)
            stream.break_off(ConnectionError("it ends on every message"))
            return stream

        desk.link.open = open_and_break
        await asyncio.sleep(60.0)
        assert desk.link.opened < 80

    run()


@desk_test(OnRestart.FAIL)
async def test_what_must_not_run_twice_fails_after_half_a_minute_and_says_what_may_have_run(desk):
    sent = await desk.running(1)
    desk.link.be_away()
    await turns()
    unsent = desk.courier.post(2)
    for future, may_have_run in ((sent, True), (unsent, False)):
        with pytest.raises(PeerLostError, match="away for 30 s; away") as lost:
            await future
        assert lost.value.may_have_run is may_have_run
    assert round(desk.loop.time() - desk.began) == 30
    await turns()
    assert desk.told == [("lost", 30)]
    with pytest.raises(PeerLostError) as lost:
        await desk.courier.call(3)
    assert not lost.value.may_have_run


def test_the_owner_is_told_after_all_that_fails_has_been_dealt_with():
    @desk_test(OnRestart.FAIL)
    async def run(desk):
        order = []
        for item in (1, 2):
            (await desk.running(item)).add_done_callback(lambda _: order.append("failed"))
        desk.courier._on_lost = lambda: order.append("lost")
        await desk.be_away(31.0)
        assert order == ["failed", "failed", "lost"]

    run()


@pytest.mark.parametrize("restart", [False, True])
def test_an_actor_that_was_lost_is_used_again_when_it_is_back(restart):
    @desk_test(OnRestart.FAIL)
    async def run(desk):
        lost = await desk.running(1)
        desk.courier._on_back = lambda: (desk.tell("back"), desk.courier.post("roll call"))
        await desk.be_away(HOUR, restart=restart)
        await asyncio.sleep(3.0)
        again = desk.courier.post(2)
        await turns()
        assert [item for item, _ in desk.target.held][-2:] == ["roll call", 2]
        desk.target.release()
        assert await again == 4
        assert isinstance(lost.exception(), PeerLostError)
        assert [what for what, _ in desk.told] == ["lost", "back"]
        assert desk.target.ran == Counter({1: 1, "roll call": 1, 2: 1})

    run()


def test_an_absence_goes_on_though_the_caller_whose_item_began_it_has_left():
    @desk_test(OnRestart.FAIL)
    async def run(desk):
        desk.link.be_away()
        gone = desk.courier.post(1)
        await asyncio.sleep(10.0)
        gone.cancel()
        await asyncio.sleep(HOUR)
        assert desk.told == [("lost", 30)]
        desk.link.error = None
        await asyncio.sleep(3.0)
        assert [what for what, _ in desk.told] == ["lost", "back"]
        pending = await desk.running(2)
        desk.target.release()
        assert await pending == 4

    run()


def test_a_lost_actor_is_not_looked_for_once_it_is_back_and_owes_nothing():
    @desk_test(OnRestart.FAIL)
    async def run(desk):
        await desk.running(1)
        await desk.be_away(HOUR)
        await asyncio.sleep(3.0)
        before = desk.link.opened
        await desk.be_away(HOUR)
        assert desk.link.opened == before

    run()


def test_a_closed_courier_reports_no_lost_actor():
    @desk_test(OnRestart.FAIL)
    async def run(desk):
        desk.courier.post(1)
        desk.link.be_away()
        await asyncio.sleep(10.0)
        await desk.courier.close()
        await asyncio.sleep(HOUR)
        assert desk.told == []

    run()


def test_a_courier_that_is_closed_has_ended_its_attempt_to_connect():
    @desk_test(OnRestart.RESEND)
    async def run(desk):
        ended = []

        async def hang(hello, caller):
            try:
                await asyncio.sleep(HOUR)
            finally:
                ended.append(hello)

        desk.link.open = hang
        desk.courier.post(1)
        await turns()
        await desk.courier.close()
        assert len(ended) == 1

    run()


def test_one_that_waits_for_room_in_vain_makes_way_for_those_behind_it():
    @desk_test(OnRestart.RESEND, size=100, size_of=lambda item: item)
    async def run(desk):
        await desk.running(50)
        large = asyncio.create_task(desk.courier.call(90, within_s=20.0))
        small = asyncio.create_task(desk.courier.call(10))
        with pytest.raises(PeerLostError, match="there was no room for the request"):
            await large
        await until(lambda: [item for item, _ in desk.target.held] == [50, 10])
        desk.target.release()
        assert await small == 20

    run()


def test_an_actor_that_is_not_there_at_first_is_found_when_it_comes():
    @desk_test(OnRestart.FAIL)
    async def run(desk):
        desk.link.be_away()
        with pytest.raises(PeerLostError):
            await desk.courier.call(1)
        desk.link.error = None
        await asyncio.sleep(3.0)
        assert [what for what, _ in desk.told] == ["lost", "back"]
        pending = await desk.running(2)
        desk.target.release()
        assert await pending == 4

    run()


def test_the_time_that_one_vain_connection_takes_counts_as_well():
    """A stopped actor keeps whoever asks for it waiting for half a minute."""

    @desk_test(OnRestart.FAIL)
    async def run(desk):
        pending = await desk.running(1)
        desk.link.be_away()

        async def hang(hello, caller):
            await asyncio.sleep(HOUR)

        desk.link.open = hang
        with pytest.raises(PeerLostError):
            await pending
        assert round(desk.loop.time() - desk.began) == 30

    run()


def test_an_absence_counts_from_the_first_connection_that_is_tried_and_each_one_anew():
    """While nothing was pending nobody looked."""

    @desk_test(OnRestart.FAIL)
    async def run(desk):
        first = await desk.running(1)
        desk.target.release()
        await first
        await desk.be_away(HOUR)
        pending = await desk.running(2)
        for _ in range(3):
            await desk.be_away(20.0)
            await asyncio.sleep(3.0)
        assert not pending.done()
        desk.target.release()
        assert await pending == 4
        assert desk.told == []

    run()


@pytest.mark.parametrize("rule", OnRestart)
def test_what_its_caller_no_longer_waits_for_is_not_sent_to_the_next_life(rule):
    @desk_test(rule)
    async def run(desk):
        gone = await desk.running(1)
        desk.link.be_away()
        await turns()
        unsent = [asyncio.create_task(desk.courier.call(item)) for item in (2, 3)]
        await turns()
        for future in (gone, unsent[0]):
            future.cancel()
        await turns()
        assert desk.courier.statistics().outstanding == 1
        desk.link.error = None
        desk.target.restart()
        await asyncio.sleep(3.0)
        desk.target.release()
        assert await unsent[1] == 6
        assert desk.target.ran == Counter({1: 1, 3: 1})

    run()


def test_callers_that_come_and_go_while_an_actor_is_away_leave_nothing_behind():
    @desk_test(OnRestart.RESEND, outstanding=10)
    async def run(desk):
        desk.link.be_away()
        for n in range(500):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5.0):
                    await asyncio.gather(*(desk.courier.call(n) for _ in range(20)))
        known = desk.courier.statistics()
        assert (known.outstanding, known.queued, known.waiting_for_room, known.outstanding_bytes) == (0,) * 4

    run()


def test_a_call_with_a_time_fails_when_it_is_over_and_says_whether_it_may_have_run():
    @desk_test(OnRestart.RESEND, outstanding=2)
    async def run(desk):
        sent = await desk.courier.send(1, within_s=100.0)
        await until(lambda: desk.target.held)
        desk.link.be_away()
        await turns()
        unsent = await desk.courier.send(2, within_s=200.0)
        no_room = asyncio.create_task(desk.courier.send(3, within_s=50.0))
        let_in = asyncio.create_task(desk.courier.call(4, within_s=300.0))
        ends = []
        for future in (await no_room, sent, unsent, let_in):
            with pytest.raises(PeerLostError) as lost:
                await future
            ends.append((round(desk.loop.time() - desk.began), lost.value.may_have_run))
        assert ends == [(50, False), (100, True), (200, False), (300, False)]
        assert desk.courier.statistics().outstanding == 0

    run()


def test_an_hour_of_absence_is_logged_once_and_so_is_its_end(caplog):
    @desk_test(OnRestart.RESEND)
    async def run(desk):
        pending = await desk.running(1)
        await desk.be_away(5.0)  # an ordinary restart
        await asyncio.sleep(3.0)
        await desk.be_away(HOUR)
        await asyncio.sleep(3.0)
        desk.target.release()
        await pending

    with caplog.at_level(logging.INFO):
        run()
    assert [record.getMessage() for record in caplog.records] == [
        "target is away; reconnecting: away",
        "target is back",
    ]


def test_a_defect_in_the_way_to_an_actor_ends_nothing_and_is_logged_once(caplog):
    @desk_test(OnRestart.RESEND)
    async def run(desk):
        open_ = desk.link.open

        async def fail(hello, caller):
            raise ZeroDivisionError

        desk.link.open = fail
        pending = desk.courier.post(1)
        await asyncio.sleep(HOUR)
        assert "ZeroDivisionError" in desk.courier.statistics().trouble
        desk.link.open = open_
        await asyncio.sleep(3.0)
        desk.target.release()
        assert await pending == 2

    run()
    assert len([record for record in caplog.records if record.levelno == logging.CRITICAL]) == 1

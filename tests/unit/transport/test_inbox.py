"""An inbox and its callers: what a connection may still say, what is told again, who is forgotten."""

from __future__ import annotations

import pytest

from actors.core.errors import InvariantError, SourceError, UnprocessableError
from actors.core.message_size import weight
from actors.core.messages.delivery import Delivery, Hello
from actors.core.messages.journal import Accepted
from actors.core.messages.tasks import Fetched, Item
from actors.transport import inbox
from actors.transport.inbox import AWAY_S, MAX_REPLIES, MAX_REPLY_BYTES, Inbox, OvertakenError
from tests.unit.support.courier_target import turns


class Desk:
    def __init__(self):
        self.now = 0.0
        self.told = []  # each message of replies, with the number of the connection that it came by
        self.held = {}
        self.inbox = Inbox(self.on_item, interval_s=0.0, clock=lambda: self.now)

    def on_item(self, item, reply):
        if isinstance(item, Exception):
            raise item
        if item in self.held:
            raise InvariantError("an item ran twice")
        self.held[item] = reply

    def visit(self, number=0, sender="a"):
        return self.inbox.greet(
            Hello(sender, number), lambda replies: self.told.append((number, replies.replies))
        )


@pytest.fixture
def desk():
    return Desk()


async def test_a_connection_that_another_has_followed_carries_nothing_any_more(desk):
    """What is still on its way there may have been answered and forgotten since, and would run again."""
    first = desk.visit(0)
    first.deliver(Delivery(((1, "x"),), ()))
    second = desk.visit(1)
    desk.held["x"]("done")
    await turns()
    second.deliver(Delivery((), (1,)))
    first.deliver(Delivery(((1, "x"),), ()))  # `on_item` would object
    first.end()
    second.deliver(Delivery(((2, "y"),), ()))
    desk.held["y"]("done too")
    await turns()
    assert desk.told == [(1, ((1, "done"),)), (1, ((2, "done too"),))]


async def test_a_hello_that_was_overtaken_is_turned_away(desk):
    desk.visit(1)
    for number in (0, 1):
        with pytest.raises(OvertakenError):
            desk.visit(number)


async def test_what_was_not_acknowledged_is_told_again_on_the_next_connection_and_nothing_else(desk):
    first = desk.visit(0)
    first.deliver(Delivery(((1, "x"), (2, "y"), (3, "z")), ()))
    desk.held["x"](1)
    desk.held["y"](2)
    await turns()
    first.deliver(Delivery((), (1,)))
    first.end()
    desk.held["z"](3)
    await turns()
    desk.visit(1)
    await turns()
    assert desk.told == [(0, ((1, 1), (2, 2))), (1, ((2, 2), (3, 3)))]


async def test_what_is_acknowledged_before_it_was_told_again_is_not_told_again(desk):
    first = desk.visit(0)
    first.deliver(Delivery(((1, "x"), (2, "y")), ()))
    for item in ("x", "y"):
        desk.held[item](item)
    await turns()
    desk.visit(1).deliver(Delivery((), (1,)))
    await turns()
    assert desk.told[1:] == [(1, ((2, "y"),))]


async def test_more_replies_than_a_message_holds_follow_at_once(desk):
    visit = desk.visit()
    count = 2 * MAX_REPLIES + 1
    visit.deliver(Delivery(tuple((n, n) for n in range(count)), ()))
    for n in range(count):
        desk.held[n](n)
    await turns()
    assert [len(replies) for _, replies in desk.told] == [MAX_REPLIES, MAX_REPLIES, 1]


async def test_large_replies_are_told_in_messages_of_a_bounded_size_and_the_largest_alone(desk):
    visit = desk.visit()
    sizes = [1000, MAX_REPLY_BYTES, 1000, 3 * MAX_REPLY_BYTES, *[MAX_REPLY_BYTES // 3] * 5, 1000]
    visit.deliver(Delivery(tuple((n, n) for n in range(len(sizes))), ()))
    for n, size in enumerate(sizes):
        desk.held[n]("x" * size)
    await turns()
    told = [[item_id for item_id, _ in replies] for _, replies in desk.told]
    assert told == [[0], [1], [2], [3], [4, 5], [6, 7], [8, 9]]


async def test_the_items_of_512_tasks_are_told_in_messages_that_may_be_sent(desk):
    """They came to more than a frame may hold, and the link was lost for good."""
    visit = desk.visit()
    visit.deliver(Delivery(tuple((n, n) for n in range(512)), ()))
    items = (Item("wire:1", "wire", "x" * 540_000),)
    for n in range(512):
        desk.held[n](Accepted(f"t{n}", False, 0.0, None, (Fetched("wire", items),)))
    await turns(600)
    assert sum(len(replies) for _, replies in desk.told) == 512
    assert max(weight(replies) for _, replies in desk.told) < 1_000_000


async def test_a_caller_that_is_back_within_the_time_is_told_what_it_missed(desk):
    desk.now = 1000.0
    visit = desk.visit()
    visit.deliver(Delivery(((1, "x"),), ()))
    visit.end()
    desk.held["x"]("done")
    desk.now += AWAY_S - 1
    desk.visit(sender="another")
    desk.visit(1)
    await turns()
    assert desk.told == [(1, ((1, "done"),))]


async def test_a_caller_that_is_gone_is_forgotten_and_one_that_is_silent_or_waited_for_is_not(desk):
    desk.visit(sender="silent")
    working = desk.visit(sender="waited for")
    working.deliver(Delivery(((1, "x"),), ()))
    working.end()
    desk.visit(sender="gone").end()
    desk.now = AWAY_S - 1
    desk.visit(sender="b")
    assert desk.inbox.statistics().peers == 4
    desk.now = AWAY_S + 1
    desk.visit(sender="c")
    assert desk.inbox.statistics().peers == 4


async def test_an_item_that_meets_a_defect_is_answered_with_an_error_and_hurts_no_other(desk, caplog):
    visit = desk.visit()
    classified = SourceError("no such table")
    visit.deliver(Delivery(((1, "x"), (2, ZeroDivisionError("a secret")), (3, classified), (4, "y")), ()))
    desk.held["x"](1)
    desk.held["y"](2)
    await turns()
    told = dict(desk.told[0][1])
    assert (told[1], told[3], told[4]) == (1, classified, 2)
    assert isinstance(told[2], UnprocessableError)
    assert "ZeroDivisionError" in str(told[2])
    assert "a secret" not in str(told[2])
    assert "ZeroDivisionError: a secret" in caplog.text  # with the traceback, for whoever has to mend it
    assert desk.inbox.statistics().working == 0


async def test_a_broken_invariant_ends_the_process(desk, monkeypatch):
    ended = []
    monkeypatch.setattr(inbox, "end_loudly", ended.append)
    desk.visit().deliver(Delivery(((1, InvariantError("two and two")), (2, "x")), ()))
    assert ended == ["the handling of InvariantError"]


async def test_an_item_that_could_not_be_read_is_answered_with_why_once(desk):
    visit = desk.visit()
    visit.refuse(1, UnprocessableError("unreadable"))
    visit.refuse(1, UnprocessableError("told again"))
    await turns()
    [(_, ((item_id, error),))] = desk.told
    assert (item_id, str(error)) == (1, "unreadable")


async def test_a_connection_that_another_has_followed_refuses_nothing(desk):
    first = desk.visit(0)
    desk.visit(1)
    first.refuse(1, UnprocessableError("unreadable"))
    await turns()
    assert desk.told == []


async def test_an_item_that_is_refused_while_it_runs_is_answered_by_its_run(desk):
    visit = desk.visit()
    visit.deliver(Delivery(((1, "x"),), ()))
    visit.refuse(1, UnprocessableError("unreadable"))
    desk.held["x"]("done")
    await turns()
    assert desk.told == [(0, ((1, "done"),))]


async def test_only_the_first_reply_to_an_item_counts(desk):
    visit = desk.visit()
    visit.deliver(Delivery(((1, "x"), (2, "y")), ()))
    desk.held["x"]("first")
    desk.held["x"]("second")
    await turns()
    assert desk.told == [(0, ((1, "first"),))]
    known = desk.inbox.statistics()
    assert (known.received, known.working, known.replied, known.unacknowledged) == (2, 1, 1, 1)

"""The dispatcher's mirror of its clients: shares, slots, who waits where, and who has gone."""

from __future__ import annotations

import pytest

from actors.core.dispatch.client_pool import ClientPool
from actors.core.errors import InvariantError
from actors.core.queue.slot_queue import SlotStatistics


@pytest.fixture
def pool():
    pool = ClientPool()
    yield pool
    pool.check_invariants()


def join(pool, *clients, slots):
    for client in clients:
        pool.join(client)
    return pool.allot(slots)


def start(pool, client, *attempts):
    for attempt in attempts:
        pool.hand_over(client, attempt)


# ---- shares ----------------------------------------------------------------------------------------------


def test_slots_are_split_evenly_and_the_rest_goes_to_the_first(pool):
    assert join(pool, "a", "b", "c", slots=8) == [("a", 3), ("b", 3), ("c", 2)]


def test_only_changed_shares_are_told(pool):
    join(pool, "a", "b", slots=8)
    assert pool.allot(8) == []
    assert pool.allot(9) == [("a", 5)]


def test_a_client_that_begins_anew_is_told_its_share_again(pool):
    join(pool, "a", "b", slots=8)
    pool.join("a")
    assert pool.allot(8) == [("a", 4)]


def test_each_client_has_a_slot_even_where_the_limit_is_below_their_number(pool):
    """An attempt under way to a client whose share falls to 0 would wait there for ever, with its permit."""
    join(pool, "a", "b", "c", slots=6)
    assert pool.allot(1) == [("a", 1), ("b", 1), ("c", 1)]


def test_a_pause_takes_every_share(pool):
    join(pool, "a", "b", slots=8)
    assert pool.allot(0) == [("a", 0), ("b", 0)]


def test_without_clients_nobody_is_told_anything(pool):
    assert pool.allot(8) == []
    assert pool.with_free_slot() is None
    assert pool.with_shortest_queue() is None


# ---- where an attempt goes -------------------------------------------------------------------------------


def test_the_client_with_most_free_slots_is_chosen(pool):
    join(pool, "a", "b", slots=8)
    start(pool, "a", 1, 2)
    assert pool.with_free_slot() == "b"
    start(pool, "b", 3, 4, 5)
    assert pool.with_free_slot() == "a"


def test_attempts_that_wait_take_up_the_slots_that_become_free(pool):
    join(pool, "a", slots=2)
    start(pool, "a", 1, 2)
    pool.hand_over("a", 3)
    pool.end(1)
    assert pool.with_free_slot() is None


def test_the_line_is_shortest_where_fewest_stand_before_a_slot(pool):
    join(pool, "a", "b", slots=5)  # 3 and 2
    start(pool, "a", 1, 2, 3)
    start(pool, "b", 4, 5)
    pool.hand_over("b", 6)
    assert pool.with_shortest_queue() == "a"
    pool.hand_over("a", 7)
    pool.hand_over("a", 8)
    assert pool.with_shortest_queue() == "b"


def test_nothing_waits_at_a_client_that_would_start_it_at_once(pool):
    """It would be in flight without a permit, over the limit while another client holds too many."""
    join(pool, "a", slots=4)
    start(pool, "a", 1, 2, 3, 4)
    join(pool, "b", slots=4)
    assert pool.with_free_slot() == "b"
    assert pool.with_shortest_queue() == "a"


def test_nothing_waits_at_a_client_without_a_share(pool):
    join(pool, "a", slots=1)
    start(pool, "a", 1)
    pool.allot(0)
    assert pool.with_shortest_queue() is None


# ---- ends ------------------------------------------------------------------------------------------------


def test_when_one_ends_the_first_that_waits_has_started(pool):
    join(pool, "a", slots=1)
    start(pool, "a", 1)
    pool.hand_over("a", 2)
    pool.hand_over("a", 3)
    assert pool.promote() == []
    pool.end(1)
    assert pool.promote() == [2]
    assert pool.statistics() == {"a": SlotStatistics(slots=1, started=1, waiting=1)}
    assert pool.waiting == 1


def test_a_larger_share_starts_those_that_wait(pool):
    join(pool, "a", slots=1)
    start(pool, "a", 1)
    pool.hand_over("a", 2)
    pool.allot(2)
    assert pool.promote() == [2]


def test_where_more_are_started_than_the_share_an_end_starts_nothing(pool):
    join(pool, "a", slots=3)
    start(pool, "a", 1, 2, 3)
    pool.hand_over("a", 4)
    pool.allot(1)
    pool.end(1)
    assert pool.promote() == []


def test_an_attempt_that_ends_while_it_waits_leaves_the_line(pool):
    join(pool, "a", slots=1)
    start(pool, "a", 1)
    pool.hand_over("a", 2)
    assert pool.holder(2) == "a"
    pool.end(2)
    assert pool.holder(2) is None
    assert pool.waiting == 0


def test_the_end_of_an_unknown_attempt_changes_nothing(pool):
    join(pool, "a", slots=1)
    pool.end(7)


# ---- clients that go -------------------------------------------------------------------------------------


def test_a_client_that_left_gets_nothing_and_its_share_goes_to_the_others(pool):
    join(pool, "a", "b", slots=8)
    pool.leave("a")
    assert pool.allot(8) == [("b", 8)]
    assert pool.statistics().keys() == {"b"}


def test_a_client_may_leave_before_what_it_held_is_known_to_be_lost(pool):
    """The news of a loss and an attempt handed over can cross."""
    join(pool, "a", "b", slots=4)
    start(pool, "a", 1)
    pool.hand_over("a", 2)
    pool.leave("a")
    pool.check_invariants()
    assert pool.allot(4) == [("b", 4)]
    assert pool.promote() == []
    start(pool, "b", 3, 4, 5, 6)
    assert pool.with_shortest_queue() == "b"
    pool.end(1)
    pool.end(2)
    assert pool.statistics().keys() == {"b"}


def test_a_client_that_comes_back_before_its_losses_are_known_is_kept(pool):
    join(pool, "a", slots=4)
    start(pool, "a", 1)
    pool.leave("a")
    assert join(pool, "a", slots=4) == [("a", 4)]
    pool.end(1)
    assert pool.statistics() == {"a": SlotStatistics(slots=4, started=0, waiting=0)}


def test_an_unknown_client_may_leave(pool):
    pool.leave("nobody")


# ---- invariants ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda pool: pool._holder.clear(), "are known"),
        (lambda pool: setattr(pool, "_waiting", 5), "count of waiting"),
        (lambda pool: pool._clients["a"].queue.set_slots(9), "shares exceed"),
        (lambda pool: setattr(pool._clients["a"], "leaving", True), "left has a share"),
    ],
)
def test_the_invariants_notice(spoil, problem):
    pool = ClientPool()
    join(pool, "a", slots=4)
    pool.hand_over("a", 1)
    spoil(pool)
    with pytest.raises(InvariantError, match=problem):
        pool.check_invariants()


def test_a_client_that_was_refused_is_told_its_share_again_and_starts_nothing_before(pool):
    join(pool, "a", "b", slots=2)
    start(pool, "a", 1)
    pool.hand_over("a", 2)
    pool.end(1, refused=True)
    assert pool.has_unsent_shares
    assert pool.promote() == []
    assert pool.allot(2) == [("a", 1)]
    assert not pool.has_unsent_shares
    assert pool.promote() == [2]


# ---- attempts that go first ------------------------------------------------------------------------------


def test_one_slot_of_a_client_is_reserved_unless_it_is_its_only_one(pool):
    join(pool, "a", "b", slots=4)
    assert pool.allot(4, reserved=1) == [("a", 2)]
    assert (pool.reserved("a"), pool.reserved("b")) == (1, 0)
    assert pool.allot(2, reserved=1) == [("a", 1), ("b", 1)]
    assert pool.reserved("a") == 0


def test_a_reserved_slot_is_free_for_those_alone_that_go_first(pool):
    join(pool, "a", slots=2)
    pool.allot(2, reserved=1)
    start(pool, "a", 1)
    assert pool.with_free_slot() is None
    assert pool.with_shortest_queue() == "a"
    assert pool.with_shortest_queue(first=True) is None
    assert pool.with_free_slot(first=True) == "a"
    pool.hand_over("a", 2, first=True)
    assert pool.with_free_slot(first=True) is None
    assert pool.first == 1


def test_those_that_go_first_are_promoted_first_and_the_others_leave_the_reserved_slot(pool):
    join(pool, "a", slots=2)
    pool.allot(2, reserved=1)
    pool.hand_over("a", 1)
    pool.hand_over("a", 2, first=True)
    pool.hand_over("a", 3)
    pool.hand_over("a", 4, first=True)
    assert pool.promote() == []
    pool.end(1)
    assert pool.promote() == [4]
    pool.end(4)
    assert pool.promote() == []
    pool.end(2)
    assert pool.promote() == [3]
    assert pool.first == 0


def test_what_waits_to_go_first_may_end_there(pool):
    join(pool, "a", slots=1)
    pool.hand_over("a", 1)
    pool.hand_over("a", 2, first=True)
    assert (pool.waiting, pool.first) == (1, 1)
    pool.end(2)
    assert (pool.waiting, pool.first) == (0, 0)


def test_an_attempt_that_goes_first_waits_where_fewest_of_its_kind_wait(pool):
    join(pool, "a", "b", slots=2)
    start(pool, "a", 1)
    start(pool, "b", 2)
    pool.hand_over("a", 3, first=True)
    for number in (4, 5, 6):
        pool.hand_over("b", number)
    assert pool.with_shortest_queue(first=True) == "b"
    assert pool.with_shortest_queue() == "a"

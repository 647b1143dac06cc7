"""The dispatcher's mirror of its clients: shares, slots, who waits where, and who has gone."""

from __future__ import annotations

import pytest

from actors.core.dispatch.client_pool import ClientStatistics, Fleet
from actors.core.errors import InvariantError


@pytest.fixture
def fleet():
    fleet = Fleet()
    yield fleet
    fleet.check_invariants()


def join(fleet, *clients, slots):
    for client in clients:
        fleet.join(client)
    return fleet.allot(slots)


def start(fleet, client, *attempts):
    for attempt in attempts:
        fleet.start(client, attempt)


# ---- shares ----------------------------------------------------------------------------------------------


def test_slots_are_split_evenly_and_the_rest_goes_to_the_first(fleet):
    assert join(fleet, "a", "b", "c", slots=8) == [("a", 3), ("b", 3), ("c", 2)]


def test_only_changed_shares_are_told(fleet):
    join(fleet, "a", "b", slots=8)
    assert fleet.allot(8) == []
    assert fleet.allot(9) == [("a", 5)]


def test_a_client_that_begins_anew_is_told_its_share_again(fleet):
    join(fleet, "a", "b", slots=8)
    fleet.join("a")
    assert fleet.allot(8) == [("a", 4)]


def test_each_client_has_a_slot_even_where_the_limit_is_below_their_number(fleet):
    """An attempt under way to a client whose share falls to 0 would wait there for ever, with its permit."""
    join(fleet, "a", "b", "c", slots=6)
    assert fleet.allot(1) == [("a", 1), ("b", 1), ("c", 1)]


def test_a_pause_takes_every_share(fleet):
    join(fleet, "a", "b", slots=8)
    assert fleet.allot(0) == [("a", 0), ("b", 0)]


def test_without_clients_nobody_is_told_anything(fleet):
    assert fleet.allot(8) == []
    assert fleet.with_free_slot() is None
    assert fleet.with_shortest_line() is None


# ---- where an attempt goes -------------------------------------------------------------------------------


def test_the_client_with_most_free_slots_is_chosen(fleet):
    join(fleet, "a", "b", slots=8)
    start(fleet, "a", 1, 2)
    assert fleet.with_free_slot() == "b"
    start(fleet, "b", 3, 4, 5)
    assert fleet.with_free_slot() == "a"


def test_attempts_that_wait_take_up_the_slots_that_become_free(fleet):
    join(fleet, "a", slots=2)
    start(fleet, "a", 1, 2)
    fleet.wait("a", 3)
    fleet.end(1)
    assert fleet.with_free_slot() is None


def test_the_line_is_shortest_where_fewest_stand_before_a_slot(fleet):
    join(fleet, "a", "b", slots=5)  # 3 and 2
    start(fleet, "a", 1, 2, 3)
    start(fleet, "b", 4, 5)
    fleet.wait("b", 6)
    assert fleet.with_shortest_line() == "a"
    fleet.wait("a", 7)
    fleet.wait("a", 8)
    assert fleet.with_shortest_line() == "b"


def test_nothing_waits_at_a_client_that_would_start_it_at_once(fleet):
    """It would be in flight without a permit, over the limit while another client holds too many."""
    join(fleet, "a", slots=4)
    start(fleet, "a", 1, 2, 3, 4)
    join(fleet, "b", slots=4)
    assert fleet.with_free_slot() == "b"
    assert fleet.with_shortest_line() == "a"


def test_nothing_waits_at_a_client_without_a_share(fleet):
    join(fleet, "a", slots=1)
    start(fleet, "a", 1)
    fleet.allot(0)
    assert fleet.with_shortest_line() is None


# ---- ends ------------------------------------------------------------------------------------------------


def test_when_one_ends_the_first_that_waits_has_started(fleet):
    join(fleet, "a", slots=1)
    start(fleet, "a", 1)
    fleet.wait("a", 2)
    fleet.wait("a", 3)
    assert fleet.promote() == []
    assert fleet.end(1) == "a"
    assert fleet.promote() == [2]
    assert fleet.statistics() == {"a": ClientStatistics(started=1, waiting=1, slots=1)}
    assert fleet.waiting == 1


def test_a_larger_share_starts_those_that_wait(fleet):
    join(fleet, "a", slots=1)
    start(fleet, "a", 1)
    fleet.wait("a", 2)
    fleet.allot(2)
    assert fleet.promote() == [2]


def test_where_more_are_started_than_the_share_an_end_starts_nothing(fleet):
    join(fleet, "a", slots=3)
    start(fleet, "a", 1, 2, 3)
    fleet.wait("a", 4)
    fleet.allot(1)
    fleet.end(1)
    assert fleet.promote() == []


def test_an_attempt_that_ends_while_it_waits_leaves_the_line(fleet):
    join(fleet, "a", slots=1)
    start(fleet, "a", 1)
    fleet.wait("a", 2)
    assert fleet.holder(2) == "a"
    assert fleet.end(2) == "a"
    assert fleet.holder(2) is None
    assert fleet.waiting == 0


def test_the_end_of_an_unknown_attempt_changes_nothing(fleet):
    join(fleet, "a", slots=1)
    assert fleet.end(7) is None


# ---- clients that go -------------------------------------------------------------------------------------


def test_a_client_that_left_gets_nothing_and_its_share_goes_to_the_others(fleet):
    join(fleet, "a", "b", slots=8)
    fleet.leave("a")
    assert fleet.allot(8) == [("b", 8)]
    assert fleet.statistics().keys() == {"b"}


def test_a_client_may_leave_before_what_it_held_is_known_to_be_lost(fleet):
    """The news of a loss and an attempt handed over can cross."""
    join(fleet, "a", "b", slots=4)
    start(fleet, "a", 1)
    fleet.wait("a", 2)
    fleet.leave("a")
    fleet.check_invariants()
    assert fleet.allot(4) == [("b", 4)]
    assert fleet.promote() == []
    start(fleet, "b", 3, 4, 5, 6)
    assert fleet.with_shortest_line() == "b"
    assert fleet.end(1) == "a"
    assert fleet.end(2) == "a"
    assert fleet.statistics().keys() == {"b"}


def test_a_client_that_comes_back_before_its_losses_are_known_is_kept(fleet):
    join(fleet, "a", slots=4)
    start(fleet, "a", 1)
    fleet.leave("a")
    assert join(fleet, "a", slots=4) == [("a", 4)]
    fleet.end(1)
    assert fleet.statistics() == {"a": ClientStatistics(started=0, waiting=0, slots=4)}


def test_an_unknown_client_may_leave(fleet):
    fleet.leave("nobody")


# ---- invariants ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda fleet: fleet._holder.clear(), "are known"),
        (lambda fleet: setattr(fleet, "_waiting", 5), "count of waiting"),
        (lambda fleet: setattr(fleet._clients["a"], "slots", 9), "shares exceed"),
        (lambda fleet: setattr(fleet._clients["a"], "leaving", True), "left has a share"),
    ],
)
def test_the_invariants_notice(spoil, problem):
    fleet = Fleet()
    join(fleet, "a", slots=4)
    fleet.start("a", 1)
    spoil(fleet)
    with pytest.raises(InvariantError, match=problem):
        fleet.check_invariants()


def test_a_client_that_was_refused_is_told_its_share_again_and_starts_nothing_before(fleet):
    join(fleet, "a", "b", slots=2)
    start(fleet, "a", 1)
    fleet.wait("a", 2)
    fleet.end(1)
    fleet.braked("a")
    assert fleet.is_braked
    assert fleet.promote() == []
    assert fleet.allot(2) == [("a", 1)]
    assert not fleet.is_braked
    assert fleet.promote() == [2]


# ---- attempts that go first ------------------------------------------------------------------------------


def test_one_slot_of_a_client_is_reserved_unless_it_is_its_only_one(fleet):
    join(fleet, "a", "b", slots=4)
    assert fleet.allot(4, reserved=1) == [("a", 2)]
    assert (fleet.reserved("a"), fleet.reserved("b")) == (1, 0)
    assert fleet.allot(2, reserved=1) == [("a", 1), ("b", 1)]
    assert fleet.reserved("a") == 0


def test_a_reserved_slot_is_free_for_those_alone_that_go_first(fleet):
    join(fleet, "a", slots=2)
    fleet.allot(2, reserved=1)
    start(fleet, "a", 1)
    assert fleet.with_free_slot() is None
    assert fleet.with_shortest_line() == "a"
    assert fleet.with_shortest_line(first=True) is None
    assert fleet.with_free_slot(first=True) == "a"
    fleet.start("a", 2, first=True)
    assert fleet.with_free_slot(first=True) is None
    assert fleet.first == 1


def test_those_that_go_first_are_promoted_first_and_the_others_leave_the_reserved_slot(fleet):
    join(fleet, "a", slots=2)
    fleet.allot(2, reserved=1)
    fleet.start("a", 1)
    fleet.start("a", 2, first=True)
    fleet.wait("a", 3)
    fleet.wait("a", 4, first=True)
    assert fleet.promote() == []
    fleet.end(1)
    assert fleet.promote() == [4]
    fleet.end(4)
    assert fleet.promote() == []
    fleet.end(2)
    assert fleet.promote() == [3]
    assert fleet.first == 0


def test_what_waits_to_go_first_may_end_there(fleet):
    join(fleet, "a", slots=1)
    fleet.start("a", 1)
    fleet.wait("a", 2, first=True)
    assert (fleet.waiting, fleet.first) == (1, 1)
    assert fleet.end(2) == "a"
    assert (fleet.waiting, fleet.first) == (0, 0)

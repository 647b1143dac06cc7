"""Who may hand in another task."""

from __future__ import annotations

import pytest

from actors.core.limits.admission import Admission, Backlog


def test_the_backlog_is_full_once_so_many_wait():
    backlog = Backlog(2)
    for _ in range(2):
        assert backlog.ask("ann", 0) is Admission.ROOM
        backlog.add("ann")
    assert backlog.ask("ann", 0) is Admission.FULL
    assert backlog.ask("ann", 1) is Admission.ROOM  # one is worked on, and waits no more


def test_a_caller_that_is_alone_may_fill_the_backlog():
    backlog = Backlog(4)
    for _ in range(3):
        backlog.add("ann")
    assert backlog.ask("ann", 0) is Admission.ROOM


def test_a_caller_that_is_not_alone_keeps_to_its_share():
    backlog = Backlog(4)
    for tenant in ("ann", "ann", "bob"):
        backlog.add(tenant)
    assert backlog.ask("ann", 0) is Admission.SHARE
    assert backlog.ask("bob", 0) is Admission.ROOM
    backlog.remove("bob")
    assert backlog.ask("ann", 0) is Admission.ROOM
    assert backlog.tenants == {"ann": 2}
    assert len(backlog) == 2


def test_a_caller_over_its_share_is_told_so_in_a_full_backlog_and_the_others_that_it_is_full():
    backlog = Backlog(4)
    for tenant in ("ann", "ann", "ann", "bob"):
        backlog.add(tenant)
    assert backlog.ask("ann", 0) is Admission.SHARE
    assert backlog.ask("bob", 0) is Admission.FULL


def test_no_caller_gives_back_what_it_does_not_hold():
    with pytest.raises(KeyError):
        Backlog(1).remove("ann")

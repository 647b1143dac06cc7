"""What is changed within a part of a turn that raises leaves no trace in the turn."""

from __future__ import annotations

import pytest

from actors.core.journal.batch import CheckedCodec, Overlay
from actors.core.journal.keys import writer
from actors.core.journal.turn import OpenTurn
from actors.journal.stores.codec import JsonCodec
from tests.unit.support.journal_desk import Desk


@pytest.fixture
def turn():
    return OpenTurn(Overlay(Desk().store), CheckedCodec(JsonCodec()), 0.0, b"me")


def lose(turn, run_id):
    """Have a record change the run, and raise then."""
    with turn.whole():
        turn.claim(run_id, b"other")
        turn.use(run_id)
        turn.use(f"{run_id} too")
        turn.touch(run_id, "t2")
        raise LookupError("in the middle of a record")


def test_a_record_that_raises_leaves_no_fence_no_use_and_no_event_behind(turn):
    """A fence of a run that nothing was written to would fail the commit of all the others."""
    with turn.whole():
        turn.claim("kept", b"before")
        turn.use("used")
        turn.touch("kept", "t1")
    with pytest.raises(LookupError):
        lose(turn, "lost")
    closed = turn.close([])
    assert dict(closed.batch.fences) == {writer("kept"): b"before", writer("used"): b"me"}
    assert dict(closed.batch.puts) == {writer("kept"): b"me"}
    assert closed.touched == {("kept", "t1")}


def test_a_run_whose_claim_was_undone_is_claimed_from_its_writer(turn):
    with pytest.raises(LookupError):
        lose(turn, "run")
    turn.claim("run", b"before")
    assert dict(turn.close([]).batch.fences) == {writer("run"): b"before"}

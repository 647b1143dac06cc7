"""A run has one history, which only its writer replaces."""

from __future__ import annotations

import pytest

from actors.core.errors import FencedError, InvalidTransitionError, StoreError
from actors.core.journal import keys
from actors.core.journal.batch import NotStorableError
from actors.core.journal.reads import read_history
from actors.core.messages.journal import CloseRun, KeepHistory, ReadHistory
from actors.core.messages.values import Done
from actors.core.metrics.history import EndpointReading, HistoryRecorder
from actors.core.metrics.history_format import MOST_PACKED_BYTES, pack
from tests.unit.support.journal_desk import RUN, Desk


@pytest.fixture
def desk():
    desk = Desk()
    desk.open()
    return desk


def history(answered):
    recorder = HistoryRecorder()
    recorder.add(0.0, 1.7e9, [EndpointReading("main")])
    recorder.add(1.0, 1.7e9, [EndpointReading("main", answered)])
    return recorder.history()


def test_a_later_history_replaces_the_earlier_one_also_after_the_end_of_the_run(desk):
    assert desk.tell(ReadHistory(RUN)) is None
    assert read_history(desk.store, RUN) is None
    assert desk.tell(KeepHistory(RUN, pack(history(1)))) == Done()
    desk.tell(CloseRun(RUN, "succeeded"))
    desk.tell(KeepHistory(RUN, pack(history(2))))
    assert read_history(desk.store, RUN) == history(2)
    assert desk.tell(ReadHistory(RUN)) == pack(history(2))


def test_a_history_of_another_writer_of_no_run_or_of_any_size_is_refused(desk):
    lingering = desk.state
    desk.begin("2")
    desk.state = lingering
    before = dict(desk.store.rows)
    replies = [desk.tell(KeepHistory(RUN, b"")), desk.tell(KeepHistory("r9", b""))]
    replies.append(desk.tell(KeepHistory(RUN, bytes(MOST_PACKED_BYTES + 1))))
    assert [type(reply) for reply in replies] == [FencedError, InvalidTransitionError, NotStorableError]
    assert desk.store.rows == before


def test_a_history_that_is_damaged_names_its_run(desk):
    desk.store.rows[keys.history(RUN)] = b"damaged"
    with pytest.raises(StoreError, match="the history of run r1 cannot be read"):
        read_history(desk.store, RUN)

"""What `why` says of a task, to programs and to people."""

from __future__ import annotations

import dataclasses
import json

import pytest
from msgspec.structs import replace

from actors.core.errors import ConfigError, FailureKind
from actors.core.messages.journal import Collected, Finish, Reopen
from actors.core.messages.tasks import DimensionResult, Fetched, Item, SourceOutcome, TaskState
from actors.core.messages.values import Usage
from cluster.commands.command_line import print_json
from cluster.records.reading import all_ended, history_of
from cluster.report.task_history import history_document, history_lines
from tests.unit.support.journal_desk import RUN, Desk, intent, outcome, report

MARKS = "\x7f\x9b\u061c\u200e\u200f\u202e\u2066\ufeff"
EVIL = "\x1b[2Jevil\nforged line"


@pytest.fixture
def desk():
    desk = Desk(keep="calls")
    desk.open()
    return desk


def whole(task, state=TaskState.SUCCEEDED, errors=()):
    results = (DimensionResult("quality", 0.5, 0.4, 0.6, 4, "Fine.", ("wire-1",)),)
    sources = {"wire": SourceOutcome(2), "notes": SourceOutcome(0, "transient: gone")}
    return replace(report(task, state), dimensions=results, sources=sources, errors=errors)


def test_why_tells_every_attempt_what_it_cost_and_what_is_in_doubt(desk):
    desk.accept("t1")
    desk.tell_all(intent(1), intent(2, "k2"), intent(3, "k2", number=2), intent(4, "k3"))
    desk.tell_all(
        outcome(1),
        outcome(2, kind=FailureKind.REFUSED, call="k2"),
        outcome(3, kind=FailureKind.IN_DOUBT, call="k2"),
    )
    desk.tell(Finish(RUN, whole("t1", TaskState.PARTIAL, ("source notes failed after 3 tries: gone",))))
    history = history_of(desk.store, RUN, "t1")
    document = history_document(history)
    assert [(one["call"], one["number"], one["outcome"], one["billed"]) for one in document["attempts"]] == [
        ("k1", 1, "answered", True),
        ("k2", 1, "refused", False),
        ("k2", 2, "in_doubt", False),
        ("k3", 1, "in_doubt", False),
    ]
    assert document["attempts"][0]["took_s"] == 1.0
    assert document["attempts"][0]["tokens"] == Usage(10, 5).kinds()
    assert document["attempts"][3]["took_s"] is None
    assert document["sources"]["notes"] == {"items": 0, "error": "transient: gone"}
    text = "\n".join(history_lines(history))
    assert "error    source notes failed after 3 tries: gone" in text
    assert "source   notes: 0 items, failed: transient: gone" in text
    assert "attempts 4 at 3 calls" in text
    assert "attempt 1 at main: answered in 1.0 s, billed 10 + 5 tokens, $0.2500" in text
    assert "attempt 1 at main: refused in 1.0 s, not billed: it was refused" in text
    assert "attempt 1 at main: in doubt: its outcome is unknown, perhaps billed" in text
    assert "in doubt: 2 of these may have been sent" in text


def test_an_attempt_without_an_end_is_in_flight_while_the_owner_of_the_run_is_alive(desk):
    desk.accept("t1")
    desk.tell_all(
        intent(1), intent(2, number=2), intent(3, "k2"), outcome(3, kind=FailureKind.IN_DOUBT, call="k2")
    )
    history = dataclasses.replace(history_of(desk.store, RUN, "t1"), is_live=True)
    outcomes = [(one["call"], one["number"], one["outcome"]) for one in history_document(history)["attempts"]]
    assert outcomes == [("k1", 1, "in_doubt"), ("k1", 2, "in_flight"), ("k2", 1, "in_doubt")]
    text = "\n".join(history_lines(history))
    assert "attempt 2 at main: in flight\n" in text
    assert "in doubt: 2 of these may have been sent" in text


def test_why_knows_the_sources_of_a_task_that_has_not_ended_and_that_it_was_reopened(desk):
    desk.accept("t1")
    desk.tell(Collected(RUN, "t1", (Fetched("wire", (Item("wire-1", "wire", "x"),)), Fetched("notes", ()))))
    history = history_of(desk.store, RUN, "t1")
    assert history_document(history)["sources"]["wire"] == {"items": 1, "error": None}
    assert history_document(history)["report"] is None
    assert "attempts none: no request was sent to an endpoint" in list(history_lines(history))
    desk.tell(Finish(RUN, whole("t1", TaskState.FAILED)))
    ended_at = history_of(desk.store, RUN, "t1").task.ended_at
    desk.tell(Reopen(RUN, "t1", ended_at))
    assert "; it had failed before" in "\n".join(history_lines(history_of(desk.store, RUN, "t1")))


def test_a_task_that_is_not_there_is_told_in_words(desk):
    with pytest.raises(ConfigError, match="run r1 has no task 'nope'"):
        history_of(desk.store, RUN, "nope")


def test_text_of_strangers_forges_no_line_and_moves_no_cursor(desk):
    desk.accept(EVIL)
    desk.tell(Finish(RUN, whole(EVIL, TaskState.FAILED, (EVIL,))))
    for line in history_lines(history_of(desk.store, RUN, EVIL)):
        assert "\x1b" not in line
        assert "\n" not in line


def test_reports_come_in_order_of_acceptance_whatever_order_they_ended_in(desk, monkeypatch):
    monkeypatch.setattr("cluster.records.reading._PAGE", 2)
    keys = ["z", "a", "m", "b", "y"]
    desk.accept(*keys)
    for key in ("b", "z", "y", "m"):
        desk.tell(Finish(RUN, whole(key)))
    assert [one.key for _, one in all_ended(desk.store, RUN)] == ["z", "m", "b", "y"]


def test_a_document_may_hold_what_no_text_can(capsys):
    print_json({"key": "lone \ud800", "rows": [("a",), {"\udfff": 1}]})
    assert json.loads(capsys.readouterr().out) == {"key": "lone ?", "rows": [["a"], {"?": 1}]}


def test_a_document_holds_no_character_that_a_terminal_obeys(capsys):
    text = MARKS
    print_json({text: [text]})
    printed = capsys.readouterr().out
    assert not set(printed) & set(MARKS)
    assert json.loads(printed) == {text: [text]}

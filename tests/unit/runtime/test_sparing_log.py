"""What happens again and again is logged once in a while, and hides nothing else."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from actors.core.messages.delivery import Delivery, Hello
from actors.runtime.sparing_log import SparingLog
from actors.transport import inbox
from actors.transport.inbox import Inbox
from tests.unit.support.courier_target import turns


class Wordless(Exception):  # noqa: N818 - a defect of its own
    def __str__(self):
        raise RuntimeError("no text")


class Book:
    """A sparing log with a clock, and the lines that it wrote."""

    def __init__(self):
        self.now = 0.0
        self.lines = []
        self.log = SparingLog(SimpleNamespace(log=self.note), clock=lambda: self.now)

    def note(self, level, message, *arguments, exc_info):
        self.lines.append(message % arguments)

    def write(self, message, error=None, cause=None):
        self.log.write(logging.ERROR, "%s", message, error=error, cause=cause)


@pytest.fixture
def book():
    return Book()


def test_one_kind_of_trouble_is_one_line_in_ten_seconds_that_counts_the_others(book):
    for _ in range(100):
        book.write("away", ConnectionError("away"))
        book.now += 0.25
    assert book.lines == ["away", *["away (39 similar messages suppressed)"] * 2]


@pytest.mark.parametrize(
    "other",
    [ZeroDivisionError("first"), KeyError("second"), Wordless()],
    ids=lambda error: type(error).__name__,
)
def test_another_defect_within_the_time_is_logged(book, other):
    for error in (KeyError("first"), other, KeyError("first"), other):
        book.write("failed", error)
    assert book.lines == ["failed"] * 2


def test_a_text_tells_kinds_apart_by_its_first_line(book):
    for cause in ("a\n1", "a\n2", "b"):
        book.write(cause, cause=cause)
    assert book.lines == ["a\n1", "b"]


def test_troubles_that_all_differ_share_one_line_beyond_a_number_of_kinds(book):
    for n in range(1000):
        book.write(str(n), ValueError(n))
    assert book.lines == [str(n) for n in range(17)]
    book.now = 11.0
    for n in range(1000):
        book.write(str(n), ValueError(n))
    assert len(book.lines) == 2 * 17
    assert len(book.log._kinds) == 16


async def test_a_second_defect_of_an_actor_is_logged_beside_the_first(monkeypatch, book):
    """Its reply said that the log has it, and the log had the first one only."""
    monkeypatch.setattr(inbox, "_sparing", book.log)

    def on_item(item, reply):
        raise KeyError("first") if item == "a" else ZeroDivisionError("second")

    visit = Inbox(on_item, interval_s=0.0).greet(Hello("caller", 1), lambda replies: None)
    visit.deliver(Delivery(((1, "a"), (2, "a"), (3, "b")), ()))
    await turns()
    assert book.lines == ["handling str failed"] * 2

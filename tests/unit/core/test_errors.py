"""What errors say to people: never nothing."""

from __future__ import annotations

import pytest

from actors.core.errors import Blame, HeadraceError, StoreUnavailableError, text_of
from actors.core.messages.attempts import AttemptEnded
from actors.llm.call_recorder import _unstored
from cluster.records.run_journal import RunJournal


@pytest.mark.parametrize("error", [StoreUnavailableError(), StoreUnavailableError(""), HeadraceError()])
def test_an_error_without_a_text_says_its_type(error):
    assert str(error) == text_of(error) == type(error).__name__
    assert error.failure().message == type(error).__name__


def test_any_other_error_without_a_text_says_its_type():
    assert text_of(TimeoutError()) == "TimeoutError"
    assert text_of(OSError(" ")) == "OSError"
    assert text_of(OSError(28, "No space left on device")) == "[Errno 28] No space left on device"


class _MuteError(Exception):
    def __str__(self):
        raise ValueError("no text")


def test_an_error_whose_text_cannot_be_made_says_its_type():
    assert text_of(_MuteError()) == "_MuteError"


async def test_the_end_of_a_run_that_cannot_be_stored_has_a_cause(caplog):
    class Silent:
        async def call(self, message):
            raise TimeoutError

    journal = RunJournal(Silent(), "r1")
    with pytest.raises(
        StoreUnavailableError, match="the end of run r1 could not be stored: no answer within"
    ):
        await journal.end("interrupted", {}, within_s=5.0)


def test_what_could_not_be_recorded_says_why():

    ended = _unstored(AttemptEnded(1), TimeoutError())
    assert ended.error.message.endswith("TimeoutError")
    assert ended.error.blame is Blame.UNKNOWN

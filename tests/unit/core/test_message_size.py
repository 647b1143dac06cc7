"""What a message is taken to weigh is near to what it weighs once it is pickled, whatever it holds."""

from __future__ import annotations

import pickle

import pytest

from actors.core.errors import SourceError
from actors.core.message_size import weight
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.journal import AttemptOutcome, ReadRun
from actors.core.messages.tasks import Fetched, Item

TEXT = "".join(map(chr, range(32, 127))) * 1000


@pytest.mark.parametrize(
    "message",
    [
        TEXT,
        TEXT.encode(),
        "é漢" * 10_000,
        AttemptOutcome(
            "run", "task", "key", AttemptEnded(1, {"finding": TEXT, "parts": [TEXT, {"b": TEXT + "!"}]})
        ),
        Fetched("wire", tuple(Item(f"i{n}", "wire", TEXT + str(n), {"more": TEXT}) for n in range(3))),
        Item("i", "wire", "é漢" * 10_000),
        SourceError(TEXT),
        ReadRun(TEXT),
        [list(range(1000)), dict.fromkeys(range(1000), 0.5), {TEXT}, None, True],
    ],
    ids=["text", "bytes", "wide text", "outcome", "items", "wide item", "error", "one field", "plain values"],
)
def test_what_is_large_weighs_about_what_it_takes_pickled(message):
    pickled = len(pickle.dumps(message, 5))
    assert pickled / 2 <= weight(message) <= 5 * pickled


def test_a_thing_of_an_unknown_kind_weighs_something():
    assert weight(object()) > 0

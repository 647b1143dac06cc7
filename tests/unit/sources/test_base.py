"""From what a source found to items that can be cited."""

from __future__ import annotations

import pytest

from actors.core.errors import Blame, SourceBoundError
from actors.sources.base import SourceSettings
from actors.sources.items import make_items
from actors.sources.records import Oversize

WIRE = SourceSettings(name="wire")


def test_an_item_is_named_by_its_own_id_or_by_its_place():
    items = make_items(WIRE, [{"id": "a", "text": "x"}, {"text": "y"}, {"id": None, "text": "z"}])
    assert [item.id for item in items] == ["wire:a", "wire:1", "wire:2"]


def test_no_two_items_share_an_id_whatever_the_records_call_themselves():
    items = make_items(WIRE, [{"id": name} for name in ("a#2", "a", "a", "a", "a#2#4", "a#2")])
    assert len({item.id for item in items}) == 6


def test_all_but_text_and_id_become_fields():
    (item,) = make_items(WIRE, [{"id": 7, "text": None, "rating": 3}])
    assert (item.text, item.fields) == ("", {"rating": 3})


def test_an_item_that_is_too_large_fails_alone_and_says_what_to_do():
    settings = SourceSettings(name="wire", max_item_bytes=100)
    small, large, unread = make_items(
        settings, [{"id": "a", "text": "x"}, {"id": "b", "n": "y" * 100}, Oversize("c", 5000)]
    )
    assert (small.text, small.error) == ("x", None)
    assert (large.id, large.text, large.fields, large.error.blame) == ("wire:b", "", {}, Blame.LIMIT)
    assert large.error.message == (
        "the item has 117 bytes, more than max_item_bytes = 100; split it, or raise "
        "sources.wire.max_item_bytes"
    )
    assert (unread.id, "5,000 bytes" in unread.error.message) == ("wire:c", True)


def test_the_id_of_an_item_that_is_too_large_is_cut():
    (item,) = make_items(SourceSettings(name="wire", max_item_bytes=300), [{"id": "x" * 1000, "text": ""}])
    assert len(item.id) == len("wire:") + 200


def test_an_item_that_cannot_be_written_as_json_fails_alone():
    first, second = make_items(WIRE, [{"text": "\ud800"}, {"text": "good"}])
    assert "JSON" in first.error.message
    assert second.error is None


@pytest.mark.parametrize("bound", ["max_items", "max_fetch_bytes"])
def test_a_fetch_beyond_a_bound_is_an_error_and_reads_no_further(bound):
    asked = []

    def records():
        for number in range(1_000_000):
            asked.append(number)
            yield {"id": "", "text": "x"}

    with pytest.raises(SourceBoundError, match=rf"{bound} = 30[; ].*raise sources\.wire\.{bound}") as caught:
        make_items(SourceSettings(name="wire", **{bound: 30}), records())
    assert caught.value.failure().blame is Blame.LIMIT
    assert len(asked) < 40

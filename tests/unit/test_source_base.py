"""From what a source found to items that can be cited."""

from __future__ import annotations

from actors.sources.base import make_items


def test_an_item_is_named_by_its_own_id_or_by_its_place():
    items = make_items("wire", [{"id": "a", "text": "x"}, {"text": "y"}, {"id": None, "text": "z"}])
    assert [item.id for item in items] == ["wire:a", "wire:1", "wire:2"]


def test_no_two_items_share_an_id_whatever_the_records_call_themselves():
    items = make_items("wire", [{"id": name} for name in ("a#2", "a", "a", "a", "a#2#4", "a#2")])
    assert len({item.id for item in items}) == 6


def test_all_but_text_and_id_become_fields():
    (item,) = make_items("wire", [{"id": 7, "text": None, "rating": 3}])
    assert (item.text, item.fields) == ("", {"rating": 3})

"""What all stores share: ranges, seals and fences; and settings that do not tell passwords."""

from __future__ import annotations

import pickle
import sys

import pytest

from actors.core.errors import ConfigError, FencedError, StoreError
from actors.core.journal.batch import WriteBatch
from actors.journal.stores.base import check_fences, check_limit, checked, seal
from actors.journal.stores.opening import (
    MemorySettings,
    PostgresSettings,
    RedisSettings,
    SqliteSettings,
    open_store,
)


def test_a_sealed_value_comes_back():
    assert checked(b"k", seal(b"k", b"value"), "file") == b"value"
    assert checked(b"k", seal(b"k", b""), "file") == b""


@pytest.mark.parametrize(
    "stored", [b"", b"abc", seal(b"other", b"value"), seal(b"k", b"value")[:-1], b"x" + seal(b"k", b"value")]
)
def test_a_value_that_was_not_written_for_its_key_is_damage_that_names_the_file_and_the_key(stored):
    with pytest.raises(StoreError, match=r"file\.db is damaged: the value of key b'k'"):
        checked(b"k", stored, "file.db")


def test_every_flipped_bit_breaks_the_seal():
    sealed = seal(b"k", b"value")
    for bit in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreError):
            checked(b"k", bytes(flipped), "file")


OWN = WriteBatch(puts={b"w": b"me:2", b"x": b"1"}, fences={b"w": b"me:1", b"r": None})


def test_fences_that_hold_let_a_batch_pass():
    check_fences(OWN, {b"w": b"me:1", b"r": None}, "here")


def test_a_batch_that_was_applied_before_passes_its_own_fences():
    check_fences(OWN, {b"w": b"me:2", b"r": None}, "here")
    removal = WriteBatch(deletions=[(b"w", b"x")], fences={b"w": b"me:1"})
    check_fences(removal, {b"w": None}, "here")


@pytest.mark.parametrize(
    "stored",
    [
        {b"w": b"other", b"r": None},
        {b"w": None, b"r": None},
        {b"w": b"me:1", b"r": b""},
        {b"w": b"me:2", b"r": b"y"},
    ],
)
def test_any_other_value_is_another_owner(stored):
    with pytest.raises(FencedError, match=r"another owner has taken over .* here: key b'[wr]'"):
        check_fences(OWN, stored, "here")


def test_fences_that_hold_partly_before_and_partly_after_the_batch_are_another_owners_doing():
    batch = WriteBatch(puts={b"a": b"2", b"b": b"2"}, fences={b"a": b"1", b"b": b"1"})
    with pytest.raises(FencedError):
        check_fences(batch, {b"a": b"1", b"b": b"2"}, "here")


def test_the_values_of_fences_are_not_told():
    with pytest.raises(FencedError) as caught:
        check_fences(OWN, {b"w": b"hidden", b"r": None}, "here")
    assert "hidden" not in str(caught.value)
    assert "me:1" not in str(caught.value)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_scan_of_nothing_or_without_an_end_is_refused(limit):
    with pytest.raises(ValueError, match="at least 1"):
        check_limit(limit)


ALL_SETTINGS = [
    SqliteSettings("a/b.db"),
    PostgresSettings("postgresql://u:hidden@h/d"),
    RedisSettings("redis://u:hidden@h:1/0"),
    MemorySettings(),
]


@pytest.mark.parametrize("settings", ALL_SETTINGS)
def test_settings_travel_and_show_no_password(settings):
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize(
    ("settings", "package", "extra"),
    [(ALL_SETTINGS[1], "psycopg", "postgres"), (ALL_SETTINGS[2], "redis", "redis")],
)
def test_a_missing_driver_is_an_error_that_says_how_to_install_it(monkeypatch, settings, package, extra):
    monkeypatch.delitem(sys.modules, f"actors.journal.stores.{extra}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"the package {package}.*pip install 'headrace\[{extra}\]'"):
        open_store(settings)


@pytest.mark.parametrize(
    "settings",
    [
        PostgresSettings("postgresql://u:hid%den@h/d"),
        PostgresSettings("nonsense hidden"),
        RedisSettings("http://u:hidden@h/0"),
        RedisSettings("redis://u:hidden@h:port/0"),
    ],
)
def test_an_address_that_is_none_is_an_error_without_the_address(settings):
    with pytest.raises(ConfigError, match="is not an address of") as caught:
        open_store(settings)
    assert "hid" not in str(caught.value)
    assert caught.value.__cause__ is None

"""The ledger of a simulated endpoint."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs

from simulators.ledger import LedgerEntry, LedgerWriter, Phase, Sums, read_ledger


def entry(seq: int = 1, **changes) -> LedgerEntry:
    usual = LedgerEntry(
        seq=seq,
        t_in=1.0,
        t_out=2.0,
        key=f"k{seq}",
        attempt=1,
        phase=Phase.SENT,
        status=200,
        fault=None,
        input_tokens=10,
        output_tokens=5,
        billed=1,
        in_flight=1,
        retry_after=None,
        not_before_violated=False,
        body="0123456789abcdef",
    )
    return structs.replace(usual, **changes)


ENTRIES = [
    entry(1, in_flight=3, cached_tokens=4, reasoning_tokens=3),
    entry(2, phase=Phase.REFUSED, status=429, billed=0, input_tokens=0, output_tokens=0, retry_after="1"),
    entry(3, key="k2", attempt=2, phase=Phase.CLIENT_GONE, status=0, fault="late", not_before_violated=True),
    entry(4, key="k1", attempt=2, phase=Phase.REPLAYED, billed=0, input_tokens=0, output_tokens=0),
]


def test_entries_are_added_up():
    sums = Sums()
    for one in ENTRIES:
        sums.add(one)
    assert sums.as_dict() == {
        "requests": 4,
        "billed": 2,
        "input_tokens": 20,
        "output_tokens": 10,
        "cached_tokens": 4,
        "reasoning_tokens": 3,
        "refused": 1,
        "replayed": 1,
        "distinct_keys": 2,
        "max_in_flight": 3,
        "retry_after_violations": 1,
        "by_status": {"0": 1, "200": 2, "429": 1},
        "by_fault": {"late": 1},
    }


async def test_what_is_written_is_read_back_and_adds_up_to_the_same(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with LedgerWriter(path) as ledger:
        for one in ENTRIES:
            ledger.append(one)
    found = read_ledger(path)
    assert found.entries == tuple(ENTRIES)
    assert found.torn == 0
    assert found.sums() == ledger.sums
    assert {key: [e.seq for e in group] for key, group in found.by_key().items()} == {
        "k1": [1, 4],
        "k2": [2, 3],
    }


async def test_entries_reach_the_file_by_one_timer_without_being_flushed(tmp_path, monkeypatch):
    timers = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda delay, call: timers.append((delay, call)) or FakeTimer())
    path = tmp_path / "ledger.jsonl"
    with LedgerWriter(path) as ledger:
        ledger.append(ENTRIES[0])
        ledger.append(ENTRIES[1])
        assert path.read_bytes() == b""
        ((delay, flush),) = timers
        assert delay <= 0.05
        flush()
        assert read_ledger(path).entries == tuple(ENTRIES[:2])
        ledger.append(ENTRIES[2])
        assert len(timers) == 2


class FakeTimer:
    def cancel(self):
        pass


async def test_a_ledger_is_appended_to_and_a_torn_line_costs_no_other(tmp_path):
    path = tmp_path / "ledger.jsonl"
    for one in ENTRIES[:2]:
        with LedgerWriter(path) as ledger:
            ledger.append(one)
    path.write_bytes(path.read_bytes()[:-20])
    with LedgerWriter(path) as ledger:
        ledger.append(ENTRIES[2])
    found = read_ledger(path)
    assert found.entries == (ENTRIES[0], ENTRIES[2])
    assert found.torn == 1


def test_a_line_that_is_no_entry_is_an_error(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"seq": 1}\n')
    with pytest.raises(ValueError, match="not an entry"):
        read_ledger(path)


def test_without_a_file_entries_are_still_added_up():
    with LedgerWriter(None) as ledger:
        ledger.append(ENTRIES[0])
        assert ledger.sums.requests == 1

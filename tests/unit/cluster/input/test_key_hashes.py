"""A set of hashes says of each whether it is new, in little memory."""

from __future__ import annotations

import random
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from cluster.input.key_hashes import KeyHashes


@given(st.lists(st.integers(2, 2**64 - 1) | st.integers(2, 5) | st.sampled_from([1 << 63, 1024, 2048])))
def test_a_hash_is_new_once(values):
    hashes, seen = KeyHashes(), set()
    for value in values:
        assert hashes.add(value) is (value not in seen)
        seen.add(value)
    assert len(hashes) == len(seen)


def test_hashes_are_kept_while_the_table_grows_and_take_at_most_24_bytes_each():
    chance = random.Random(1)
    values = [chance.getrandbits(64) for _ in range(20_000)]
    tracemalloc.start()
    hashes = KeyHashes()
    assert all(map(hashes.add, values))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not any(map(hashes.add, values))
    assert size / len(values) < 24 + 1


def test_zero_is_a_hash():
    hashes = KeyHashes()
    assert (hashes.add(0), hashes.add(0)) == (True, False)

"""The contract of a store."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from actors.core.errors import FencedError
from actors.journal.stores.base import Store, WriteBatch
from headrace.contracts.rules import check, raises

DoneT = TypeVar("DoneT")
_WITHIN_S = 100.0
_ALL = (b"", b"\xff" * 9)
_KEYS = (b"", *(bytes([n]) for n in (0, 10, 37, 65, 97, 127, 128, 255)), b"\x00\x00", b"\x00\xff", b"a\x00")


class StoreContract:
    """The contract of a store. `is_shared`: each call of `open_store` opens the same store.

    The store is empty at the first call of `open_store` in each test.
    """

    is_shared = True

    def open_store(self) -> Store:
        """Open the store, once more if it is open."""
        raise NotImplementedError

    def test_what_was_put_is_there_and_what_was_not_is_not(self) -> None:
        """A key without a value has none, which is not the empty value."""
        with self._opened() as (store,):
            store.commit(WriteBatch({b"a": b"1", b"b": b""}))
            found = [store.get(key) for key in (b"a", b"b", b"c")]
            check(found == [b"1", b"", None], "get returns the value that was put, else None", found)
            store.commit(WriteBatch({b"a": b"2"}))
            check(store.get(b"a") == b"2", "a later value replaces an earlier one")

    def test_any_bytes_are_keys_and_values_and_keys_are_ordered_as_bytes(self) -> None:
        """The order of keys is how the journal finds what belongs together."""
        with self._opened() as (store,):
            store.commit(WriteBatch({key: bytes(range(256)) + key for key in reversed(_KEYS)}))
            wanted = [(key, bytes(range(256)) + key) for key in sorted(_KEYS)]
            check(_everything(store) == wanted, "keys are ordered bytewise", _everything(store))

    def test_a_scan_begins_at_its_low_key_ends_before_its_high_key_and_keeps_its_limit(self) -> None:
        """`scan_keys` returns the keys of `scan`."""
        with self._opened() as (store,):
            store.commit(WriteBatch({b"%03d" % n: b"%d" % n for n in range(100)}))
            found = store.scan(b"010", b"013", 9)
            check(found == [(b"010", b"10"), (b"011", b"11"), (b"012", b"12")], "scan is [low, high)", found)
            check(store.scan(b"5", b"1", 9) == [], "a scan from a higher key to a lower one is empty")
            first = [key for key, _ in store.scan(*_ALL, 40)]
            check(first == [b"%03d" % n for n in range(40)], "scan returns the first `limit` pairs", first)
            check(store.scan_keys(*_ALL, 40) == first, "scan_keys returns the keys of scan")
            with raises(ValueError, "a limit below 1 raises ValueError"):
                store.scan(*_ALL, 0)

    def test_deletions_take_their_ranges_and_come_before_puts(self) -> None:
        """A batch can replace a range."""
        with self._opened() as (store,):
            store.commit(WriteBatch(dict.fromkeys((b"a", b"b", b"b1", b"c", b"d"), b"old")))
            store.commit(WriteBatch({b"b": b"new"}, [(b"b", b"c"), (b"d", b"e"), (b"x", b"a")]))
            wanted = [(b"a", b"old"), (b"b", b"new"), (b"c", b"old")]
            check(_everything(store) == wanted, "deletions come first, then puts", _everything(store))

    def test_a_batch_whose_fence_does_not_hold_changes_nothing(self) -> None:
        """Fences keep a process from writing after another one took its run over."""
        with self._opened() as (store,):
            store.commit(WriteBatch({b"w": b"me", b"old": b"1"}))
            for fences in ({b"w": b"you"}, {b"w": None}, {b"none": b""}, {b"w": b"me", b"none": b"x"}):
                with raises(FencedError, f"a fence that does not hold raises FencedError: {fences}"):
                    store.commit(WriteBatch({b"a": b"1"}, [(b"old", b"ole")], fences))
            unchanged = _everything(store) == [(b"old", b"1"), (b"w", b"me")]
            check(unchanged, "a fenced batch changes nothing", _everything(store))
            for fences in ({b"w": b"me"}, {b"none": None}):
                store.commit(WriteBatch({b"a": b"1"}, fences=fences))
            check(store.get(b"a") == b"1", "a batch whose fences hold is applied")

    def test_a_batch_can_be_committed_again(self) -> None:
        """After a lost connection the journal does not know whether the batch was applied."""
        with self._opened() as (store,):
            store.commit(WriteBatch({b"w": b"1", b"g": b"1"}))
            claim = WriteBatch({b"w": b"2", b"n": b"2"}, [(b"g", b"h")], {b"w": b"1", b"n": None, b"g": b"1"})
            store.commit(claim)
            store.commit(claim)
            wanted = [(b"n", b"2"), (b"w", b"2")]
            check(_everything(store) == wanted, "a repeated batch has no further effect", _everything(store))
            store.commit(WriteBatch({b"w": b"3"}, fences={b"w": b"2"}))
            with raises(FencedError, "a batch is not applied again after its fenced keys were changed"):
                store.commit(claim)

    def test_long_keys_and_values_and_large_batches_are_stored(self) -> None:
        """The journal writes values of megabytes, and thousands of rows in one batch."""
        with self._opened() as (store,):
            rows = {b"k" * 1000: b"v" * 3_000_000, **{b"n%05d" % n: b"x" * 300 for n in range(5000)}}
            store.commit(WriteBatch(rows))
            check(_everything(store) == sorted(rows.items()), "large values and batches are stored")
            store.commit(WriteBatch(deletions=[(b"n", b"o")]))
            check(len(_everything(store)) == 1, "large ranges are deleted")

    def test_random_batches_leave_what_they_leave_in_a_dictionary(self) -> None:
        """The model of a store is a dictionary that is scanned in the order of its keys."""
        rng, model = random.Random(1), dict[bytes, bytes]()
        with self._opened() as (store,):
            for _ in range(100):
                batch = _random_batch(rng, model)
                if all(model.get(key) == value for key, value in batch.fences.items()):
                    store.commit(batch)
                    model = _applied(model, batch)
                elif not any(key in batch.puts for key in batch.fences) and not batch.deletions:
                    with raises(FencedError, f"fences do not hold: {batch}"):
                        store.commit(batch)
                check(_everything(store) == sorted(model.items()), f"after {batch}", _everything(store))

    def test_what_was_committed_is_there_after_opening_again(self) -> None:
        """Changes are durable when `commit` returns."""
        if self.is_shared:
            with self._opened() as (store,):
                store.commit(WriteBatch({b"a": b"1"}))
                store.close()  # closing again does nothing
            with self._opened() as (store,):
                check(_everything(store) == [(b"a", b"1")], "committed rows last", _everything(store))

    def test_what_one_committed_another_reads_at_once(self) -> None:
        """Commands read the store of a run in progress."""
        if self.is_shared:
            with self._opened(2) as (one, other):
                for n in range(5):
                    one.commit(WriteBatch({b"n": b"%d" % n}))
                    check(other.get(b"n") == b"%d" % n, "another connection reads committed rows")

    def test_a_snapshot_keeps_the_rows_of_its_moment(self) -> None:
        """A backup is consistent although a run goes on."""
        with self._opened(2 if self.is_shared else 1) as stores:
            stores[0].commit(WriteBatch({b"%03d" % n: b"old" for n in range(100)}))
            with stores[0].snapshot() as snapshot:
                first = snapshot.scan(*_ALL, 10)
                if self.is_shared:
                    stores[1].commit(
                        WriteBatch({b"%03d" % n: b"new" for n in range(50, 150)}, [(b"0", b"01")])
                    )
                rest = snapshot.scan(first[-1][0] + b"\0", _ALL[1], 1000)
                wanted = [(b"%03d" % n, b"old") for n in range(100)]
                check(first + rest == wanted, "a snapshot shows no later commit", first + rest)
                check(snapshot.get(b"070") == b"old", "get reads the snapshot too")
                check(len(snapshot.scan_keys(*_ALL, 1000)) == 100, "scan_keys reads the snapshot too")
            if self.is_shared:
                check(stores[0].get(b"070") == b"new", "after the snapshot a store reads later commits")

    def test_of_those_that_claim_a_key_at_the_same_time_one_gets_it(self) -> None:
        """Two processes must not own one run."""
        if not self.is_shared:
            return
        with self._opened(3) as stores:
            for turn in range(10):
                before = stores[0].get(b"w")

                def claim(number: int, before: bytes | None = before, turn: int = turn) -> bytes | None:
                    own = b"%d:%d" % (number, turn)
                    try:
                        stores[number].commit(WriteBatch({b"w": own}, fences={b"w": before}))
                    except FencedError:
                        return None
                    return own

                won = [own for own in _at_once(claim, len(stores)) if own is not None]
                check(len(won) == 1, "of several claims of a key one succeeds", won)
                check(stores[0].get(b"w") == won[0], "the key has the value of the claim that succeeded")

    def test_those_that_write_different_keys_at_the_same_time_all_succeed(self) -> None:
        """Several runs use one store."""
        if not self.is_shared:
            return
        with self._opened(3) as stores:

            def write(number: int) -> None:
                owner = b"w%d" % number
                stores[number].commit(WriteBatch({owner: b"me"}, fences={owner: None}))
                for n in range(20):
                    stores[number].commit(WriteBatch({b"k%d:%02d" % (number, n): b""}, fences={owner: b"me"}))

            _at_once(write, len(stores))
            check(len(_everything(stores[0])) == 3 * 21, "no write of a writer is lost")

    @contextlib.contextmanager
    def _opened(self, count: int = 1) -> Iterator[list[Store]]:
        with contextlib.ExitStack() as stack:
            stores = []
            for _ in range(count):
                stores.append(self.open_store())
                stack.callback(stores[-1].close)
            yield stores


def _everything(store: Store) -> list[tuple[bytes, bytes]]:
    return store.scan(*_ALL, 100_000)


def _random_batch(rng: random.Random, model: dict[bytes, bytes]) -> WriteBatch:
    def keys(most: int) -> list[bytes]:
        return [rng.choice(_KEYS) for _ in range(rng.randint(0, most))]

    deletions = [(rng.choice(_KEYS), rng.choice(_KEYS)) for _ in range(rng.randint(0, 2))]
    fences = {key: model.get(key) if rng.random() < 0.7 else b"other" for key in keys(2)}
    return WriteBatch({key: rng.randbytes(rng.randint(0, 3)) for key in keys(5)}, deletions, fences)


def _applied(model: dict[bytes, bytes], batch: WriteBatch) -> dict[bytes, bytes]:
    kept = {k: v for k, v in model.items() if not any(low <= k < high for low, high in batch.deletions)}
    return {**kept, **batch.puts}


def _at_once(work: Callable[[int], DoneT], count: int) -> list[DoneT]:
    start = threading.Barrier(count)

    def started(number: int) -> DoneT:
        start.wait(_WITHIN_S)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(started, range(count)))

"""What every store promises, on all four kinds: order, atomic batches, fences, and that all of it lasts."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.core.errors import FencedError, StoreUnavailableError
from actors.core.journal.batch import WriteBatch
from actors.journal.stores.opening import (
    MemorySettings,
    PostgresSettings,
    RedisSettings,
    SqliteSettings,
    open_store,
)

ALL = (b"", b"\xff" * 9)
LASTING = ["sqlite", "postgres", "redis"]


def make_settings(kind, request):
    """Return settings for an empty store."""
    match kind:
        case "sqlite":
            return SqliteSettings(str(request.getfixturevalue("tmp_path") / "state.db"))
        case "postgres":
            server = request.getfixturevalue("postgres_server")
            server.run("DROP TABLE IF EXISTS headrace_kv, headrace_schema")
            return PostgresSettings(server.url)
        case "redis":
            server = request.getfixturevalue("redis_server")
            with closing(redis.Redis.from_url(server.url)) as client:
                client.flushall()
            return RedisSettings(server.url)
        case _:
            return MemorySettings()


@pytest.fixture(params=[*LASTING, "memory"])
def store(request):
    with closing(open_store(make_settings(request.param, request))) as store:
        yield store


@pytest.fixture(params=LASTING)
def reopen(request):
    """Return what opens the same store once more; every one is closed in the end."""
    chosen = make_settings(request.param, request)
    opened = []

    def reopen():
        opened.append(open_store(chosen))
        return opened[-1]

    yield reopen
    for each in opened:
        each.close()


def everything(store):
    return store.scan(*ALL, 100_000)


# ---- one store -------------------------------------------------------------------------------------------


def test_what_was_put_is_there_and_what_was_not_is_not(store):
    store.commit(WriteBatch({b"a": b"1", b"b": b""}))

    assert store.get(b"a") == b"1"
    assert store.get(b"b") == b""
    assert store.get(b"c") is None
    assert store.notes() == ()


def test_a_later_value_replaces_an_earlier_one(store):
    store.commit(WriteBatch({b"a": b"1"}))
    store.commit(WriteBatch({b"a": b"2"}))

    assert everything(store) == [(b"a", b"2")]


def test_any_bytes_are_keys_and_values_and_keys_are_ordered_as_bytes(store):
    keys = [
        b"",
        b"\x00",
        b"\x00\x00",
        b"\x00\xff",
        b"%s",
        b"A",
        b"a",
        b"a\x00",
        b"a\n",
        b"\x7f",
        b"\x80",
        b"\xc3\xa4",
        b"\xff",
    ]
    store.commit(WriteBatch({key: bytes(range(256)) + key for key in reversed(keys)}))

    assert everything(store) == [(key, bytes(range(256)) + key) for key in sorted(keys)]


def test_a_scan_begins_at_its_low_key_and_ends_before_its_high_one(store):
    store.commit(WriteBatch({b"a": b"a", b"b": b"b", b"c": b"c", b"d": b"d"}))

    assert store.scan(b"b", b"d", 9) == [(b"b", b"b"), (b"c", b"c")]
    assert store.scan(b"a\x00", b"b", 9) == []
    assert store.scan(b"d", b"a", 9) == []
    assert store.scan_keys(b"b", b"d", 9) == [b"b", b"c"]
    assert store.scan_keys(b"b", b"d", 1) == [b"b"]
    assert store.scan_keys(b"d", b"a", 9) == []


def test_a_scan_returns_the_first_of_many_and_goes_on_behind_them(store):
    store.commit(WriteBatch({b"%03d" % n: b"" for n in range(100)}))
    first = store.scan(*ALL, 40)

    assert [key for key, _ in first] == [b"%03d" % n for n in range(40)]
    assert store.scan(first[-1][0] + b"\x00", b"\xff", 1) == [(b"040", b"")]
    with pytest.raises(ValueError, match="at least 1"):
        store.scan(*ALL, 0)


def test_deletions_take_their_ranges_and_come_before_puts(store):
    store.commit(WriteBatch(dict.fromkeys((b"a", b"b", b"b1", b"c", b"d"), b"old")))
    store.commit(WriteBatch({b"b": b"new"}, [(b"b", b"c"), (b"d", b"e"), (b"x", b"a")]))

    assert everything(store) == [(b"a", b"old"), (b"b", b"new"), (b"c", b"old")]


def test_an_empty_batch_changes_nothing(store):
    store.commit(WriteBatch({b"a": b"1"}))
    store.commit(WriteBatch())

    assert everything(store) == [(b"a", b"1")]


@pytest.mark.parametrize("fences", [{b"w": b"me"}, {b"none": None}, {b"w": b"me", b"none": None}])
def test_a_batch_passes_where_its_fences_hold(store, fences):
    store.commit(WriteBatch({b"w": b"me"}))
    store.commit(WriteBatch({b"a": b"1"}, fences=fences))

    assert store.get(b"a") == b"1"


@pytest.mark.parametrize(
    "fences", [{b"w": b"you"}, {b"w": None}, {b"none": b""}, {b"w": b"me", b"none": b"x"}]
)
def test_a_batch_that_a_fence_stops_changes_nothing_and_the_store_goes_on(store, fences):
    store.commit(WriteBatch({b"w": b"me", b"old": b"1"}))
    with pytest.raises(FencedError, match="another owner"):
        store.commit(WriteBatch({b"a": b"1"}, [(b"old", b"ole")], fences))

    assert everything(store) == [(b"old", b"1"), (b"w", b"me")]
    store.commit(WriteBatch({b"a": b"1"}))
    assert store.get(b"a") == b"1"


def test_a_batch_can_be_committed_again_also_where_it_changes_what_it_is_fenced_by(store):
    store.commit(WriteBatch({b"w": b"1", b"g": b"1"}))
    claim = WriteBatch({b"w": b"2", b"n": b"2"}, [(b"g", b"h")], {b"w": b"1", b"n": None, b"g": b"1"})
    store.commit(claim)
    store.commit(claim)

    assert everything(store) == [(b"n", b"2"), (b"w", b"2")]
    store.commit(WriteBatch({b"w": b"3"}, fences={b"w": b"2"}))
    with pytest.raises(FencedError):
        store.commit(claim)


def test_long_keys_and_values_and_large_batches_are_stored(store):
    batch = WriteBatch({b"k" * 1000: b"v" * 3_000_000, **{b"n%05d" % n: b"x" * 300 for n in range(5000)}})
    store.commit(batch)

    assert everything(store) == sorted(batch.puts.items())
    store.commit(WriteBatch(deletions=[(b"n", b"o")]))
    assert len(everything(store)) == 1


# ---- the model: a dictionary -----------------------------------------------------------------------------

KEYS = st.lists(st.sampled_from([b"\x00", b"a", b"b", b"\xff"]), max_size=2).map(b"".join)
VALUES = st.binary(max_size=3)
BATCHES = st.builds(
    WriteBatch,
    puts=st.dictionaries(KEYS, VALUES, max_size=5),
    deletions=st.lists(st.tuples(KEYS, KEYS), max_size=2),
    fences=st.dictionaries(KEYS, st.none() | VALUES, max_size=2),
)


def applied(model, batch):
    kept = {k: v for k, v in model.items() if not any(low <= k < high for low, high in batch.deletions)}
    return {**kept, **batch.puts}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.tuples(BATCHES, st.booleans(), KEYS, KEYS, st.integers(1, 4)), max_size=8))
def test_any_batches_leave_what_they_would_leave_in_a_dictionary(store, batches):
    store.commit(WriteBatch(deletions=[ALL]))
    model: dict[bytes, bytes] = {}
    for drawn, holds, low, high, limit in batches:
        fences = {key: model.get(key) for key in drawn.fences} if holds else drawn.fences
        batch = WriteBatch(drawn.puts, drawn.deletions, fences)
        after = applied(model, batch)
        before_holds = all(model.get(key) == value for key, value in fences.items())
        repeated = all(
            model.get(key) == applied({} if value is None else {key: value}, batch).get(key)
            for key, value in fences.items()
        )
        if before_holds or repeated:
            store.commit(batch)
            model = after
        else:
            with pytest.raises(FencedError):
                store.commit(batch)
        assert everything(store) == sorted(model.items())
        inside = sorted((k, v) for k, v in model.items() if low <= k < high)
        assert store.scan(low, high, limit) == inside[:limit]
        assert store.get(low) == model.get(low)


# ---- several that share a store --------------------------------------------------------------------------


def test_what_was_committed_is_there_after_opening_again(reopen):
    first = reopen()
    first.commit(WriteBatch({b"a": b"1", b"b": b"2"}))
    first.commit(WriteBatch({b"c": b"3"}, [(b"b", b"c")]))
    first.close()
    first.close()

    assert everything(reopen()) == [(b"a", b"1"), (b"c", b"3")]


def test_what_one_committed_another_sees_at_once(reopen):
    one, other = reopen(), reopen()
    for n in range(5):
        one.commit(WriteBatch({b"n": b"%d" % n}))
        assert other.get(b"n") == b"%d" % n


def race(stores, work):
    """Have all stores do `work(store, number)` at the same moment; return what each returned."""
    start = threading.Barrier(len(stores))

    def run(number):
        start.wait(100)
        return work(stores[number], number)

    with ThreadPoolExecutor(len(stores)) as pool:
        return list(pool.map(run, range(len(stores))))


def test_of_those_that_claim_the_same_key_at_once_one_gets_it(reopen):
    stores = [reopen() for _ in range(3)]

    for turn in range(10):
        key, before = b"w%d" % (turn % 2), None if turn < 2 else stores[0].get(b"w%d" % (turn % 2))

        def claim(store, number, key=key, before=before, turn=turn):
            own = b"%d:%d" % (number, turn)
            try:
                store.commit(WriteBatch({key: own}, fences={key: before}))
            except FencedError:
                return None
            return own

        [winner] = [own for own in race(stores, claim) if own is not None]
        assert stores[0].get(key) == winner


def test_those_that_write_different_keys_at_once_all_succeed(reopen):
    stores = [reopen() for _ in range(3)]

    def write(store, number):
        owner = b"w%d" % number
        store.commit(WriteBatch({owner: b"me"}, fences={owner: None}))
        for n in range(20):
            store.commit(
                WriteBatch({b"k%d:%02d" % (number, n): b""}, [(b"g%d" % number, b"h")], {owner: b"me"})
            )

    race(stores, write)
    assert len(everything(stores[0])) == 3 * 21


@pytest.mark.parametrize("kind", LASTING)
def test_those_that_make_a_store_at_once_make_one(request, kind):
    for _ in range(3):
        chosen = make_settings(kind, request)
        stores = race([chosen] * 4, lambda settings, _: open_store(settings))
        for number, each in enumerate(stores):
            each.commit(WriteBatch({b"%d" % number: b""}))
        assert len(everything(stores[0])) >= 4
        for each in stores:
            each.close()


# ---- servers that die ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_server_that_was_killed_has_all_that_it_acknowledged_and_is_used_again(request, kind):
    chosen, server = make_settings(kind, request), request.getfixturevalue(f"{kind}_server")
    with closing(open_store(chosen)) as store:
        store.commit(WriteBatch({b"w": b"me"}))
        for n in range(20):
            store.commit(WriteBatch({b"k%02d" % n: b"x" * 1000}, fences={b"w": b"me"}))
        server.kill()
        pending = WriteBatch({b"w": b"me2", b"last": b""}, fences={b"w": b"me"})
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match=f"(?i){kind}.* cannot be used now: "):
                store.commit(pending)
            with pytest.raises(StoreUnavailableError):
                store.get(b"w")
        server.start()
        store.commit(pending)

        assert len(store.scan(b"k", b"l", 100)) == 20
        assert store.get(b"w") == b"me2"

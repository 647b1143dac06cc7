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
from headrace.testing import StoreContract

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


def everything(store):
    return store.scan(*ALL, 100_000)


class TestEveryStore(StoreContract):
    @pytest.fixture(autouse=True, params=[*LASTING, "memory"])
    def _chosen(self, request):
        self.is_shared = request.param != "memory"
        self.settings = make_settings(request.param, request)

    def open_store(self):
        return open_store(self.settings)


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


def race(stores, work):
    """Have all stores do `work(store, number)` at the same moment; return what each returned."""
    start = threading.Barrier(len(stores))

    def run(number):
        start.wait(100)
        return work(stores[number], number)

    with ThreadPoolExecutor(len(stores)) as pool:
        return list(pool.map(run, range(len(stores))))


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

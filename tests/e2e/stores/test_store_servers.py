"""The stores on PostgreSQL and Redis where the server is not as it should be."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis

from actors.core.errors import StoreError, StoreUnavailableError
from actors.core.journal.batch import WriteBatch
from actors.journal.stores import postgres
from actors.journal.stores.postgres import PostgresStore
from actors.journal.stores.redis import RedisStore
from tests.e2e.support.database_servers import DEADLINE_S

ROOT = Path(__file__).resolve().parents[3]

# ---- PostgreSQL ------------------------------------------------------------------------------------------


@pytest.fixture
def pg(postgres_server):
    """Return a server without a store."""
    postgres_server.run("DROP TABLE IF EXISTS headrace_kv, headrace_schema")
    return postgres_server


def backend(store):
    return store._db.info.backend_pid


def shown(store, name):
    return store._db.execute(f"SHOW {name}").fetchone()[0]


def test_commits_are_synchronous_also_where_the_user_is_set_up_otherwise(pg):
    pg.run("ALTER ROLE postgres SET synchronous_commit = off")
    try:
        with closing(PostgresStore(pg.url)) as store:
            assert shown(store, "synchronous_commit") == "on"
    finally:
        pg.run("ALTER ROLE postgres RESET synchronous_commit")


def test_a_server_that_does_not_sync_is_refused(pg):
    def wait_for(value):
        deadline = time.monotonic() + DEADLINE_S
        while True:
            with closing(psycopg.connect(pg.url)) as connection:
                if connection.execute("SHOW fsync").fetchone() == (value,):
                    return
            assert time.monotonic() < deadline

    pg.run("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    try:
        wait_for("off")
        with pytest.raises(StoreError, match=r"may lose what it committed: .* Set fsync = on") as caught:
            PostgresStore(pg.url)
        assert not caught.value.retry
    finally:
        pg.run("ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()")
    wait_for("on")


def test_a_connection_that_the_server_ended_is_replaced_and_the_commit_can_be_made_again(pg):
    with closing(PostgresStore(pg.url)) as store:
        store.commit(WriteBatch({b"w": b"1"}))
        claim = WriteBatch({b"w": b"2"}, fences={b"w": b"1"})
        first = backend(store)
        pg.run(f"SELECT pg_terminate_backend({first}, 5000)")
        with pytest.raises(StoreUnavailableError, match="cannot be used now"):
            store.commit(claim)
        store.commit(claim)

        assert store.get(b"w") == b"2"
        assert backend(store) != first


def test_a_snapshot_whose_connection_is_lost_is_an_error_and_shows_no_later_rows(pg):
    with closing(PostgresStore(pg.url)) as store:
        store.commit(WriteBatch({b"a": b"1"}))

        def read():
            with store.snapshot() as snapshot:
                assert snapshot.get(b"a") == b"1"
                pg.run(f"SELECT pg_terminate_backend({backend(store)}, 5000)")
                return snapshot.scan(b"", b"\xff", 10)

        with pytest.raises(StoreUnavailableError):
            read()
        store.commit(WriteBatch({b"a": b"2"}))
        assert store.get(b"a") == b"2"


def test_a_commit_waits_for_a_lock_no_longer_than_its_deadline(pg, monkeypatch):
    monkeypatch.setattr(postgres, "WAIT_S", 1.0)
    with closing(PostgresStore(pg.url)) as store, closing(psycopg.connect(pg.url)) as other:
        store.commit(WriteBatch({b"w": b"1"}))
        other.execute("SELECT v FROM headrace_kv FOR UPDATE")
        with pytest.raises(StoreUnavailableError, match="statement timeout"):
            store.commit(WriteBatch({b"a": b"1"}, fences={b"w": b"1"}))
        other.rollback()
        store.commit(WriteBatch({b"a": b"1"}, fences={b"w": b"1"}))


# Stops itself in the middle of a commit: to the server it looks like a host that has lost power.
FROZEN_WRITER = """
import os, signal, sys
from actors.core.journal.batch import WriteBatch
from actors.journal.stores import postgres

def stop(*_):
    print("locked", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)

postgres.check_fences = stop
postgres.IDLE_S = 1
postgres.PostgresStore(sys.argv[1]).commit(WriteBatch({b"w": b"2"}, fences={b"w": b"1"}))
"""


def test_a_writer_that_is_lost_in_the_middle_of_a_commit_blocks_its_successor_for_seconds(pg):
    with closing(PostgresStore(pg.url)) as store:
        store.commit(WriteBatch({b"w": b"1"}))
        words = [sys.executable, "-c", FROZEN_WRITER, pg.url]
        with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT) as lost:  # noqa: S603 - our own
            try:
                assert lost.stdout.readline() == b"locked\n"
                store.commit(WriteBatch({b"w": b"3"}, fences={b"w": b"1"}))
            finally:
                lost.kill()
        assert store.get(b"w") == b"3"


def test_a_commit_that_was_taken_for_lost_can_be_made_again(pg, monkeypatch):
    monkeypatch.setattr(postgres, "IDLE_S", 0.1)
    monkeypatch.setattr(postgres, "check_fences", lambda *_: time.sleep(0.5))
    with closing(PostgresStore(pg.url)) as store:
        with pytest.raises(StoreUnavailableError, match="idle-in-transaction timeout"):
            store.commit(WriteBatch({b"w": b"1"}, fences={b"w": None}))
        monkeypatch.undo()
        store.commit(WriteBatch({b"w": b"1"}, fences={b"w": None}))
        assert store.get(b"w") == b"1"


def test_the_server_gives_up_a_connection_whose_other_end_is_silent(pg):
    with closing(PostgresStore(pg.url_of_port)) as store:
        idle, interval, count = (
            int(shown(store, f"tcp_keepalives_{name}")) for name in ("idle", "interval", "count")
        )
        assert idle + interval * count <= 30
        assert shown(store, "tcp_user_timeout") == "30000"
        assert shown(store, "idle_in_transaction_session_timeout") == "10s"


def test_the_settings_of_the_session_hold_also_after_a_lost_connection(pg):
    with closing(PostgresStore(pg.url)) as store:
        before = shown(store, "statement_timeout")
        pg.run(f"SELECT pg_terminate_backend({backend(store)}, 5000)")
        with pytest.raises(StoreUnavailableError):
            store.get(b"a")
        store.get(b"a")

        assert shown(store, "statement_timeout") == before == "30s"


def test_a_database_that_may_only_be_read_is_unavailable(pg):
    with closing(PostgresStore(pg.url)) as store:
        store._db.execute("SET default_transaction_read_only = on")
        with pytest.raises(StoreUnavailableError, match="read-only"):
            store.commit(WriteBatch({b"a": b"1"}))


def test_a_damaged_value_in_postgres_is_named_by_database_and_key(pg):
    with closing(PostgresStore(pg.url)) as store:
        store.commit(WriteBatch({b"a": b"1", b"b": b"2"}))
        pg.run(r"UPDATE headrace_kv SET v = '\x00' WHERE k = 'a'")
        for read in (lambda: store.get(b"a"), lambda: store.scan(b"a", b"b", 1)):
            with pytest.raises(
                StoreError, match=r"database postgres at .* is damaged: the value of key b'a'"
            ):
                read()
        with pytest.raises(StoreError, match="is damaged"):
            store.commit(WriteBatch({b"c": b""}, fences={b"a": b"1"}))
        assert store.get(b"b") == b"2"


def test_a_newer_format_in_postgres_is_refused(pg):
    PostgresStore(pg.url).close()
    pg.run("UPDATE headrace_schema SET version = 7")

    with pytest.raises(StoreError, match="has format version 7; this Headrace reads up to 1"):
        PostgresStore(pg.url)


def test_an_older_format_in_postgres_is_brought_up_to_date_once(pg, monkeypatch):
    with closing(PostgresStore(pg.url)) as store:
        store.commit(WriteBatch({b"a": b"1"}))
    pg.run("DROP TABLE IF EXISTS added")

    def second(connection):
        connection.execute("CREATE TABLE added (n integer)")

    monkeypatch.setattr(postgres, "MIGRATIONS", (*postgres.MIGRATIONS, second))
    for _ in range(2):
        with closing(PostgresStore(pg.url)) as store:
            assert store.get(b"a") == b"1"
    pg.run("DROP TABLE added")


def test_a_statement_that_cannot_work_is_a_permanent_error(pg):
    with closing(PostgresStore(pg.url)) as store:
        pg.run("DROP TABLE headrace_kv")
        with pytest.raises(StoreError, match="does not exist") as caught:
            store.get(b"a")
        assert not caught.value.retry


@pytest.mark.parametrize("url", ["postgresql://u:hidden@/d?host={}", "host={} user=u password=hidden"])
def test_a_postgres_that_is_not_there_is_unavailable_and_the_password_not_told(tmp_path, url):
    with pytest.raises(
        StoreUnavailableError, match=r"cannot be used now: .*Check that the server runs"
    ) as caught:
        PostgresStore(url.format(tmp_path))
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


# ---- Redis -----------------------------------------------------------------------------------------------


@pytest.fixture
def client(redis_server):
    """Return a client of an empty server; what a test sets in it is undone."""
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        client.flushall()
        before = {name: client.config_get(name)[name] for name in WRONG}
        yield client
        for name, value in before.items():
            client.config_set(name, value)


WRONG = {
    "appendonly": "no",
    "appendfsync": "everysec",
    "no-appendfsync-on-rewrite": "yes",
    "maxmemory-policy": "allkeys-lru",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_redis_that_may_lose_something_is_refused_with_the_line_to_set(redis_server, client, name):
    right = client.config_get(name)[name]
    client.config_set(name, WRONG[name])

    with pytest.raises(StoreError) as caught:
        RedisStore(redis_server.url)
    assert f"may lose what it acknowledged ({name} {WRONG[name]})" in str(caught.value)
    assert str(caught.value).splitlines()[1:] == [f"{name} {right}"]
    assert not caught.value.retry


def test_all_lines_to_set_are_told_at_once(redis_server, client):
    for name, value in WRONG.items():
        client.config_set(name, value)

    with pytest.raises(StoreError) as caught:
        RedisStore(redis_server.url)
    assert str(caught.value).splitlines()[1:] == [
        "appendonly yes",
        "appendfsync always",
        "no-appendfsync-on-rewrite no",
        "maxmemory-policy noeviction",
    ]


def test_a_redis_that_has_become_one_that_may_lose_something_is_refused_at_the_next_connection(
    redis_server, client
):
    with closing(RedisStore(redis_server.url)) as store:
        client.config_set("appendfsync", "everysec")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with contextlib.suppress(StoreError):
            store.get(b"a")  # may be the first to notice that the connection has ended

        for _ in range(2):
            with pytest.raises(StoreError, match=r"may lose what it acknowledged \(appendfsync everysec\)"):
                store.commit(WriteBatch({b"a": b"1"}))
        client.config_set("appendfsync", "always")
        store.commit(WriteBatch({b"a": b"1"}))


@pytest.fixture
def user_url(redis_server, client):
    """Return a URL of a user that may do all but ask for the configuration."""
    client.execute_command("ACL", "SETUSER", "worker", "on", ">hidden", "~*", "+@all", "-config")
    yield f"unix://worker:hidden@{redis_server.folder}/socket?db=0"
    client.execute_command("ACL", "DELUSER", "worker")


def test_a_redis_that_cannot_be_asked_is_refused_and_the_right_to_give_is_named(user_url):
    with pytest.raises(StoreError, match=r"does not allow CONFIG GET .*\+config\|get") as caught:
        RedisStore(user_url)
    assert not caught.value.retry


def test_the_named_right_is_enough(user_url, client):
    client.execute_command("ACL", "SETUSER", "worker", "+config|get")
    with closing(RedisStore(user_url)) as store:
        store.commit(WriteBatch({b"a": b"1"}))
        assert store.get(b"a") == b"1"


def test_a_wrong_password_is_a_permanent_error_that_does_not_tell_it(redis_server, client):
    with pytest.raises(StoreError, match="cannot be used: ") as caught:
        RedisStore(f"unix://worker:hidden@{redis_server.folder}/socket?db=0")
    assert not caught.value.retry
    assert "hidden" not in str(caught.value)


def test_a_redis_that_is_not_there_is_unavailable_and_the_password_not_told(tmp_path):
    with pytest.raises(StoreUnavailableError, match="cannot be used now: ") as caught:
        RedisStore(f"unix://worker:hidden@{tmp_path}/socket?db=0")
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_redis_without_memory_stops_a_commit_whole_and_tells_no_values(redis_server, client):
    with closing(RedisStore(redis_server.url)) as store:
        store.commit(WriteBatch({b"a": b"1"}))
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreUnavailableError, match="memory") as caught:
                store.commit(WriteBatch({b"b": b"hidden"}, [(b"a", b"b")]))
        finally:
            client.config_set("maxmemory", 0)
        assert "hidden" not in str(caught.value)
        assert "ZADD" not in str(caught.value)
        assert store.scan(b"", b"\xff", 9) == [(b"a", b"1")]
        store.commit(WriteBatch({b"b": b"2"}))


def test_a_damaged_value_in_redis_is_named_by_database_and_key(redis_server, client):
    with closing(RedisStore(redis_server.url)) as store:
        store.commit(WriteBatch({b"a": b"1", b"b": b"2"}))
        client.hset("headrace:values", "a", "nonsense")
        for read in (lambda: store.get(b"a"), lambda: store.scan(b"a", b"b", 1)):
            with pytest.raises(StoreError, match=r"Redis database 0 at .* is damaged: the value of key b'a'"):
                read()
        assert store.get(b"b") == b"2"


def test_a_newer_format_in_redis_is_refused(redis_server, client):
    client.set("headrace:version", 7)

    with pytest.raises(StoreError, match="has format version 7; this Headrace reads up to 1"):
        RedisStore(redis_server.url)


def test_other_keys_of_the_server_are_left_alone(redis_server, client):
    client.set("theirs", "1")
    with closing(RedisStore(redis_server.url)) as store:
        store.commit(WriteBatch({b"theirs": b"2"}, [(b"", b"\xff")]))

    assert client.get("theirs") == b"1"
    assert set(client.keys()) == {b"theirs", b"headrace:order", b"headrace:values", b"headrace:version"}


def test_a_snapshot_of_redis_needs_memory_and_its_copy_goes_with_it(redis_server, client):
    with closing(RedisStore(redis_server.url)) as store:
        store.commit(WriteBatch({b"a": b"v" * 3_000_000}))
        with store.snapshot() as snapshot:
            copies = client.keys("headrace:*:*")
            assert all(client.ttl(name) > 0 for name in copies)
            client.delete(*copies)
            with pytest.raises(StoreUnavailableError, match="for a snapshot is gone"):
                snapshot.scan(b"", b"\xff", 10)
        with store.snapshot():
            pass
        assert client.keys("headrace:*:*") == []
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 2_000_000)
        try:
            with pytest.raises(StoreUnavailableError, match="cannot copy its rows"), store.snapshot():
                pass
        finally:
            client.config_set("maxmemory", 0)
        assert client.keys("headrace:*:*") == []

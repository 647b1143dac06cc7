"""A store is copied from kind to kind and back, and is the same."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import redis

from actors.core.journal import keys
from actors.journal.stores.sqlite import SqliteStore

FIXTURE = Path(__file__).parents[2] / "data" / "stores" / "c96b880.db"


def data_of(path):
    """Return the rows without those of owners."""
    with closing(SqliteStore(str(path))) as store:
        return [row for row in store.scan(b"", b"\xff", 100_000) if row[0][0] in keys.OF_DATA + b"kv"]


async def test_a_store_goes_through_all_kinds_and_comes_back_equal(driver, postgres_server, redis_server):
    postgres_server.run("DROP TABLE IF EXISTS headrace_kv, headrace_schema")
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        client.flushall()
    shutil.copy(FIXTURE, driver.directory / "old.db")
    config = driver.config(store={"kind": "redis", "url": redis_server.url})
    for arguments in (
        ("backup", "old.db", "first.backup"),
        ("restore", "first.backup", "first.db"),  # the killed runs are interrupted in it
        ("migrate", "first.db", "--to", postgres_server.url),
        ("migrate", postgres_server.url, "--to", str(config)),
        ("backup", str(config), "last.backup"),
        ("restore", "last.backup", "last.db"),
        ("migrate", "last.db", "--dry-run"),
    ):
        done = await driver(*arguments)
        assert done.code == 0, done.stderr
    assert data_of(driver.directory / "last.db") == data_of(driver.directory / "first.db")
    assert len(data_of(driver.directory / "last.db")) > 300
    again = await driver("migrate", "first.db", "--to", postgres_server.url)
    assert again.code == 2
    assert "the store has these runs" in again.stderr
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        assert client.keys("headrace:*:*") == []

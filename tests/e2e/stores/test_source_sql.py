"""The sql source on SQLite and on PostgreSQL: rows, refusals, and nothing written."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from actors.core.errors import SourceError, SourceUnavailableError
from actors.core.messages.tasks import Task
from actors.sources.sql import databases
from actors.sources.sql.settings import SqlSettings

DEADLINE_S = 100
TABLE = (
    "create table t (id integer primary key, product text, body text, price numeric)",
    "insert into t values (1, 'a', 'good', 1.5), (2, 'a', 'bad', null), (3, 'b', 'other', 2)",
)


async def fetch(url: str, query: str, key: str = "a", params=None, **options):
    source = SqlSettings(name="tickets", kind="sql", url=url, query=query, **options).build()
    try:
        return await asyncio.wait_for(source.fetch(Task(key, params or {})), DEADLINE_S)
    finally:
        await source.close()


# ---- both databases --------------------------------------------------------------------------------------


@pytest.fixture
def sqlite_file(tmp_path) -> Path:
    path = tmp_path / "tickets.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in TABLE:
            connection.execute(statement)
    return path


@pytest.fixture(scope="session")
def postgres(postgres_server) -> str:
    """The URL of a PostgreSQL server with the table in it."""
    postgres_server.run(*TABLE)
    return postgres_server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('sqlite_file')}"
    return request.getfixturevalue("postgres")


async def test_a_row_is_an_item(url):
    items = await fetch(url, "select id, body as text, price from t where product = :key order by id")

    assert [(item.id, item.text, item.fields) for item in items] == [
        ("tickets:1", "good", {"price": 1.5}),
        ("tickets:2", "bad", {"price": None}),
    ]


async def test_another_column_can_be_the_text(url):
    assert [item.text for item in await fetch(url, "select body from t where id = 1", text="body")] == [
        "good"
    ]


async def test_a_task_without_rows_has_no_items(url):
    assert await fetch(url, "select id, body as text from t where product = :key", "nobody") == ()


async def test_a_value_is_bound_and_never_part_of_the_query(url):
    query = "select id, body as text from t where product = :key or id = :id"

    assert await fetch(url, query, "' or 1=1 --", {"id": 0, "unused": [1]}) == ()
    assert [item.id for item in await fetch(url, query, "x", {"id": 3})] == ["tickets:3"]


@pytest.mark.parametrize(
    "query",
    [
        "insert into t values (9, 'a', 'x', 1)",
        "insert into t values (9, 'a', 'x', 1) returning id",
        "delete from t",
        "drop table t",
        "create table u (n integer)",
        "create temporary table u (n integer)",
    ],
)
async def test_nothing_can_be_written(url, query):
    with pytest.raises(SourceError) as caught:
        await fetch(url, query)
    assert not caught.value.retry
    assert len(await fetch(url, "select id, body as text from t")) == 3


async def test_a_second_statement_is_refused(url):
    with pytest.raises(SourceError):
        await fetch(url, "select 1 as id; commit; delete from t")
    assert len(await fetch(url, "select id, body as text from t")) == 3


@pytest.mark.parametrize(
    "query", ["select nope from t", "select * from nope", "selec 1", "select 1 as id where"]
)
async def test_a_query_that_is_wrong_is_permanent(url, query):
    with pytest.raises(SourceError, match="the database rejects the query") as caught:
        await fetch(url, query)
    assert not caught.value.retry
    assert caught.value.__cause__ is None


async def test_more_rows_than_allowed_are_an_error_and_not_a_part(url):
    assert len(await fetch(url, "select id from t", max_items=3)) == 3
    with pytest.raises(SourceError, match="more than max_items = 2"):
        await fetch(url, "select id from t", max_items=2)


async def test_longer_texts_than_allowed_are_an_error(url):
    with pytest.raises(SourceError, match="more than max_fetch_bytes = 40"):
        await fetch(url, "select id, body as text from t", max_fetch_bytes=40)


async def test_a_column_that_comes_twice_is_refused(url):
    with pytest.raises(SourceError, match="duplicate column names"):
        await fetch(url, "select a.id, b.id from t a, t b")


ENDLESS = {
    "sqlite": "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) as id from n",
    "postgresql": "select pg_sleep(60)",
}


async def test_a_statement_that_takes_too_long_is_ended_by_its_deadline(url):
    before = time.monotonic()
    with pytest.raises(SourceUnavailableError, match="cannot answer now"):
        await fetch(url, ENDLESS[url.partition(":")[0]], timeout_s=0.3)
    assert time.monotonic() - before < 30


async def test_many_fetches_share_few_connections(url):
    query = "select id, body as text from t where product = :key"
    source = SqlSettings(name="tickets", kind="sql", url=url, query=query, connections=2).build()
    found = await asyncio.wait_for(asyncio.gather(*(source.fetch(Task("a")) for _ in range(50))), DEADLINE_S)

    assert [len(items) for items in found] == [2] * 50
    assert source._engine.pool.checkedin() <= 2
    assert source._engine.pool.checkedout() == 0
    await source.close()


# ---- SQLite ----------------------------------------------------------------------------------------------


async def test_a_locked_database_is_tried_again(sqlite_file):
    with closing(sqlite3.connect(sqlite_file)) as writer:
        writer.execute("begin exclusive")
        with pytest.raises(SourceUnavailableError, match="locked"):
            await fetch(f"sqlite:///{sqlite_file}", "select id from t", timeout_s=0.1)


async def test_another_file_cannot_be_attached(sqlite_file):
    target = sqlite_file.parent / "made.db"
    with pytest.raises(SourceError, match="not authorized"):
        await fetch(f"sqlite:///{sqlite_file}", f"attach '{target}' as made")
    assert not target.exists()


async def test_a_database_that_is_not_there_is_permanent_and_not_made(tmp_path):
    with pytest.raises(SourceError, match="unable to open") as caught:
        await fetch(f"sqlite:///{tmp_path}/none.db", "select 1 as id")
    assert not caught.value.retry
    assert list(tmp_path.iterdir()) == []


async def test_a_path_is_relative_to_the_working_directory(sqlite_file, monkeypatch):
    monkeypatch.chdir(sqlite_file.parent)

    assert len(await fetch("sqlite:///tickets.db", "select id from t")) == 3


async def test_a_path_with_signs_of_a_url_is_a_path(sqlite_file):
    odd = sqlite_file.rename(sqlite_file.parent / "a b#c.db")

    assert len(await fetch(f"sqlite:///{odd}", "select id from t")) == 3


async def test_full_text_tables_can_be_searched(sqlite_file):
    with closing(sqlite3.connect(sqlite_file)) as connection, connection:
        connection.execute("create virtual table words using fts5(text)")
        connection.execute("insert into words values ('something good'), ('something bad')")

    [item] = await fetch(f"sqlite:///{sqlite_file}", "select text from words where words match :key", "good")
    assert item.text == "something good"


# ---- PostgreSQL ------------------------------------------------------------------------------------------


async def test_each_guard_against_writing_and_waiting_is_on(postgres):
    guards = ("transaction_read_only", "default_transaction_read_only", "statement_timeout")
    shown = ", ".join(f"current_setting('{guard}') as {guard}" for guard in guards)
    [item] = await fetch(postgres, f"select {shown}", timeout_s=7)

    assert dict(item.fields) == dict(zip(guards, ("on", "on", "7s"), strict=True))


async def test_transactions_are_read_only_where_a_pooler_drops_the_session_settings(postgres, monkeypatch):
    monkeypatch.setattr(databases, "_postgres_arguments", lambda url, timeout_s: {})
    [item] = await fetch(postgres, "select current_setting('transaction_read_only') as text")

    assert item.text == "on"


async def test_rows_come_as_they_are_fetched_and_not_all_at_once(postgres):
    with pytest.raises(SourceError, match="more than max_items = 10"):
        await fetch(postgres, "select generate_series(1, 1000000000) as id", max_items=10, timeout_s=50)


async def test_a_search_path_of_the_url_is_kept(postgres):
    [item] = await fetch(f"{postgres}&options=-csearch_path=pg_catalog", "select current_schema() as text")

    assert item.text == "pg_catalog"


async def test_the_urls_own_options_cannot_allow_writing(postgres):
    with pytest.raises(SourceError):
        await fetch(f"{postgres}&options=-cdefault_transaction_read_only=off", "delete from t returning id")


async def test_a_server_that_is_not_there_is_tried_again_and_the_password_not_shown(tmp_path):
    with pytest.raises(SourceUnavailableError, match="cannot answer now") as caught:
        await fetch(f"postgresql+psycopg://u:hidden@/d?host={tmp_path}", "select 1 as id")
    assert "hidden" not in str(caught.value)


async def test_a_connection_that_the_server_ended_is_replaced(postgres):
    source = SqlSettings(
        name="tickets", kind="sql", url=postgres, query="select pg_backend_pid() as text"
    ).build()
    [first] = await asyncio.wait_for(source.fetch(Task("a")), DEADLINE_S)
    with closing(psycopg.connect(postgres)) as admin:
        admin.execute("select pg_terminate_backend(%s, 5000)", [int(first.text)])
    [second] = await asyncio.wait_for(source.fetch(Task("a")), DEADLINE_S)
    await source.close()

    assert first.text != second.text


async def test_a_lock_is_waited_for_no_longer_than_the_deadline(postgres):
    with closing(psycopg.connect(postgres)) as writer:
        writer.execute("lock table t in access exclusive mode")
        with pytest.raises(SourceUnavailableError, match="cannot answer now"):
            await fetch(postgres, "select id from t", timeout_s=0.3)


async def test_a_server_on_a_closed_port_is_tried_again():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(SourceUnavailableError):
            await fetch(f"postgresql://u:hidden@127.0.0.1:{unused.getsockname()[1]}/d", "select 1 as id")

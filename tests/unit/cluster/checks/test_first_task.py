from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from actors.core.errors import ConfigError
from actors.core.messages.tasks import Task
from cluster.checks.first_task import try_sources
from cluster.config.model import HeadraceConfig

TASK = Task("kettle", {"city": "Oslo"})


class Mine:
    def fetch(self, task):
        raise AssertionError("a check calls no class of the user")


def made(*sources) -> HeadraceConfig:
    step = {"prompt": "Rate {text}", "output": {"quality": "0..1"}}
    return HeadraceConfig.model_validate({"evaluate": step, "sources": sources})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "kettle.md").write_text("It boils.")
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        database.execute("create table notes (id text, text text, product text)")
        database.executemany("insert into notes values (?, ?, 'kettle')", [("1", "good"), ("2", "bad")])
        database.commit()
    return tmp_path


def sql(folder, query: str) -> dict:
    return {"name": "db", "kind": "sql", "url": f"sqlite:///{folder / 'a.db'}", "query": query}


async def test_near_sources_are_tried_on_the_first_task(folder):
    config = made(
        {"name": "notes", "kind": "files", "path": f"{folder}/{{key}}.md"},
        sql(folder, "select id, text from notes where product = :key"),
        {"name": "mine", "kind": "python", "target": f"{__name__}:Mine"},
        {"name": "wire", "kind": "simulated"},
        {"name": "api", "kind": "http", "url": "https://nowhere.invalid/{key}"},
    )
    assert await try_sources(config, TASK) == [
        "source notes: 1 items about the first task, kettle",
        "source db: 2 items about the first task, kettle",
        f"source mine: {__name__}:Mine was imported and made",
    ]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("select * from notse", "sources.0 (db): db: the database rejects the query: no such table: notse"),
        (
            "select * from notes where product = :product",
            "sources.0 (db): the task has no value 'product'; it has: city, key",
        ),
    ],
)
async def test_a_query_that_cannot_be_answered_is_a_problem(folder, query, problem):
    with pytest.raises(ConfigError) as caught:
        await try_sources(made(sql(folder, query)), TASK)
    assert str(caught.value) == problem


async def test_all_problems_of_sources_are_shown_together(folder):
    config = made(
        sql(folder, "select * from nope"),
        {"name": "a", "kind": "python", "target": "no_such_module:A"},
        {"name": "b", "kind": "python", "target": f"{__name__}:Mime"},
    )
    with pytest.raises(ConfigError) as caught:
        await try_sources(config, TASK)
    first, second, third = str(caught.value).split("\n")
    assert first.startswith("sources.0 (db): ")
    assert second == ("sources.1 (a): no_such_module:A: the import path has no module 'no_such_module'")
    assert third.startswith(f"sources.2 (b): {__name__}:Mime: module {__name__} has no 'Mime'")

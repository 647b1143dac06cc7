"""The sources that are built in keep the contract that a source of another package has to keep."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing

import pytest

from actors.core.messages.tasks import Task
from actors.sources import http
from actors.sources.files.source import FilesSettings
from actors.sources.http import HttpSettings
from actors.sources.python import PythonSettings
from actors.sources.simulated import SimulatedSettings
from actors.sources.sql.settings import SqlSettings
from headrace.contracts.sources import SourceContract
from tests.unit.support.scripted_origin import ScriptedOrigin


class TestSimulatedSource(SourceContract):
    def settings(self):
        return SimulatedSettings(name="s", kind="simulated", latency_s=0)

    def failing(self):
        return self.settings().model_copy(update={"failure_rate": 1.0}), self.task()


class TestFilesSource(SourceContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path
        (tmp_path / "a.csv").write_text("id,text\n1,one\n2,two\n")
        (tmp_path / "b.jsonl").write_text("[")

    def settings(self):
        return FilesSettings(name="s", kind="files", path=f"{self.folder}/{{key}}.csv")

    def failing(self):
        return FilesSettings(name="s", kind="files", path=f"{self.folder}/b.jsonl"), Task("b")


class TestHttpSource(SourceContract):
    secrets = ("sk-123456",)

    @pytest.fixture(autouse=True)
    def _answers(self, monkeypatch):
        self.patch = monkeypatch
        self._answer((200, {}, b'[{"id": 1, "text": "one"}, {"id": 2, "text": "two"}]'))

    def _answer(self, answer):
        self.patch.setattr(http, "Origin", ScriptedOrigin(*[answer] * 16))

    def settings(self):
        headers = {"Authorization": "Bearer sk-123456"}
        url = "https://93.184.215.14/{key}"
        return HttpSettings(name="s", kind="http", url=url, headers=headers)

    def failing(self):
        self._answer((403, {}, b"the token sk-123456 is not valid"))
        return self.settings(), self.task()


class TestSqlSource(SourceContract):
    @pytest.fixture(autouse=True)
    def _database(self, tmp_path):
        self.path = tmp_path / "a.db"
        with closing(sqlite3.connect(self.path)) as database:
            database.execute("create table notes (id, text)")
            database.executemany("insert into notes values (?, ?)", [(1, "one"), (2, "two")])
            database.commit()

    def settings(self, query="select * from notes order by id"):
        return SqlSettings(name="s", kind="sql", url=f"sqlite:///{self.path}", query=query)

    def failing(self):
        return self.settings("select * from nothing"), self.task()


class Rows:
    def __init__(self, token: str) -> None:
        self.token = token

    def fetch(self, task):
        if task.key == "gone":
            raise KeyError(f"no {task.key}")
        return [{"id": 1, "text": "one"}, {"id": 2, "text": "two"}]


class TestPythonSource(SourceContract):
    secrets = ("sk-123456",)

    @pytest.fixture(autouse=True)
    def _module(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "rows_of_a_user", sys.modules[__name__])

    def settings(self):
        return PythonSettings(
            name="s", kind="python", target="rows_of_a_user:Rows", options={"token": "sk-123456"}
        )

    def failing(self):
        return self.settings(), Task("gone")

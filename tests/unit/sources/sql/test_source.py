"""The sql source's settings: what is refused before anything is connected, and what stays secret."""

from __future__ import annotations

import pickle
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from actors.core.errors import ConfigError, SourceError
from actors.core.messages.tasks import Task
from actors.sources.files.source import FilesSettings
from actors.sources.http import HttpSettings
from actors.sources.python import PythonSettings
from actors.sources.simulated import SimulatedSettings
from actors.sources.sql.settings import SqlSettings


def settings(url: str = "sqlite:///t.db", query: str = "select :key as text", **options) -> SqlSettings:
    return SqlSettings(name="tickets", kind="sql", url=url, query=query, **options)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("no url with pw", "not a database URL"),
        ("sqlite://", "always empty"),
        ("sqlite:///:memory:", "always empty"),
        ("sqlite:///t.db?mode=rwc", "without options"),
        ("sqlite+aiosqlite:///t.db", "sqlite:///path"),
        ("postgresql+asyncpg://u:pw@h/d", r"postgresql\+psycopg"),
        ("mysql://u:pw@h/d", "cannot be made read-only"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(url, message):
    with pytest.raises(ValidationError, match=message) as caught:
        settings(url)
    assert "pw" not in str(caught.value)


def test_another_database_is_admitted_where_its_own_rights_must_do():
    assert settings("mysql://u:pw@h/d", read_only=False).read_only is False


def test_a_driver_that_is_not_installed_is_a_configuration_error():
    with pytest.raises(ConfigError, match=r"driver mysql.* cannot be used") as caught:
        settings("mysql://u:pw@h/d", read_only=False).build()
    assert "pw" not in str(caught.value)


def test_a_driver_that_is_an_extra_is_a_configuration_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"requires the package psycopg.*'headrace\[postgres\]'") as caught:
        settings("postgresql://u:pw@h/d").build()
    assert "pw@" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite:///a.db", "postgresql://u:pw@h/d"])
def test_without_sqlalchemy_the_configuration_is_refused_with_the_extra_to_install(monkeypatch, url):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ValidationError, match=r"kind: sql requires.*'headrace\[sql\]'") as caught:
        settings(url)
    assert "pw" not in str(caught.value)


def test_the_password_does_not_show_in_the_settings():
    assert "pw" not in repr(settings("postgresql://u:pw@h/d"))


@pytest.mark.parametrize(
    ("params", "message"), [({}, "no value 'days'; it has: key"), ({"days": [1]}, "param 'days' is list")]
)
async def test_a_value_that_cannot_be_bound_is_refused(params, message):
    source = settings(query="select :days as text").build()

    with pytest.raises(SourceError, match=message):
        await source.fetch(Task("k", params))
    await source.close()


EVERY_KIND = [
    SimulatedSettings(name="a", kind="simulated"),
    FilesSettings(name="a", kind="files", path="{key}"),
    HttpSettings(name="a", kind="http", url="https://h/{key}", headers={"X": "y"}),
    PythonSettings(name="a", kind="python", target="m:C"),
    settings(),
]


@pytest.mark.parametrize("made", EVERY_KIND, ids=lambda made: made.kind)
def test_settings_reach_an_actor_as_they_are(made):
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - its own pickle


@pytest.mark.parametrize("made", EVERY_KIND, ids=lambda made: made.kind)
def test_settings_describe_themselves_as_a_schema(made):
    properties = TypeAdapter(type(made)).json_schema()["properties"]

    assert properties["kind"]["const"] == made.kind

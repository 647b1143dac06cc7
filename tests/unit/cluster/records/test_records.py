"""What ``resume`` takes from a store: nothing that would let its writer run code or receive a key."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from actors.core.errors import ConfigError
from actors.journal.stores.opening import MemorySettings, RedisSettings, SqliteSettings
from actors.journal.stores.sqlite import SqliteStore
from cluster.records import records
from cluster.records.records import RunStart, start_of, store_if_any, with_overrides
from cluster.records.stored_overrides import divided
from tests.unit.support.journal_desk import RUN, Desk

CODE = [
    "sources=[{kind: python, target: 'evil:S'}]",
    "sources=",
    "sources.0.target=evil:S",
    "llm.endpoints.0.base_url=http://127.0.0.1:1/v1",
    "llm={endpoints: [{name: a}]}",
    "evaluate.output=evil:M",
    "evaluate.0.output=evil:M",
    "evaluate={prompt: x, output: 'evil:M'}",
    "evaluate.output={json_schema: /etc/passwd}",
    "llm.attachments.directory=/home/user",
    "llm={attachments: {urls: ['s3://private/']}}",
    "evaluate.attach=path",
    "evaluate={prompt: x, attach: [path]}",
    "evaluate.0.attach=path",
    "output.sinks=[{kind: evil}]",
    "output={sinks: [{kind: evil}]}",
    "output.directory=s3://evil/runs",
    "store.url=redis://evil",
    "evaluate.prompt=Say ${AWS_SECRET_ACCESS_KEY}",
]
PLAIN = [
    "tasks={kind: file, path: tasks.jsonl}",
    "limits.budget_usd=3",
    "llm.timeout_s=7",
    "output.directory=runs",
    "evaluate.prompt=Rate {text}, see https://example.org",
    "store.path=state.db",
]


@pytest.mark.parametrize("override", CODE)
def test_what_names_code_or_a_host_is_asked_again(override):
    assert divided([override]) == ([], [override.partition("=")[0]])


@pytest.mark.parametrize("override", PLAIN)
def test_everything_else_is_taken_from_the_store(override):
    assert divided([override]) == ([override], [])


def begun(path, *overrides):
    with closing(SqliteStore(".headrace/state.db")) as store:
        Desk(store).open(origin={"path": str(path), "overrides": [*overrides], "withheld": [], "limit": None})


def test_a_run_continues_only_with_what_the_user_gives_himself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").touch()
    begun(Path("job.yaml").absolute(), "sources.0.target=evil:S", "limits.budget_usd=3")
    start = start_of(RUN, None, os.environ)
    with pytest.raises(ConfigError, match=r"give --set sources\.0\.target=… again"):
        with_overrides(start, [])
    given = ["sources.0.target=mine:S"]
    assert with_overrides(start, given) == ["limits.budget_usd=3", *given]


def test_secrets_are_asked_again():
    start = RunStart(Path("job.yaml"), (), ("llm.endpoints.a.api_key",), (), None)
    with pytest.raises(ConfigError, match=r"secrets are not stored: give --set llm\.endpoints\.a\."):
        with_overrides(start, [])


def test_all_that_must_be_given_again_is_named_at_once():
    start = RunStart(Path("job.yaml"), (), ("llm.endpoints.a.api_key",), ("sources.0.target",), None)
    wanted = r"not stored; .* not taken from a store: give --set llm\.\S+=… --set sources\.0\.target=… again"
    with pytest.raises(ConfigError, match=wanted):
        with_overrides(start, [])


def test_a_configuration_of_another_user_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").touch()
    begun(Path("job.yaml").absolute())
    monkeypatch.setattr("cluster.records.records.is_of_user", lambda path: path.name != "job.yaml")
    with pytest.raises(ConfigError, match="belongs to another user: if you trust it"):
        start_of(RUN, None, os.environ)


def test_a_store_that_does_not_exist_yet_is_none_and_one_that_cannot_be_opened_is_an_error(
    tmp_path, monkeypatch
):
    path = tmp_path / "state.db"
    for settings in (SqliteSettings(str(path)), MemorySettings()):
        with store_if_any(settings) as store:
            assert store is None
    SqliteStore(str(path)).close()
    with store_if_any(SqliteSettings(str(path))) as store:
        assert isinstance(store, SqliteStore)

    def without_driver(settings, *, may_lock):
        raise ConfigError("redis is not installed")

    monkeypatch.setattr(records, "open_store", without_driver)
    with pytest.raises(ConfigError, match="redis is not installed"), store_if_any(RedisSettings("redis://h")):
        pass


def test_a_configuration_that_was_moved_is_named_by_the_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun(tmp_path / "old" / "my job.yaml", "limits.budget_usd=3")
    with pytest.raises(ConfigError, match=r"which no longer exists: if it was moved, add --config PATH$"):
        start_of(RUN, None, os.environ)
    Path("my job.yaml").write_text("evaluate: {prompt: 'Rate {key}', output: {note: {type: string}}}\n")
    with pytest.raises(ConfigError, match=r"if it was moved, add --config 'my job\.yaml'$"):
        start_of(RUN, None, os.environ)
    start = start_of(RUN, Path("my job.yaml"), os.environ)
    assert (start.path, start.overrides) == (Path("my job.yaml"), ("limits.budget_usd=3",))


def test_a_run_that_no_file_describes_says_how_it_continues(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with closing(SqliteStore(".headrace/state.db")) as store:
        Desk(store).open(origin={"path": None})
    with pytest.raises(
        ConfigError, match=r"was not started with a configuration file: `.* run CONFIG --run-id"
    ):
        start_of(RUN, None, os.environ)

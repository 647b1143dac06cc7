"""``resume`` and ``retry`` name the command that continues a run of ``map``; they do not execute it."""

from __future__ import annotations

from contextlib import closing

import pytest
from typer.testing import CliRunner

import driver
from actors.core.errors import ConfigError
from actors.core.messages.journal import CloseRun, Finish, OpenRun
from actors.core.messages.tasks import TaskState
from actors.journal.stores.sqlite import SqliteStore
from cluster.commands.map.again import refuse_map_run
from cluster.records.records import found_run
from cluster.records.run_journal import RunOrigin
from tests.unit.support.journal_desk import RUN, Desk, report

WORDS = ("map", "rows.csv", "Rate {text}", "-c", "label: yes | no", "-m", "sim")
LINE = "map rows.csv 'Rate {text}' -c 'label: yes | no' -m sim"


def map_run(words):
    desk = Desk()
    desk.tell(OpenRun("r1", "map-rows", {}, RunOrigin({}, command=tuple(words), asked="digest").stored()))
    return found_run(desk.store, "r1")


def refused(words, *more):
    with pytest.raises(ConfigError) as caught:
        refuse_map_run(map_run(words), *more)
    return str(caught.value)


def test_the_command_to_give_is_named():
    assert refused(WORDS).startswith("run r1 is one of `map`: the same command continues it: ")
    assert refused(WORDS).endswith(f" {LINE}")


def test_a_retry_adds_its_option_once():
    assert refused(WORDS, "--retry-failed").endswith(f" {LINE} --retry-failed")
    assert refused([*WORDS, "--retry-failed"], "--retry-failed").endswith(f" {LINE} --retry-failed")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "was started by headrace.map: the same call continues it"),
        (("map", "-", "Rate {text}"), "continues it; pipe the same rows into it: "),
        ((*WORDS, "--set", "llm.x.api_key=..."), "; secrets are not stored: give them again: "),
        ((*WORDS, "-o", "s3://***@bucket/x.csv"), "; secrets are not stored: give them again: "),
    ],
)
def test_what_the_store_does_not_hold_has_to_be_given_again(words, message):
    assert message in refused(words)


def test_words_of_the_store_cannot_move_the_cursor_or_begin_a_line():
    said = refused(["map", "a\x1b[2J\nb's", "-m", "x"])
    assert said.endswith(r" map $'a\x1b[2J\nb\'s' -m x")


def test_credentials_that_a_store_holds_are_not_shown():
    assert "hunter2" not in refused(["map", "https://me:hunter2@host/rows.csv", "-m", "x"])


@pytest.mark.parametrize("command", [["resume", RUN], ["retry", RUN, "--failed"]], ids=["resume", "retry"])
def test_a_command_line_of_the_store_is_not_run(monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('ran', 'w').close()\nclass M: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ("columns", "evil:M")
    with closing(SqliteStore(".headrace/state.db")) as store:
        desk = Desk(store)
        desk.open(origin=RunOrigin({}, command=words, asked="digest").stored())
        desk.accept("t1")
        desk.tell(Finish(RUN, report("t1", TaskState.FAILED)))
        desk.tell(CloseRun(RUN, "failed", {}))
    told = CliRunner().invoke(driver.app, command)
    assert (told.exit_code, told.stdout) == (2, "")
    assert f"run {RUN} is one of `map`: the same command continues it: headrace columns evil:M" in told.stderr
    assert not (tmp_path / "ran").exists()

"""``resume`` and ``retry`` continue a run of ``map`` with the command line that started it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from actors.core.errors import ConfigError
from actors.core.messages.journal import OpenRun
from cluster.commands.map_again import is_map_run, map_again
from cluster.records.records import found_run
from cluster.records.run_journal import RunOrigin
from tests.unit.support.journal_desk import Desk

WORDS = ("map", "rows.csv", "Rate {text}", "-c", "label: yes | no", "-m", "sim")


class Root:
    """The command line, which notes what it is called with."""

    def main(self, words, *, standalone_mode, obj):
        assert not standalone_mode
        assert obj == "r1", "else the words of a fresh run would begin another"
        self.words = words
        self.argv = sys.argv[1:]
        return 3


@pytest.fixture
def again(monkeypatch):
    """Return the function that continues a run of these words, and returns the exit code and the words."""
    monkeypatch.setattr(sys, "argv", ["headrace", "resume", "r1"])

    def continued(words, *more, overrides=None):
        desk, root = Desk(), Root()
        origin = RunOrigin({}, command=tuple(words), asked="digest").stored()
        desk.tell(OpenRun("r1", "map-rows", {}, origin))
        run = found_run(desk.store, "r1")
        assert is_map_run(run)
        context = SimpleNamespace(find_root=lambda: SimpleNamespace(command=root))
        code = map_again(context, run, overrides, *more)
        assert root.argv == root.words, "else the run would forget its command line"
        return code, root.words

    return continued


def test_the_same_words_run_again_and_nothing_is_asked(again):
    assert again(WORDS) == (3, [*WORDS, "--yes"])
    assert again([*WORDS, "--yes"]) == (3, [*WORDS, "--yes"])


def test_further_words_follow(again):
    _, words = again(WORDS, "--retry-failed", overrides=["llm.timeout_s=7"])
    assert words == [*WORDS, "--yes", "--retry-failed", "--set", "llm.timeout_s=7"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "was started by headrace.map: the same call continues it"),
        (
            ("map", "-", "Rate {text}"),
            "came from stdin: pipe the same rows into: headrace map - 'Rate {text}'",
        ),
        ((*WORDS, "--set", "llm.x.api_key=..."), "secrets are not stored: give them again in: headrace map"),
    ],
)
def test_what_the_store_does_not_hold_has_to_be_given_again(again, words, message):
    with pytest.raises(ConfigError) as caught:
        again(words)
    assert message in str(caught.value)


def test_a_run_of_a_configuration_is_no_run_of_map():
    desk = Desk()
    desk.tell(OpenRun("r1", "reviews", {}, RunOrigin({}).stored()))
    assert not is_map_run(found_run(desk.store, "r1"))

"""Kinds of sources and stores that other packages add by entry points."""

from __future__ import annotations

import pickle
import sys

import pytest

from actors.core.messages.tasks import Task
from actors.journal.stores.memory import MemoryStore
from actors.journal.stores.opening import open_store
from cluster.assembly.actor_settings import answer_forms, task_rules
from cluster.checks.placeholders import check_placeholders
from cluster.checks.prompts import prompts_of
from cluster.checks.summary import summary_lines
from cluster.config.model import HeadraceConfig, load
from cluster.config.problem import ConfigFileError
from cluster.report.item_columns import item_columns
from cluster.report.tables.columns import Layout

MODULE = """
from typing import Annotated, Literal
from pydantic import Field, SecretStr
from actors.journal.stores.memory import MemoryStore
from headrace.plugins import ComputedStep, SourceSettings, StoreKeys

class Tickets(SourceSettings):
    kind: Literal["tickets"]
    queue: Annotated[int, Field(ge=1)]
    token: SecretStr = SecretStr("none")

    def build(self):
        return self

class Shelf(StoreKeys):
    kind: Literal["shelf"]

    def open(self):
        return MemoryStore()

class Words(ComputedStep):
    kind: Literal["words"]
    least: int = 1

    def columns(self):
        return {"count": "0..1000", "first?": "str"} if self.least else {"count": "0.."}

    def compute(self, item):
        return {"count": len(item["text"].split()), "first": None}

class Blank(ComputedStep):
    kind: Literal["blank"]

class Unnamed(SourceSettings):
    pass

class Other(SourceSettings):
    kind: Literal["other"]

def function():
    pass
"""
ENTRIES = """
[headrace.sources]
tickets = acme_headrace:Tickets
typo = acme_headrace:Tickts
absent = no_such_module_anywhere:X
unnamed = acme_headrace:Unnamed
misnamed = acme_headrace:Other
function = acme_headrace:function
[headrace.stores]
shelf = acme_headrace:Shelf
[headrace.steps]
words = acme_headrace:Words
blank = acme_headrace:Blank
"""
ASKED = "{name: judge, when: 'count > 2', prompt: 'Rate {text} of {words.count}', output: {score: 0..1}}"
REST = "evaluate: {prompt: 'Rate {text}', output: {score: {type: number}}}\n"


@pytest.fixture(scope="module", autouse=True)
def acme(tmp_path_factory):
    """Install the package `acme-headrace` for the tests of this file."""
    folder = tmp_path_factory.mktemp("acme")
    about = folder / "acme_headrace-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-headrace\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    (folder / "acme_headrace.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield
    sys.modules.pop("acme_headrace", None)


@pytest.fixture
def loaded(tmp_path):
    def loaded(text: str) -> HeadraceConfig:
        (tmp_path / "c.yaml").write_text(text if "evaluate" in text else text + REST)
        return load(tmp_path / "c.yaml", env={"TOKEN": "sk-123456"})

    return loaded


def problem(loaded, text):
    with pytest.raises(ConfigFileError) as caught:
        loaded(text)
    assert len(caught.value.problems) == 1, caught.value
    return str(caught.value).partition("c.yaml:")[2]


def test_a_source_of_a_package_is_configured_like_one_that_is_built_in(loaded):
    tickets = "{name: b, kind: tickets, queue: 3, token: '${TOKEN}'}"
    config = loaded(f"sources: [{{name: a, kind: simulated}}, {tickets}]\n")
    assert type(config) is HeadraceConfig
    assert (config.sources[1].queue, config.sources[1].timeout_s) == (3, 10.0)
    stored = config.stored()["sources"][1]
    assert stored["queue"] == 3
    assert "sk-123456" not in str(stored)
    assert "sk-123456" not in config.censor()("the token is sk-123456")


def test_another_process_can_unpickle_the_configuration(loaded):
    config = loaded("sources: [{name: b, kind: tickets, queue: 3}]\n")
    assert pickle.loads(pickle.dumps(config)).sources == config.sources  # noqa: S301 - our own bytes


def test_a_store_of_a_package_is_opened_by_its_section(loaded):
    config = loaded("store: {kind: shelf, lease_s: 5}\n")
    assert config.store.lease_s == 5
    assert isinstance(open_store(config.store.settings()), MemoryStore)


EVERY = "files, http, python, simulated, sql, absent, function, misnamed, tickets, typo, unnamed"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "kind: tickets, queue: 0",
            "1:43: sources.0.queue: wrong value (got 0, wanted greater than or equal to 1)",
        ),
        ("kind: tickets", "1:11: sources.0.queue: required key is missing"),
        ("kind: tickets, queue: 2, queu: 1", "1:46: sources.0.queu: unknown key; did you mean queue?"),
        ("kind: ticket", "1:27: sources.0.kind: unknown kind (got ticket); did you mean tickets?"),
        ("kind: xyz", f"1:27: sources.0.kind: unknown kind (got xyz, wanted one of {EVERY})"),
    ],
)
def test_a_mistake_in_an_entry_is_reported_like_one_in_a_kind_that_is_built_in(loaded, entry, message):
    assert problem(loaded, f"sources: [{{name: a, {entry}}}]\n") == message


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "typo",
            "of acme-headrace 1.2 cannot be used: importing acme_headrace:Tickts raised AttributeError: ",
        ),
        ("absent", "raised ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("unnamed", "Unnamed is no usable model"),
        ("misnamed", "Other has no field kind: Literal['misnamed']"),
        ("function", "no subclass of SourceSettings"),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_one_problem_with_its_cause(loaded, kind, message):
    shown = problem(loaded, f"sources: [{{name: a, kind: {kind}}}]\n")
    assert shown.startswith("1:27: sources.0.kind: ")
    assert message in shown


def test_a_sink_that_no_package_adds_is_found_by_the_check(loaded):
    shown = problem(loaded, "output: {sinks: [{kind: kafka}]}\n")
    assert shown == (
        "1:25: output.sinks.0.kind: no package adds the kind 'kafka' to headrace.sinks; no package adds any"
    )


def test_a_kind_that_two_packages_add_is_refused(loaded, tmp_path, monkeypatch):
    about = tmp_path / "rival-3.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 3\n")
    (about / "entry_points.txt").write_text("[headrace.sources]\ntickets = rival:Tickets\n")
    monkeypatch.syspath_prepend(tmp_path)
    shown = problem(loaded, "sources: [{name: a, kind: tickets, queue: 1}]\n")
    assert "several packages add the kind 'tickets'" in shown
    assert "acme-headrace 1.2, rival 3" in shown


def test_without_a_foreign_kind_no_entry_point_is_read(loaded, monkeypatch):
    def refuse(**_):
        raise AssertionError("entry points were read")

    monkeypatch.setattr("actors.runtime.plugins.entry_points", refuse)
    assert loaded("sources: [{name: a, kind: simulated}]\nstore: {kind: memory}\n").sources[0].name == "a"


def test_a_step_of_a_package_computes_fields_that_later_steps_conditions_tables_and_dimensions_know(loaded):
    text = f"evaluate: [{{name: words, kind: words, least: 3}}, {ASKED}]\n"
    config = loaded(text + "dimensions: [{name: length, field: words.count}]\n")
    words, judge = config.steps
    assert (words.least, [*words.output], config.asked_steps) == (3, ["count", "first"], (judge,))
    assert [column.name for column in item_columns(config)] == ["count", "first", "score"]
    assert config.dimension_settings()[0].step == "words"
    stored = config.stored()["evaluate"]
    assert (stored[0]["least"], [*stored[0]["output"]], stored[1]["name"]) == (3, ["count", "first"], "judge")
    assert [column.name for column in Layout.stored(config.stored()).outputs] == ["count", "first", "score"]
    first, second = task_rules(config).steps
    assert (first.fields, first.when, second.form) == (("count", "first"), None, "evaluate:judge")
    assert [form.name for form in answer_forms(config)] == ["evaluate:judge", "synthesize"]
    copied = pickle.loads(pickle.dumps(config)).steps[0]  # noqa: S301 - made here
    assert copied.values_of({"text": "it broke"}) == words.values_of({"text": "it broke"})
    assert copied.values_of({"text": "it broke"}) == {"count": 2, "first": None}
    assert pickle.loads(pickle.dumps(copied)).output == words.output  # noqa: S301 - made here
    check_placeholders(config, ["text"], 1)
    (shown,) = prompts_of(config, Task("t", {"text": "it broke"}))
    assert (shown.step, shown.text) == ("judge", "Rate it broke of <words.count>")
    assert "step words: count, first, computed by words" in "\n".join(summary_lines(config, 1))


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("{name: words, kind: wrods}, " + ASKED, "evaluate.0.kind: no package adds the kind 'wrods'"),
        ("{kind: words}, " + ASKED, "evaluate.0.name: required key is missing"),
        (
            "{name: words, kind: words, last: 3}, " + ASKED,
            "evaluate.0.last: unknown key; did you mean l",
        ),
        ("{name: words, kind: words, least: 0}, " + ASKED, "evaluate.0: columns of the kind words: "),
        (
            "{name: words, kind: blank}, " + ASKED,
            "columns of the kind blank: NotImplementedError",
        ),
        ("{name: words, kind: words, when: 'x > 1'}, " + ASKED, "evaluate.0.when: no step comes before"),
        ("{name: judge, kind: words}, " + ASKED, "evaluate.1.name: the name 'judge' is taken"),
        ("{name: words, kind: words}", "evaluate: no step asks a model: add one with a prompt"),
        ("{name: words, kind: words}, " + ASKED.replace("count >", "cuont >"), "did you mean"),
    ],
)
def test_a_mistake_in_a_computed_step_has_its_place(loaded, steps, said):
    with pytest.raises(ConfigFileError) as caught:
        loaded(f"evaluate: [{steps}]\n")
    assert said in str(caught.value)

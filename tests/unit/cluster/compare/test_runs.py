"""Runs are compared as the store has them: rows of the map form, items of sources, and scores of tasks."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from actors.core.errors import Blame, ConfigError, Failure, FailureKind
from actors.core.journal.reads import read_run
from actors.core.messages.journal import Accept, Finish
from actors.core.messages.tasks import DimensionResult, ItemResult, ItemState, Task
from actors.core.messages.values import Usage
from cluster.compare.answers import AnswerTable
from cluster.compare.choice import preference_of
from cluster.compare.comparison import compare_sides, with_noise
from cluster.compare.conditions import holds
from cluster.compare.pairing import TruthPairing
from cluster.compare.sides import RunSide, TableLevel, TableSide
from cluster.compare.truth import table_truths
from cluster.golden.file import GoldenFile, golden_path
from cluster.golden.records import Decision, GoldenRecord
from cluster.records.records import CODEC, store_settings
from tests.unit.support.journal_desk import Desk
from tests.unit.support.tables import rated, settings

TASKS = 12


class Runs:
    """Runs in one store. `answers` gives the label and the score of each task; None fails it."""

    def __init__(self, **sections):
        self.config = settings(**sections).stored()
        self.desk = Desk()

    def run(self, run_id, answers, *, items=0, key=None, digest="same", tasks=TASKS):
        self.desk.open(run_id, config=self.config, origin={"input": {"digest": digest}})
        for number in range(tasks):
            task = Task(f"row-{number + 1:06}", {"name": f"n{number}"})
            self.desk.tell(Accept(run_id, task))
            self.desk.tell(Finish(run_id, self.report(task.key, answers(number), items)))
        return RunSide(self.desk.store, read_run(self.desk.store, CODEC, run_id), key)

    def report(self, key, answer, items):
        if answer is None:
            return rated(key, error=Failure(FailureKind.PERMANENT, Blame.TASK, "HTTP 400: no"))
        values = dict(zip(("label", "score"), answer, strict=True))
        if not items:
            return rated(key, values=values)
        found = tuple(
            ItemResult(f"wire:{each}", "wire", ItemState.SUCCEEDED, {"evaluate": values}, usage=Usage())
            for each in range(items)
        )
        quality = DimensionResult("quality", answer[1], 0.0, 1.0, items, "", ())
        return replace(rated(key), items=found, dimensions=(quality,), overall=answer[1])


def test_rows_of_runs_have_their_failures_and_costs():
    runs = Runs(sources=False)
    a = runs.run("a", lambda n: ("good" if n % 2 else "bad", n / 20))
    b = runs.run("b", lambda n: None if n == 3 else ("good", n / 20))
    found = compare_sides(a, b, table_truths(TruthPairing(_truth()), has_items=False))
    (level,) = found.levels
    assert (level.level, level.matched, level.failed_b, level.equal) == (TableLevel.ROWS, TASKS, 1, 5)
    known = found.columns["label"].accuracy
    assert (known.n, known.both, known.only_a, known.only_b) == (TASKS, 5, 1, 6)
    assert list(found.columns) == ["label", "score"]
    example = next(each for each in found.columns["label"].examples if each.task == "row-000001")
    assert (example.truth, dict(example.input), example.text) == ("good", {"name": "n0"}, "n0")
    assert (found.a.run_id, found.a.rows, found.b.failed) == ("a", TASKS, 1)
    assert "run a has not ended" in found.notes[0]


def _truth():
    rows = [{"key": f"row-{number + 1:06}", "label": "good"} for number in range(TASKS)]
    return TableSide("gold", lambda: iter(rows))


def test_runs_with_sources_are_compared_by_item_and_their_dimensions_by_task():
    runs = Runs(dimensions=[{"name": "quality", "field": "score"}])
    a = runs.run("a", lambda n: ("good", n / 20), items=3)
    b = runs.run("b", lambda n: ("good", n / 20 + (n % 3) / 10), items=3)
    found = compare_sides(a, b)
    assert [(each.level, each.matched, each.tasks) for each in found.levels] == [
        (TableLevel.ITEMS, 3 * TASKS, TASKS),
        (TableLevel.TASKS, TASKS, TASKS),
    ]
    assert {name: column.pairs for name, column in found.columns.items()} == {
        "label": 3 * TASKS,
        "score": 3 * TASKS,
        "overall": TASKS,
        "quality": TASKS,
    }
    items, tasks = found.columns["score"].numbers, found.columns["quality"].numbers
    assert items.difference.high == pytest.approx(tasks.difference.high)
    rows = [
        {"key": answer.task, "item": answer.item, "label": "bad"} for answer in a.answers(TableLevel.ITEMS)
    ]
    truths = table_truths(TruthPairing(TableSide("gold", lambda: iter(rows))), has_items=True)
    assert compare_sides(a, b, {"label": truths["label"]}).columns["label"].accuracy.neither == 3 * TASKS


def test_rows_are_paired_by_a_column_of_the_input():
    runs = Runs(sources=False)
    a = runs.run("a", lambda n: ("good", n), key="name")
    b = runs.run("b", lambda n: ("good", n), key="name", tasks=5, digest="other")
    assert AnswerTable(a.answers(TableLevel.ROWS)).count == TASKS
    found = compare_sides(a, b)
    assert (found.levels[0].matched, found.levels[0].only_a) == (5, TASKS - 5)
    assert "paired by number" not in " ".join(found.notes)
    with pytest.raises(ConfigError, match='run c: no column is named "id"; the columns are: name'):
        compare_sides(runs.run("c", lambda n: ("good", n), key="id"), b)


def test_rows_of_different_inputs_that_are_paired_by_number_are_noted():
    runs = Runs(sources=False)
    a, b = (runs.run(name, lambda n: ("good", n), digest=name) for name in "ab")
    assert any(
        "the runs have different inputs, and rows are paired by number" in note
        for note in compare_sides(a, b).notes
    )


def test_the_first_side_asked_again_shows_its_own_changes():
    runs = Runs(sources=False)
    a = runs.run("a", lambda n: ("good", n / 20))
    b = runs.run("b", lambda n: ("bad", n / 20 + 0.1))
    again = runs.run("a-again", lambda n: ("bad" if n == 0 else "good", n / 20 + 0.01), tasks=4)
    found = with_noise(compare_sides(a, b), a, again)
    assert found.columns["label"].churn.estimate == 0.25
    assert found.columns["score"].again.distance == pytest.approx(0.01)
    assert found.noise.tasks == 4
    assert (
        "Asked again, A itself changes 25.0% (4.6% to 69.9%) of label; from A to B 100.0%" in found.sentence
    )


@pytest.mark.parametrize(
    ("for_b", "begin"),
    [
        (16, "B is better than A: people who"),
        (4, "B is worse than A: "),
        (10, "No difference detected between"),
    ],
)
def test_what_people_preferred_blind_says_which_is_better(for_b, begin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = Runs(sources=False)
    a, b = (runs.run(name, lambda n, name=name: ("good", n / 20 + (name == "b"))) for name in "ab")
    assert preference_of([a, b], None, {}) is None
    with GoldenFile(golden_path(store_settings(None, {}), "a")) as file:
        for number in range(21):
            chosen = None if number == 20 else "b" if number < for_b else "a"
            file.append(
                GoldenRecord(f"t{number}", "x", "label", Decision.PREFER, "me", 1.0, other="b", chosen=chosen)
            )
    known = preference_of([a, b], None, {})
    assert (known.a, known.b, known.neither) == (20 - for_b, for_b, 1)
    other = preference_of([b, a], None, {})
    assert (other.a, other.b) == (for_b, 20 - for_b)
    found = compare_sides(a, b, preference=known)
    assert found.sentence.startswith(begin)
    assert holds("better", found) is (for_b == 16)
    assert found.as_dict()["preference"]["neither"] == 1


def test_a_run_and_a_table_of_another_kind_cannot_be_compared():
    runs = Runs(dimensions=[{"name": "quality", "field": "score"}])
    a = runs.run("a", lambda n: ("good", n / 20), items=1)
    with pytest.raises(
        ConfigError, match="a has items and tasks and B has rows: compare two runs, or tables"
    ):
        compare_sides(a, TableSide("B", lambda: iter([{"key": "x", "label": "good"}])))


def test_the_confidence_of_an_answer_of_a_run_is_that_of_its_step():
    sure = {"type": "number", "min": 0, "max": 1}
    steps = {"one": {"label": {"type": "string"}, "confidence": sure}, "two": {"confidence": sure}}
    runs = Runs(
        sources=False,
        evaluate=[
            {"name": name, "prompt": "Rate {text}", "output": output} for name, output in steps.items()
        ],
    )
    values = {"one": {"label": "good", "confidence": 0.9}, "two": {"confidence": 0.1}}
    runs.report = lambda key, *_: replace(
        rated(key), items=(ItemResult(f"rows:{key}", "rows", ItemState.SUCCEEDED, values, usage=Usage()),)
    )
    a, b = (runs.run(name, lambda n: n) for name in "ab")
    rows = [{"key": f"row-{number + 1:06}", "label": "good"} for number in range(TASKS)]
    found = compare_sides(
        a, b, table_truths(TruthPairing(TableSide("gold", lambda: iter(rows))), has_items=False)
    )
    assert found.columns["label"].accuracy.calibration_a == pytest.approx(0.1)

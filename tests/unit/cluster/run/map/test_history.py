"""The identity of a run of `map`: what is asked and the rows, and nothing else."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.core.errors import Blame, ConfigError, Failure, FailureKind
from actors.core.messages.journal import Accept, CloseRun, Finish, OpenRun
from actors.core.messages.tasks import ItemResult, ItemState, TaskState
from cluster.checks.placeholders import PlaceholderError
from cluster.input.rows import RowInput
from cluster.report.tables.parquet_input import ParquetInput
from cluster.run.map import history
from cluster.run.map.history import history_of
from cluster.run.map.job import MapJob, asked_of, check_job, map_origin
from cluster.run.map.question import MapQuestion, map_config
from tests.unit.support.journal_desk import Desk, report

OUTPUT = {"label": {"type": "string"}}
QUESTION = MapQuestion("Classify: {text}", OUTPUT, name="reviews", model="m", base_url="http://h.test/v1")
ROWS = ({"text": "a"}, {"text": "b"})


def rows_of(*records):
    return RowInput.of_records(lambda: iter(records or ROWS), "reviews")


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Return the job of the question with changes, whose store is in a new directory."""
    monkeypatch.chdir(tmp_path)

    def made(*records, **changes) -> MapJob:
        return MapJob(map_config(replace(QUESTION, **changes), {}), rows_of(*records))

    return made


def test_the_same_job_has_the_same_run(job):
    assert history_of(job()).run_id == history_of(job()).run_id
    assert history_of(job()).run_id.startswith("map-reviews-")


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "Classify this: {text}"},
        {"system": "You are strict."},
        {"output": {"label": {"type": "integer"}}},
        {"output": {"other": {"type": "string"}}},
        {"model": "n"},
        {"base_url": "http://i.test/v1"},
        {"overrides": ("evaluate.params={temperature: 0}",)},
        {"overrides": ("evaluate.max_tokens=7",)},
        {"overrides": ("llm.endpoints.0.dialect=anthropic",)},
        {"overrides": ("llm.endpoints.0.describe_output=false",)},
        {"overrides": ("llm.endpoints.0.params={seed: 1}",)},
        {"overrides": ("llm.endpoints.0.query={tier: b}",)},
        {"overrides": ("llm.endpoints.0.structured=json",)},
        {"overrides": ("llm.endpoints.0.system=You are strict.",)},
        {"overrides": ("llm.endpoints.0.headers={x-route: b}",)},
    ],
    ids=str,
)
def test_another_question_is_another_run(job, changes):
    assert history_of(job(**changes)).run_id != history_of(job()).run_id


@pytest.mark.parametrize(
    "changes",
    [
        {"budget_usd": None, "overrides": ("limits.active_tasks=7",)},
        {"overrides": ("llm.timeout_s=7",)},
        {"overrides": ("llm.endpoints.0.max_in_flight=7",)},
        {"overrides": ("llm.endpoints.0.price={input_usd_per_mtok: 1, output_usd_per_mtok: 1}",)},
        {"overrides": ("llm.endpoints.0.api_key=sk-another",)},
        {"overrides": ("llm.endpoints.0.proxy=http://proxy.test:3128",)},
        {"overrides": ("llm.endpoints.0.credentials={kind: command, command: [login]}",)},
        {"overrides": ("llm.endpoints.0.headers={X-Api-Key: ours}",)},
        {"overrides": ("llm.endpoints.0.system_as=developer",)},
        {"overrides": ("llm.endpoints.0.refuses=[top_p]",)},
        {"overrides": ("llm.endpoints.0.max_answer_bytes=2048",)},
        {"overrides": ("llm.endpoints.0.preset=vllm",)},
    ],
    ids=str,
)
def test_another_speed_price_or_key_is_the_same_run(job, changes):
    assert history_of(job(**changes)).run_id == history_of(job()).run_id


def test_files_of_another_directory_are_another_run(job):
    def run_id(directory, *attach):
        changes = (f"llm.attachments.directory={directory}", "llm.attachments.max_bytes=7")
        return history_of(job(attach=attach, overrides=changes)).run_id

    assert run_id("a", "text") == run_id("./a", "text") != run_id("b", "text")
    assert run_id("a") == run_id("b")


def test_other_rows_are_another_run(job):
    ids = {history_of(job(*rows)).run_id for rows in (ROWS, ROWS[::-1], ROWS[:1], ({"text": "c"},))}
    assert len(ids) == 4


def test_a_sample_is_a_run_of_its_own():
    records = [{"n": n} for n in range(100)]
    one, same, other = (RowInput.of_records(lambda: iter(records), "r", sample=9, seed=s) for s in (1, 1, 2))
    assert one.digest == same.digest != other.digest


@pytest.fixture
def store(monkeypatch):
    """Return the desk of the store in which runs are found."""
    desk = Desk()
    monkeypatch.setattr(history, "store_if_any", lambda _: contextlib.nullcontext(desk.store))
    return desk


def begin(desk, job, run_id):
    """Begin the run of a job, as a process does that is killed before a row has ended."""
    origin = map_origin(job, job.config)
    desk.tell(OpenRun(run_id, job.config.name, {}, origin.stored()))
    desk.tell_all(*(Accept(run_id, task) for task in job.rows))


def finish(desk, job, run_id):
    desk.tell_all(*(Finish(run_id, report(task.key)) for task in job.rows))
    desk.tell(CloseRun(run_id, "succeeded"))


def test_a_fresh_job_uses_no_run_of_plain_jobs(job, store):
    plain = history_of(job()).run_id
    begin(store, job(), plain)
    fresh = history_of(replace(job(), fresh=True))
    assert (fresh.run_id, fresh.run) == (f"{plain}-f1", None)


@pytest.mark.parametrize("state", ["running", "interrupted", "cancelled", "failed"])
def test_a_fresh_job_continues_its_run_that_has_not_ended(job, store, state):
    fresh = replace(job(), fresh=True)
    run_id = history_of(fresh).run_id
    begin(store, fresh, run_id)
    if state != "running":
        store.tell(CloseRun(run_id, state))
    assert (history_of(fresh).run_id, history_of(fresh).run.state) == (run_id, state)


def test_a_fresh_job_whose_runs_have_ended_is_new(job, store):
    fresh, plain = replace(job(), fresh=True), history_of(job()).run_id
    for number in range(1, 12):  # f10 comes before f2 in the order of texts
        known = history_of(fresh)
        assert (known.run_id, known.run) == (f"{plain}-f{number}", None)
        begin(store, fresh, known.run_id)
        finish(store, fresh, known.run_id)


@pytest.mark.parametrize(
    ("kind", "retry_failed", "continues"),
    [
        (FailureKind.BUDGET, False, True),
        (FailureKind.PERMANENT, False, False),
        (FailureKind.PERMANENT, True, True),
    ],
)
def test_a_fresh_run_is_continued_for_failed_rows_that_are_asked_again(
    job, store, kind, retry_failed, continues
):
    fresh = replace(job(), fresh=True, retry_failed=retry_failed)
    run_id = history_of(fresh).run_id
    begin(store, fresh, run_id)
    first, second = (task.key for task in fresh.rows)
    item = ItemResult(first, "rows", ItemState.FAILED, {}, Failure(kind, Blame.LIMIT, "no answer"))
    failed = msgspec.structs.replace(report(first, TaskState.FAILED), items=(item,))
    store.tell_all(Finish(run_id, failed), Finish(run_id, report(second)))
    store.tell(CloseRun(run_id, "partial"))
    assert (history_of(fresh).run_id == run_id) is continues


def test_names_that_the_input_already_has_are_refused_unless_they_are_replaced(job):
    clashing = job({"text": "a", "label": "old"})
    with pytest.raises(ConfigError, match=r"'label' among its columns: give --replace .*--prefix TEXT"):
        check_job(clashing)
    check_job(replace(clashing, replaces=True))
    check_job(job({"text": "a", "_error": "of an earlier run"}))


def test_the_columns_are_listed_in_the_order_of_the_table(job):
    columns = dict.fromkeys(("zeta", "id", "alpha", "review", "date"), "x")
    with pytest.raises(ConfigError, match="text; columns: zeta, id, alpha, review, date;"):
        check_job(job(columns))


@pytest.mark.parametrize(
    "target", ["p.csv", "./p.csv", "file://{here}/p.csv", "local://{here}/p.csv", "link.csv"]
)
def test_no_result_replaces_the_table_that_is_read(job, tmp_path, target):
    (tmp_path / "p.csv").write_text("text\na\n")
    (tmp_path / "link.csv").symlink_to("p.csv")
    target = target.format(here=tmp_path)
    for target_of, table in ((target, "p.csv"), ("p.csv", target)):
        with pytest.raises(ConfigError, match="would replace the table itself"):
            check_job(replace(job(), table=table, target=target_of))
    check_job(replace(job(), table=target, target="q.csv"))


def test_remote_files_are_compared_by_kind_and_path(job):
    memory = replace(job(), table="memory://user:one@bucket/p.csv")
    check_job(replace(memory, target="memory://bucket/q.csv"))
    with pytest.raises(ConfigError) as caught:
        check_job(replace(memory, target="memory://user:one@bucket/p.csv"))
    assert "one@" not in str(caught.value)


def test_what_has_changed_since_an_earlier_run_is_said(job, monkeypatch):
    first, desk = job(), Desk()
    monkeypatch.setattr(history, "store_if_any", lambda _: contextlib.nullcontext(desk.store))
    run_id = history_of(first).run_id
    origin = {"input": {"tasks": 2, "digest": first.rows.digest}, "asked": asked_of(first.config)}
    desk.tell(OpenRun(run_id, first.config.name, {}, origin))
    desk.tell_all(*(Accept(run_id, task) for task in first.rows))
    known = history_of(first)
    assert (known.run.tasks.accepted, known.ended, known.notes) == (2, 0, ())
    another = job(prompt="Another: {text}")
    assert history_of(another).notes == (), "the run has no answer yet"
    desk.tell(Finish(run_id, report(next(iter(first.rows)).key)))
    (note,) = history_of(another).notes
    changed = f"the question, the model or the endpoint has changed since run {run_id}"
    assert note == f"{changed}: only answers to equal questions are reused"
    (note,) = history_of(job({"text": "a"}, {"text": "b"}, {"text": "c"})).notes
    assert note.startswith("the rows have changed since run map-reviews-")


def test_a_job_that_was_only_asked_fresh_has_not_changed(job, store):
    fresh = replace(job(), fresh=True)
    run_id = history_of(fresh).run_id
    begin(store, fresh, run_id)
    finish(store, fresh, run_id)
    assert history_of(job()).notes == ()


def test_a_prompt_cannot_name_a_column_that_json_cannot_hold(job, tmp_path):
    pq.write_table(pa.table({"text": ["a"], "photo": [b"x"]}), tmp_path / "in.parquet")
    records = ({"text": "a", "photo": None},)
    given = ParquetInput(tmp_path / "in.parquet")
    check_job(replace(job(*records), arrow_input=given))
    with pytest.raises(PlaceholderError, match="photo"):
        check_job(replace(job(*records, prompt="Describe {photo}"), arrow_input=given))


def test_a_column_that_json_cannot_hold_is_in_a_parquet_result_only(job, tmp_path):
    pq.write_table(pa.table({"text": ["a"], "photo": [b"x"]}), tmp_path / "in.parquet")
    given = replace(job({"text": "a", "photo": None}), arrow_input=ParquetInput(tmp_path / "in.parquet"))
    check_job(replace(given, target="out.parquet"))
    wanted = r"out.csv: only Parquet can hold column photo \(binary\); write Parquet, or drop"
    with pytest.raises(ConfigError, match=wanted):
        check_job(replace(given, target="out.csv"))

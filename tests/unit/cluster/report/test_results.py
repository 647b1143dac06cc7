"""Result files: tables in the order of the input, complete or absent, and errors that say what to do."""

from __future__ import annotations

import errno
import pickle
import tempfile
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from msgspec.structs import replace

from actors.core.errors import ConfigError
from actors.core.messages.tasks import DimensionResult, Report, SourceOutcome, Task, TaskState
from actors.core.messages.values import CallCounts, Usage
from actors.core.task.reports import report_line
from cluster.report.results import ResultWriter
from cluster.report.tables import parquet, targets
from cluster.report.tables.targets import ResultsError
from tests.unit.support.tables import lines, publish, rated, settings


def report(key: str = "a", state: TaskState = TaskState.SUCCEEDED) -> Report:
    quality = DimensionResult("quality", 0.5, 0.25, 0.75, 4, "It is good.", ("wire:0", "wire:1"), ("thin",))
    nothing = DimensionResult("risk", None, None, None, 0, "", ())
    return Report(
        key,
        state,
        0.5,
        (quality, nothing),
        {"wire": SourceOutcome(4), "api": SourceOutcome(0, "transient: answered 503")},
        CallCounts(planned=6, billed=7, unusable=1),
        Usage(100, 20, 0.5),
        1.5,
        ("source api failed",),
    )


def opened(directory, run_id, formats, **options) -> ResultWriter:
    config = settings({"directory": str(directory), "format": formats, **options})
    writer = ResultWriter.for_run(config, run_id)
    writer.open()
    return writer


def fill(writer: ResultWriter, *reports: Report) -> None:
    for ordinal, one in enumerate(reports):
        writer.write(Task(one.key), one, ordinal)
    publish(writer)


# ---- the files of a run ----------------------------------------------------------------------------------


def test_both_formats_hold_the_same_reports(tmp_path):
    reports = [report("a"), report("b", TaskState.PARTIAL)]
    with opened(tmp_path, "r1", ["jsonl", "parquet"]) as writer:
        fill(writer, *reports)
        jsonl, parquet_path = writer.paths
    assert jsonl == str(tmp_path / "r1" / "reports.jsonl")
    assert lines(jsonl) == [report_line(one, is_priced=True) for one in reports]
    rows = pq.read_table(parquet_path).to_pylist()
    for each in rows:
        each["sources"] = {source.pop("name"): source for source in each["sources"]}
    assert rows == lines(jsonl)


def test_rows_are_in_the_order_of_the_input_although_tasks_end_in_another(tmp_path):
    with opened(tmp_path, "r", ["jsonl"]) as writer:
        for ordinal in (4, 0, 3, 1, 2):
            writer.write(Task(f"t{ordinal}"), report(f"t{ordinal}"), ordinal)
        publish(writer)
        assert [line["key"] for line in lines(writer.paths[0])] == ["t0", "t1", "t2", "t3", "t4"]


def test_a_run_that_was_interrupted_publishes_the_reports_that_it_has_in_order(tmp_path):
    with opened(tmp_path, "r", ["jsonl"]) as writer:
        for ordinal in (7, 2):
            writer.write(Task(f"t{ordinal}"), report(f"t{ordinal}"), ordinal)
        writer.finish(is_whole=False)
        writer.publish()
        assert [line["key"] for line in lines(writer.paths[0])] == ["t2", "t7"]


def test_the_columns_of_the_input_are_joined_and_renamed_where_the_name_is_taken(tmp_path):
    with opened(tmp_path, "r", ["jsonl", "parquet"]) as writer:
        writer.write(Task("a", {"title": "One", "state": 1}), report("a"), 0)
        writer.write(Task("b", {"title": "Two", "pages": 2.5}), report("b"), 1)
        publish(writer)
        jsonl, parquet_path = writer.paths
    first, second = lines(jsonl)
    assert [*first][:4] == ["key", "title", "input.state", "pages"]
    assert (first["title"], first["input.state"], first["state"], first["pages"]) == (
        "One",
        1,
        "succeeded",
        None,
    )
    assert (second["input.state"], second["pages"]) == (None, 2.5)
    schema = pq.read_schema(parquet_path)
    assert (schema.field("input.state").type, schema.field("pages").type) == (pa.int64(), pa.float64())


def test_a_csv_of_reports_has_a_column_for_each_part_of_a_dimension(tmp_path):
    dimensions = [{"name": "quality", "field": "score"}]
    config = settings({"directory": str(tmp_path), "format": "csv"}, dimensions=dimensions)
    with ResultWriter.for_run(config, "r") as writer:
        writer.open()
        fill(writer, report("a"))
        header, values = Path(writer.paths[0]).read_text(encoding="utf-8").splitlines()
    named = dict(zip(header.split(","), values.split(","), strict=False))
    assert named['"quality.score"'] == "0.5"
    assert named['"quality.n"'] == "4"
    assert named['"quality.finding"'] == '"It is good."'


def test_the_schema_is_the_same_for_a_run_without_reports(tmp_path):
    schemas = []
    for reports in ([], [report()]):
        with opened(tmp_path, "r", ["parquet"]) as writer:
            fill(writer, *reports)
            table = pq.read_table(writer.paths[0])
        assert table.num_rows == len(reports)
        schemas.append(table.schema)
    assert schemas[0].equals(schemas[1])


def test_row_groups_are_written_as_they_fill(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 3)
    monkeypatch.setattr("cluster.report.tables.spool._BATCH_TASKS", 2)
    with opened(tmp_path, "r", ["parquet"]) as writer:
        fill(writer, *(report(f"t{number}") for number in range(7)))
        metadata = pq.read_metadata(writer.paths[0])
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [4, 3]


@pytest.mark.parametrize("name", ["jsonl", "parquet", "csv"])
def test_a_file_appears_only_when_it_is_complete(tmp_path, name):
    writer = opened(tmp_path, "r", [name])
    writer.write(Task("a"), report(), 0)
    writer.finish()
    assert not (tmp_path / "r" / f"reports.{name}").exists()
    writer.publish()
    assert [path.name for path in (tmp_path / "r").iterdir()] == [f"reports.{name}"]
    writer.discard()


def test_a_writer_that_is_not_opened_touches_nothing(tmp_path):
    config = settings({"directory": str(tmp_path), "format": ["jsonl", "parquet"]})
    with ResultWriter.for_run(config, "r"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_breaks_leaves_the_files_of_before_and_no_others(tmp_path):
    def run(key, *, breaks):
        with opened(tmp_path, "r", ["jsonl", "parquet"]) as writer:
            writer.write(Task(key), report(key), 0)
            if breaks:
                raise KeyError("a defect")
            publish(writer)

    run("before", breaks=False)
    with pytest.raises(KeyError):
        run("broken", breaks=True)
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["reports.jsonl", "reports.parquet"]
    assert [line["key"] for line in lines(tmp_path / "r" / "reports.jsonl")] == ["before"]
    assert pq.read_table(tmp_path / "r" / "reports.parquet")["key"].to_pylist() == ["before"]


def test_a_writer_that_lingers_cannot_write_into_the_file_of_the_one_that_followed(tmp_path):
    lingering = opened(tmp_path, "r", ["jsonl"])
    with opened(tmp_path, "r", ["jsonl"]) as following:
        lingering.write(Task("old"), report("old"), 0)
        fill(following, report("new"))
    lingering.finish()
    with pytest.raises(ResultsError):
        lingering.publish()
    assert [line["key"] for line in lines(tmp_path / "r" / "reports.jsonl")] == ["new"]


def test_what_a_killed_writer_left_is_removed_by_the_next_owner(tmp_path):
    (tmp_path / "r").mkdir()
    for name in (".reports.jsonl.0a1b2c3d.part", ".reports.parquet.part", "mine.part"):
        (tmp_path / "r" / name).touch()
    with opened(tmp_path, "r", ["jsonl", "parquet"]) as writer:
        publish(writer)
    left = sorted(path.name for path in (tmp_path / "r").iterdir())
    assert left == ["mine.part", "reports.jsonl", "reports.parquet"]


def test_a_resumed_run_writes_its_files_anew(tmp_path):
    for keys in (["a", "b"], ["c"]):
        with opened(tmp_path, "r", ["jsonl", "parquet"]) as writer:
            fill(writer, *map(report, keys))
    assert [line["key"] for line in lines(tmp_path / "r" / "reports.jsonl")] == ["c"]
    assert pq.read_table(tmp_path / "r" / "reports.parquet")["key"].to_pylist() == ["c"]


@pytest.mark.parametrize("name", ["jsonl", "parquet", "csv"])
def test_a_full_disk_is_an_error_with_the_path_and_the_remedy(tmp_path, monkeypatch, name):
    def onto_a_full_disk(*_, **__):
        return Path("/dev/full").open("wb")

    def write():
        with opened(tmp_path, "r", [name]) as writer:
            fill(writer, report())

    monkeypatch.setattr(targets, "open", onto_a_full_disk, raising=False)
    with pytest.raises(
        ResultsError, match="the disk is full; free space, or write to another place"
    ) as caught:
        write()
    assert str(tmp_path / "r") in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).failure() == caught.value.failure()  # noqa: S301 - made here


def test_a_disk_that_is_full_before_the_end_is_an_error_and_not_a_second_one(tmp_path, monkeypatch):
    def onto_a_full_disk(*, buffering, **_):
        return Path("/dev/full").open("w+b", buffering=buffering)

    monkeypatch.setattr(tempfile, "TemporaryFile", onto_a_full_disk)

    def write():
        with opened(tmp_path, "r", ["jsonl"]) as writer:
            for ordinal in range(9):
                writer.write(Task(str(ordinal), {"text": "x" * 100_000}), report(str(ordinal)), ordinal)

    with pytest.raises(ResultsError, match="the disk is full"):
        write()


def test_a_file_that_cannot_be_published_is_removed(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = opened(tmp_path, "r", ["parquet"])
    writer.write(Task("a"), report(), 0)
    writer.finish()
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ResultsError, match=r"reports\.parquet: the disk is full"):
        writer.publish()
    assert list((tmp_path / "r").iterdir()) == []


def test_a_file_in_the_place_of_the_directory_is_an_error_with_the_remedy(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(ResultsError, match="a file is in the place of a directory"):
        opened(tmp_path / "runs", "r", ["jsonl"])


def test_a_missing_permission_is_an_error_with_the_remedy(tmp_path, monkeypatch):
    # Not by chmod: for root every directory is writable.
    def refuse(*args, **kwargs):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(targets, "open", refuse, raising=False)
    with pytest.raises(ResultsError, match="writing is not permitted; permit it"):
        opened(tmp_path, "r", ["jsonl"])


def test_text_that_is_not_unicode_is_an_error_that_names_the_task(tmp_path):
    with (
        opened(tmp_path, "r", ["jsonl"]) as writer,
        pytest.raises(ResultsError, match="task 'a\\\\udc80'"),
    ):
        writer.write(Task("a\udc80"), report("a\udc80"), 0)


def test_a_directory_may_be_a_url(tmp_path):
    MemoryFileSystem.store.clear()
    with opened("memory://bucket/runs/", "r", ["csv", "jsonl"]) as writer:
        fill(writer, report("a"))
        assert writer.paths[1] == "memory://bucket/runs/r/reports.jsonl"
    (line,) = bytes(MemoryFileSystem.store["/bucket/runs/r/reports.jsonl"].getbuffer()).splitlines()
    assert orjson.loads(line) == report_line(report("a"), is_priced=True)
    MemoryFileSystem.store.clear()


def test_a_url_of_an_unknown_kind_is_an_error_before_the_run():
    with pytest.raises(ConfigError, match=r"nope://runs/r/reports\.jsonl: "):
        ResultWriter.for_run(settings({"directory": "nope://runs"}), "r")


def test_the_text_of_an_item_is_a_column_where_it_is_asked_for(tmp_path):
    with opened(tmp_path, "r", ["jsonl"], tables=["items"], text=True) as writer:
        one = rated("a")
        texted = replace(one, items=(replace(one.items[0], text="It is fine."),))
        writer.write(Task("a"), texted, 0)
        writer.write(Task("b"), rated("b"), 1)
        publish(writer)
        assert [line["text"] for line in lines(writer.paths[0])] == ["It is fine.", None]

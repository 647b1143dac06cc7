"""Result files: whole lines, a Parquet file that is complete or absent, and errors that say what to do."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from actors.core.messages.tasks import DimensionResult, Report, SourceOutcome, TaskState
from actors.core.messages.values import CallCounts, Usage
from actors.core.task.reports import report_line
from cluster.report import results_parquet
from cluster.report.results import ResultsError, ResultWriter
from cluster.report.results_parquet import PARQUET_SCHEMA


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


def opened(*arguments) -> ResultWriter:
    writer = ResultWriter(*arguments)
    writer.open()
    return writer


def publish(writer: ResultWriter) -> None:
    writer.finish()
    writer.publish()


def lines(path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_both_formats_hold_the_same_reports(tmp_path):
    reports = [report("a"), report("b", TaskState.PARTIAL)]
    with opened(tmp_path, "r1", ["jsonl", "parquet"]) as writer:
        for one in reports:
            writer.write(one)
        publish(writer)
    jsonl, parquet = writer.paths
    assert jsonl == tmp_path / "r1" / "results.jsonl"
    assert lines(jsonl) == [report_line(one) for one in reports]
    rows = pq.read_table(parquet).to_pylist()
    for row in rows:
        row["sources"] = {source.pop("name"): source for source in row["sources"]}
    assert rows == lines(jsonl)


def test_every_member_of_a_result_line_has_a_column():
    line = report_line(report())
    assert list(line) == PARQUET_SCHEMA.names
    for member in ("calls", "tokens"):
        assert list(line[member]) == [field.name for field in PARQUET_SCHEMA.field(member).type]
    assert list(line["dimensions"][0]) == [
        field.name for field in PARQUET_SCHEMA.field("dimensions").type.value_type
    ]


def test_the_parquet_schema_is_the_same_for_a_run_without_reports(tmp_path):
    with opened(tmp_path, "r", ["parquet"]) as writer:
        publish(writer)
    (path,) = writer.paths
    table = pq.read_table(path)
    assert table.num_rows == 0
    assert table.schema.equals(PARQUET_SCHEMA)


def test_row_groups_are_written_as_they_fill(tmp_path, monkeypatch):
    monkeypatch.setattr(results_parquet, "ROW_GROUP_ROWS", 3)
    with opened(tmp_path, "r", ["parquet"]) as writer:
        for number in range(7):
            writer.write(report(f"t{number}"))
        assert len(writer._sinks[0]._rows) == 1
        publish(writer)
    (path,) = writer.paths
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [3, 3, 1]


@pytest.mark.parametrize("name", ["jsonl", "parquet"])
def test_a_file_appears_only_when_it_is_complete(tmp_path, name):
    writer = opened(tmp_path, "r", [name])
    writer.write(report())
    writer.finish()
    assert not (tmp_path / "r" / f"results.{name}").exists()
    writer.publish()
    assert [path.name for path in (tmp_path / "r").iterdir()] == [f"results.{name}"]


def test_a_writer_that_is_not_opened_touches_nothing(tmp_path):
    with ResultWriter(tmp_path, "r", ["jsonl", "parquet"]):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_breaks_leaves_the_files_of_before_and_no_others(tmp_path):
    def run(key, *, breaks):
        with opened(tmp_path, "r", ["jsonl", "parquet"]) as writer:
            writer.write(report(key))
            if breaks:
                raise KeyError("a defect")
            publish(writer)

    run("before", breaks=False)
    with pytest.raises(KeyError):
        run("broken", breaks=True)
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["results.jsonl", "results.parquet"]
    assert [line["key"] for line in lines(tmp_path / "r" / "results.jsonl")] == ["before"]
    assert pq.read_table(tmp_path / "r" / "results.parquet")["key"].to_pylist() == ["before"]


def test_a_writer_that_lingers_cannot_write_into_the_file_of_the_one_that_followed(tmp_path):
    lingering = opened(tmp_path, "r", ["jsonl"])
    with opened(tmp_path, "r", ["jsonl"]) as following:
        lingering.write(report("old"))
        following.write(report("new"))
        publish(following)
    lingering.finish()
    with pytest.raises(ResultsError):
        lingering.publish()
    assert [line["key"] for line in lines(tmp_path / "r" / "results.jsonl")] == ["new"]


def test_what_a_killed_writer_left_is_removed_by_the_next_owner(tmp_path):
    (tmp_path / "r").mkdir()
    for name in (".results.jsonl.0a1b2c3d.part", ".results.parquet.part", "mine.part"):
        (tmp_path / "r" / name).touch()
    with opened(tmp_path, "r", ["jsonl", "parquet"]) as writer:
        publish(writer)
    left = sorted(path.name for path in (tmp_path / "r").iterdir())
    assert left == ["mine.part", "results.jsonl", "results.parquet"]


def test_a_resumed_run_writes_its_files_anew(tmp_path):
    for keys in (["a", "b"], ["c"]):
        with opened(tmp_path, "r", ["jsonl", "parquet"]) as writer:
            for key in keys:
                writer.write(report(key))
            publish(writer)
    assert [line["key"] for line in lines(tmp_path / "r" / "results.jsonl")] == ["c"]
    assert pq.read_table(tmp_path / "r" / "results.parquet")["key"].to_pylist() == ["c"]


@pytest.mark.parametrize("name", ["jsonl", "parquet"])
def test_a_full_disk_is_said_with_the_path_and_the_remedy(tmp_path, monkeypatch, name):
    real = Path.open

    def onto_a_full_disk(path, *_, **__):
        return real(Path("/dev/full"), "wb")

    def write():
        with opened(tmp_path, "r", [name]) as writer:
            writer.write(report())
            writer.finish()

    monkeypatch.setattr(Path, "open", onto_a_full_disk)
    with pytest.raises(
        ResultsError, match=r"the disk is full; free space, or set output\.directory"
    ) as caught:
        write()
    assert str(tmp_path / "r") in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).failure() == caught.value.failure()  # noqa: S301 - made here


def test_a_file_that_cannot_be_published_is_let_go(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = opened(tmp_path, "r", ["parquet"])
    writer.write(report())
    writer.finish()
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ResultsError, match=r"results\.parquet: the disk is full"):
        writer.publish()
    assert list((tmp_path / "r").iterdir()) == []


def test_a_file_where_the_directory_should_be_is_said(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(ResultsError, match="a file is in the place of a directory"):
        opened(tmp_path / "runs", "r", ["jsonl"])


def test_a_missing_permission_is_said(tmp_path, monkeypatch):
    # Not by chmod: for root every directory is writable.
    def refuse(*args, **kwargs):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ResultsError, match="writing is not permitted; permit it"):
        opened(tmp_path, "r", ["jsonl"])


def test_text_that_is_not_unicode_is_an_error_that_names_the_task(tmp_path):
    with (
        opened(tmp_path, "r", ["jsonl"]) as writer,
        pytest.raises(ResultsError, match="task 'a\\\\udc80'"),
    ):
        writer.write(report("a\udc80"))


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown result format 'xml'"):
        ResultWriter(tmp_path, "r", ["parquet", "xml"])

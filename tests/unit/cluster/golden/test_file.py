"""The file of a golden set: durable, whole lines, one writer."""

from __future__ import annotations

import os

import pytest

from actors.core.errors import InvalidRunIdError
from actors.journal.stores.opening import PostgresSettings, SqliteSettings
from cluster.golden.file import GoldenFile, golden_path, read_golden
from cluster.golden.records import MOST_LINE_BYTES, Decision, GoldenError, GoldenRecord, dump_line, load_line


def record(task="t1", decision=Decision.ACCEPT, value="good", field="label", **more):
    return GoldenRecord(task, f"rows:{task}", field, decision, "ann", 1.5, answer="good", value=value, **more)


def written(path, *records):
    with GoldenFile(path) as file:
        for each in records:
            file.append(each)


def decisions(golden):
    return {each.task: (each.decision, each.value) for each in golden}


def test_the_last_decision_about_a_place_stands_and_undo_withdraws_it(tmp_path):
    path = tmp_path / "new" / "golden" / "run.jsonl"
    edit, undo = record(decision=Decision.EDIT, value="bad"), record(decision=Decision.UNDO, value=None)
    written(path, record(), edit, record("t2"))
    assert decisions(read_golden(path)) == {"t1": ("edit", "bad"), "t2": ("accept", "good")}
    written(path, undo)
    assert decisions(read_golden(path)) == {"t1": ("accept", "good"), "t2": ("accept", "good")}
    written(path, undo, undo, undo)
    assert decisions(read_golden(path)) == {"t2": ("accept", "good")}
    assert len(path.read_bytes().splitlines()) == 7
    assert path.stat().st_mode & 0o077 == path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "value", ["a\nb\u2028</script>", "\ud800", 2**70, 1.5, None, [1, {"é": True}]], ids=repr
)
def test_a_record_of_any_value_is_one_line(value):
    made = record("\udcff", value=value, order="confidence")
    line = dump_line(made)
    assert line.count(b"\n") == 1
    assert load_line(line) == made


def test_a_record_that_is_too_long_is_refused_and_the_file_stays_as_it_was(tmp_path):
    path = tmp_path / "run.jsonl"
    with GoldenFile(path) as file:
        file.append(record())
        with pytest.raises(GoldenError, match=r"at most 1,048,576"):
            file.append(record(value="x" * MOST_LINE_BYTES))
        file.append(record("t2"))
    assert decisions(read_golden(path)).keys() == {"t1", "t2"}


@pytest.mark.parametrize("kept", range(6))
def test_a_torn_last_line_is_left_out_by_readers_and_removed_by_the_next_writer(tmp_path, kept):
    path = tmp_path / "run.jsonl"
    written(path, record(), record("t2"))
    size = len(dump_line(record()))
    os.truncate(path, size + kept * 20)
    assert decisions(read_golden(path)).keys() == {"t1"}
    written(path, record("t3"))
    assert decisions(read_golden(path)).keys() == {"t1", "t3"}


@pytest.mark.parametrize(
    "content", [b'{"my":"precious"}', b"id,text\n1,precious", b'{"task": "t1"}', b"x", b"\xff"]
)
def test_a_file_that_is_no_golden_set_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    with pytest.raises(GoldenError, match=r"line 1, is no decision"):
        GoldenFile(path)
    assert path.read_bytes() == content


def test_a_last_line_that_lacks_only_its_end_is_kept(tmp_path):
    path = tmp_path / "run.jsonl"
    written(path, record())
    os.truncate(path, path.stat().st_size - 1)
    written(path, record("t2"))
    assert decisions(read_golden(path)).keys() == {"t1", "t2"}


@pytest.mark.parametrize(
    "line", [b"{}", b"not JSON", b"[" * 100_000, b'{"task": 1}', b"\xff", b"x" * MOST_LINE_BYTES], ids=len
)
def test_a_damaged_line_within_the_file_is_an_error_with_its_number(tmp_path, line):
    path = tmp_path / "run.jsonl"
    path.write_bytes(dump_line(record()) + line + b"\n" + dump_line(record("t2")))
    with pytest.raises(GoldenError, match=r"run\.jsonl, line 2"):
        read_golden(path)
    with pytest.raises(GoldenError, match=r"line 2"):
        GoldenFile(path)


def test_a_second_writer_is_refused_until_the_first_has_ended(tmp_path):
    path = tmp_path / "run.jsonl"
    with GoldenFile(path), pytest.raises(GoldenError, match="another review writes"):
        GoldenFile(path)
    written(path, record())


def test_a_write_that_fails_leaves_no_part_of_its_line(tmp_path, monkeypatch):
    path = tmp_path / "run.jsonl"
    whole = os.write

    def half(file, data):
        if len(data) > 50:
            return whole(file, data[:50])
        raise OSError(28, "No space left on device")

    with GoldenFile(path) as file:
        file.append(record())
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(GoldenError, match="No space left"):
            file.append(record("t2"))
        monkeypatch.setattr(os, "write", whole)
        file.append(record("t3"))
        assert decisions(file.golden).keys() == {"t1", "t3"}
    assert decisions(read_golden(path)).keys() == {"t1", "t3"}


def test_a_golden_set_lies_beside_the_store(tmp_path):
    assert golden_path(SqliteSettings("/d/state.db"), "r-1").as_posix() == "/d/golden/r-1.jsonl"
    assert golden_path(PostgresSettings("postgresql://h/d"), "r").as_posix() == ".headrace/golden/r.jsonl"
    with pytest.raises(InvalidRunIdError):
        golden_path(SqliteSettings("/d/state.db"), "../x")
    assert len(read_golden(tmp_path / "none.jsonl")) == 0

"""Tasks come in one by one, and whatever is wrong names its line."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import pickle
import re
from decimal import Decimal

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.core.errors import ConfigError
from actors.core.messages.tasks import Task
from actors.sources.files import parquet_rows
from cluster.input import stream
from cluster.input.problems import TaskInputError
from cluster.run.task_input import check_columns, from_inline, make_range, reader_of, take
from tests.unit.support.tables import settings
from tests.unit.support.task_files import read_file


@pytest.fixture
def read(tmp_path):
    """Write `content` to a file of that name and return the tasks in it."""

    def run(name: str, content: bytes | str) -> list[Task]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(read_file(path))

    return run


def problem_of(read, name: str, content: bytes | str) -> TaskInputError:
    with pytest.raises(TaskInputError) as caught:
        read(name, content)
    return caught.value


# ---- JSON lines ------------------------------------------------------------------------------------------


def test_a_line_is_an_object_with_params_or_any_object_with_a_key_or_a_string(read):
    tasks = read(
        "t.jsonl", '{"key": "a", "params": {"n": 1}}\n{"key": "b", "n": 2}\n"c"\n{"key": 7, "params": null}'
    )
    assert tasks == [Task("a", {"n": 1}), Task("b", {"n": 2}), Task("c"), Task("7")]


def test_members_beside_params_join_them(read):
    assert read("t.jsonl", '{"key": "a", "m": 1, "params": {"n": 2}}') == [Task("a", {"m": 1, "n": 2})]


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_mean_nothing(read):
    assert read("t.jsonl", b'\xef\xbb\xbf"a"\r\n\r\n  \n"b"\r\n') == [Task("a"), Task("b")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{nonsense", "not JSON"),
        ("17", "not a number"),
        ("[]", "not a list"),
        ('{"id": "a"}', 'no "key"; its members are: id'),
        ('{"key": ""}', "empty"),
        ('{"key": "  "}', "empty"),
        ('{"key": true}', "not a boolean"),
        ('{"key": null}', "not null"),
        ('{"key": {"a": 1}}', "not an object"),
        ('{"key": "a\\u0000b"}', "control character"),
        ('{"key": "a", "params": [1]}', '"params" must be an object'),
        ('{"key": "a", "n": 1, "params": {"n": 2}}', '"n" is given both'),
        ('{"key": "a", "params": {"key": "b"}}', '"key" is given both'),
    ],
)
def test_a_bad_line_is_named_with_what_is_wrong(read, line, words):
    error = problem_of(read, "t.jsonl", f'"first"\n\n{line}\n')
    assert error.line == 3
    assert words in error.problem
    assert str(error).startswith(f"{error.place}:3: ")


def test_a_key_too_long_for_urls_and_logs_is_refused(read):
    assert read("t.jsonl", f'"{"k" * 512}"') == [Task("k" * 512)]
    assert "513 characters" in str(problem_of(read, "t.jsonl", f'"{"k" * 513}"'))


def test_bytes_that_are_not_utf8_are_named_by_line_and_place(read):
    error = problem_of(read, "t.jsonl", b'"a"\n"\xff"\n')
    assert error.line == 2
    assert error.problem.startswith("byte 2 is not UTF-8; save it as UTF-8")


def test_only_what_is_taken_is_read(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('"a"\n"b"\nthis is never looked at')
    assert list(take(read_file(path), 2)) == [Task("a"), Task("b")]


def test_without_a_limit_all_are_taken():
    assert [task.key for task in take(make_range(3), None)] == ["task-000001", "task-000002", "task-000003"]


# ---- duplicates ------------------------------------------------------------------------------------------


def test_a_key_that_comes_again_is_refused_with_both_lines(read):
    error = problem_of(read, "t.jsonl", '"x"\n"a"\n"b"\n"a"\n')
    assert error.line == 4
    assert "'a' is already on line 2" in error.problem


def test_two_keys_that_share_a_hash_are_no_duplicates(read, monkeypatch):
    class SameForAll:
        def __init__(self, data, digest_size):
            self.digest = lambda: b"\0" * digest_size

    monkeypatch.setattr(stream, "blake2b", SameForAll)
    assert read("t.jsonl", '"a"\n"b"\n"c"\n') == [Task("a"), Task("b"), Task("c")]
    assert problem_of(read, "t.jsonl", '"a"\n"b"\n"b"\n').line == 3


@pytest.mark.parametrize(("name", "content"), [("t.csv", "key\na\nb\na\n"), ("t.jsonl", '"a"\n\n"b"\n"a"')])
def test_duplicates_are_found_in_every_format(read, name, content):
    assert problem_of(read, name, content).line == 4


# ---- CSV -------------------------------------------------------------------------------------------------


def test_csv_columns_become_params(read):
    tasks = read("t.csv", '\ufeffcity, key\r\n"Bonn, Rhein",a\r\n\r\n"two\nlines",b\r\n')
    assert tasks == [Task("a", {"city": "Bonn, Rhein"}), Task("b", {"city": "two\nlines"})]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("id;name\na;b\n", 1, "the header has one column 'id;name'; use --delimiter ';'"),
        ("id\tname\na\tb\n", 1, "use --delimiter tab"),
        ("key,n,m,n\n", 1, "columns 2 and 4 have the same name 'n': rename one"),
        ("key,\n", 1, "column 2 has no name: name it"),
        (",key,n\n0,a,1\n", 1, "column 1 has no name: name it; pandas writes its index so: use df.to_csv"),
        ("key,params\n", 1, '"params"'),
        ("key,n\na,1\nb\n", 3, "1 fields, the header 2"),
        ('key,n\na,"x\ny"\nb,1,2\n', 4, "3 fields, the header 2"),
        ('key,n\na,"1\n', 2, "not CSV"),
        ('key,n\na,"1"2\n', 2, "not CSV"),
        ("key,n\n,1\n", 2, "empty"),
    ],
)
def test_a_bad_csv_row_is_named_with_what_is_wrong(read, content, line, words):
    error = problem_of(read, "t.csv", content)
    assert error.line == line
    assert words in error.problem


def test_a_csv_header_with_many_columns_is_checked_in_time(read):
    header = ",".join(["key", *map(str, range(100_000)), "last", "last"])
    assert "columns 100002 and 100003 have" in problem_of(read, "t.csv", header + "\n").problem


# ---- Parquet ---------------------------------------------------------------------------------------------


def test_parquet_columns_become_params_in_json_types(tmp_path):
    path = tmp_path / "t.parquet"
    table = pa.table(
        {
            "key": ["a", "b"],
            "day": [dt.date(2026, 1, 2), None],
            "price": [Decimal("1.50"), Decimal("2.00")],
            "params": [{"n": [1, 2]}, None],
        }
    )
    pq.write_table(table, path)
    assert list(read_file(path)) == [
        Task("a", {"day": "2026-01-02", "price": "1.50", "n": [1, 2]}),
        Task("b", {"day": None, "price": "2.00"}),
    ]


def test_parquet_is_read_batch_by_batch_and_errors_count_rows(tmp_path, monkeypatch):
    batches = []

    class Watched(pq.ParquetFile):
        def iter_batches(self, **options):
            for batch in super().iter_batches(**options):
                batches.append(batch.num_rows)
                yield batch

    monkeypatch.setattr(parquet_rows, "MOST_ROWS", 2)
    monkeypatch.setattr(pq, "ParquetFile", Watched)
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"key": ["a", "b", "c", "d", "", "f", "g"]}), path)
    tasks = read_file(path)
    assert [task.key for task in itertools.islice(tasks, 4)] == ["a", "b", "c", "d"]
    assert batches == [2, 2]
    with pytest.raises(TaskInputError, match=r"t\.parquet:5: the key is empty"):
        next(tasks)


def test_a_parquet_column_that_json_lacks_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"key": ["a"], "blob": [b"\0"]}), path)
    with pytest.raises(TaskInputError, match=r"t\.parquet: column blob has a type that JSON lacks"):
        list(read_file(path))


def test_parquet_without_a_key_or_with_damage_is_refused(tmp_path, read):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(TaskInputError, match='no column is named "key"; the columns are: id'):
        list(read_file(path))
    assert "cannot be read as Parquet" in str(problem_of(read, "u.parquet", b"PAR1 and then nothing"))


# ---- other inputs ----------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_or_of_another_kind_is_refused_at_once(tmp_path):
    with pytest.raises(TaskInputError, match="there is no such file"):
        read_file(tmp_path / "t.jsonl")
    with pytest.raises(TaskInputError, match=r"name it \.jsonl, \.ndjson, \.csv, \.tsv or \.parquet"):
        read_file(tmp_path / "t.xlsx")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(TaskInputError, match="it is not a file"):
        read_file(tmp_path / "d.csv")


def test_the_keys_of_a_range_sort_as_they_count():
    keys = [task.key for task in make_range(1_000_001, "n")]
    assert keys[0] == "n0000001"
    assert keys == sorted(keys)


def test_inline_tasks_are_checked_as_those_of_a_file():
    assert list(from_inline(["a", {"key": "b", "params": {"n": 1}}])) == [Task("a"), Task("b", {"n": 1})]
    with pytest.raises(TaskInputError, match="tasks:2: the key 'a' is already on line 1"):
        list(from_inline(["a", {"key": "a"}]))


def test_the_error_survives_the_way_between_actors():
    error = pickle.loads(pickle.dumps(TaskInputError("t.csv", 3, "bad")))  # noqa: S301 - made here
    assert (str(error), error.line, error.retry) == ("t.csv:3: bad", 3, False)


def reader(place, **changes):
    tasks = {"kind": "file", "path": str(place)}
    return reader_of(settings(**{"sources": False, "tasks": tasks, **changes}))


def test_the_rows_of_a_parquet_file_keep_their_types_in_the_result(tmp_path):
    path, text = tmp_path / "rows.parquet", tmp_path / "rows.csv"
    pq.write_table(pa.table({"n": pa.array([1], pa.int8())}), path)
    text.write_text("n\n1\n")
    with fsspec.open("memory://bucket/rows.parquet", "wb") as remote:
        remote.write(path.read_bytes())
    for place in (path, "memory://bucket/rows.parquet"):
        assert reader(place).arrow_input.schema.field("n").type == pa.int8()
    assert reader(text).arrow_input is None
    assert reader(path, sources=True).arrow_input is None  # a task may have many items


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ({"format": "parquet"}, None),
        ({"format": ["parquet", "csv"]}, "output.format: only Parquet can hold column photo "),
        ({"format": "parquet", "sinks": [{"kind": "table"}]}, "output.sinks (table): only Parquet can hold"),
    ],
)
def test_a_column_that_a_result_cannot_hold_is_refused_instead_of_being_null(tmp_path, output, problem):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": ["a"], "photo": [b"x"]}), path)
    given = reader(path).arrow_input
    config = settings(sources=False, tasks=None, output=output)
    expected = pytest.raises(ConfigError, match=re.escape(problem)) if problem else contextlib.nullcontext()
    with expected:
        check_columns(config, ("text", "photo"), 1, given)

"""A task that is too large, or that nothing could store, is refused with its line, size and remedy."""

from __future__ import annotations

import io
import json
import re
import tracemalloc

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from actors.core.messages.tasks import Task
from cluster.config.tasks import RangeTasks
from cluster.input.problems import TaskInputError
from cluster.input.records import MAX_DEPTH
from cluster.run.task_input import from_inline
from tests.unit.support.task_files import read_file

MIB = 2**20


@pytest.fixture
def problem(tmp_path):
    """Return the error about a file of that name and content."""

    def run(name: str, content: bytes | str, most: int = 100) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(TaskInputError) as caught:
            list(read_file(path, most))
        text = str(caught.value)
        assert text.startswith(str(path))
        return text.removeprefix(f"{path}:")

    return run


def packed(columns: dict) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd", store_schema=False)
    return sink.getvalue()


def repeated(value: str, times: int):
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), pa.array([value]))


def listed(value: str, times: int):
    return pa.ListArray.from_arrays(pa.array([0, times], pa.int32()), repeated(value, times))


def test_a_line_that_never_ends_is_refused_and_not_kept(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'"a"\n' + b"x" * (50 * MIB))
    tracemalloc.start()
    with pytest.raises(TaskInputError) as caught:
        list(read_file(path, MIB))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(caught.value) == (
        f"{path}:2: the line has 52,428,800 bytes, more than 1,048,576; move data to a source, or raise "
        "limits.max_task_bytes; write one task a line"
    )
    assert peak < 10 * MIB


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "t.jsonl",
            '"a"\n{"key":"b","x":"' + "x" * 95 + '"}\n"c"',
            "2: the task has 103 bytes, more than 100;",
        ),
        ("t.csv", "key,x\na," + "x" * 80 + "\nb," + "x" * 95 + "\n", "3: the task has 103 bytes, more than"),
        (
            "t.csv",
            'key,x\na,"' + "x\n" * 80,
            "2: the row has at least 101 bytes, more than 100; .* a quote is",
        ),
        ("t.parquet", packed({"key": ["a", "b"], "x": ["x", "x" * 200]}), "2: the task has 208 bytes"),
    ],
)
def test_a_task_that_is_too_large_is_named_with_its_size_and_the_key_to_set(problem, name, content, words):
    text = problem(name, content)
    assert re.match(words, text), text
    assert "raise limits.max_task_bytes" in text


def test_a_task_is_measured_in_utf8_however_its_line_writes_it(tmp_path):
    """Python's json.dumps writes six bytes for a Chinese character; a CSV row was counted in characters."""
    params = {"x": "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 300, "y": "\N{LATIN SMALL LETTER E WITH ACUTE}" * 100}
    key = "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 512
    (tmp_path / "t.jsonl").write_text(json.dumps({"key": key, "params": params}))
    size = len(orjson.dumps(params))
    assert list(read_file(tmp_path / "t.jsonl", size)) == [Task(key, params)]
    with pytest.raises(TaskInputError, match=rf"the task has 1,11\d bytes, more than {size - 1:,};"):
        list(read_file(tmp_path / "t.jsonl", size - 1))
    (tmp_path / "t.csv").write_text(f"key,x\na,{params['x']}\n", encoding="utf-8")
    with pytest.raises(TaskInputError, match=r"the line has 903 bytes, more than 800;"):
        list(read_file(tmp_path / "t.csv", 800))
    quoted = "\N{CJK UNIFIED IDEOGRAPH-4E2D}\n" * 300
    (tmp_path / "t.csv").write_text(f'key,x\na,"{quoted}"\n', encoding="utf-8")
    with pytest.raises(TaskInputError, match=r"the row has at least 80\d bytes, more than 800;"):
        list(read_file(tmp_path / "t.csv", 800))


def test_a_listed_task_has_the_same_bound():
    with pytest.raises(TaskInputError, match=r"tasks:2: the task has 1,008 bytes, more than 1,000;"):
        list(from_inline(["a", {"key": "b", "params": {"x": "x" * 1000}}], 1000))


def test_a_long_csv_cell_within_the_bound_is_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("key,x\na," + "x" * 200_000 + "\n")
    assert list(read_file(path)) == [Task("a", {"x": "x" * 200_000})]


@pytest.mark.parametrize(
    "columns",
    [
        {"key": ["a"] * 100, "x": repeated("x" * 40_000_000, 100)},
        {
            "key": ["a"],
            "x": pa.ListArray.from_arrays(pa.array([0, 10**6], pa.int32()), repeated("x" * 4000, 10**6)),
        },
    ],
)
def test_a_parquet_file_that_unfolds_into_gigabytes_is_refused_in_little_memory(problem, columns):
    data = packed(columns)
    assert len(data) < 20_000
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        text = problem("t.parquet", data, MIB)
    finally:
        pa.set_memory_pool(before)
    assert "max_task_bytes" in text
    assert pool.max_memory() < 200 * MIB


def test_a_parquet_text_that_is_not_utf8_or_a_column_that_comes_twice_is_refused(problem):
    text = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    assert "cannot be read as Parquet" in problem("t.parquet", packed({"key": ["a"], "x": text}))
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, ["key", "key"]), sink)
    assert "two columns have the same name" in problem("t.parquet", sink.getvalue())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            '{"key":"a","x":' + "[" * 101 + "]" * 101 + "}",
            f"nested more than {MAX_DEPTH} levels",
        ),
        ('{"key":"a","x":' + "[" * 400 + "]" * 400 + "}", "cannot be stored"),
        ('{"key":"a","x":1e999}', "not JSON"),
        ('{"key":"a","x":1' + "0" * 5000 + "}", "not JSON"),
        ('{"key":"a\\ud800"}', "not JSON"),
        ("[" * 5000, "not JSON"),
        ('"a\\u0000"', "control character"),
        ('"a\\u009b31m"', "control character"),
        ('"a\\u202egpj"', "control character"),
        ('"a\\u2066b"', "control character"),
        ('"a\\u200fb"', "control character"),
        ('"a\\ufeffb"', "control character"),
        ('"a\0"', "not JSON"),
    ],
)
def test_a_task_that_nothing_could_store_is_refused(problem, line, words):
    text = problem("t.jsonl", f'"first"\n{line}\n', 10_000)
    assert text.startswith("2: ")
    assert words in text


def test_a_key_of_many_digits_is_kept_exactly_and_such_a_param_is_refused(tmp_path, problem):
    path = tmp_path / "t.jsonl"
    path.write_text('{"key":1234567890123456789012345}')
    assert [task.key for task in read_file(path)] == ["1234567890123456789012345"]
    assert "write it as a string" in problem("t.jsonl", '{"key":"a","n":1234567890123456789012345}')


def test_params_may_be_nested_to_the_bound(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"key":"a","x":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}")
    assert [task.key for task in read_file(path)] == ["a"]


@pytest.mark.parametrize("odd", ["\0", "\x9b", "\u202e"])
def test_a_numbered_key_holds_no_control_character(odd):
    with pytest.raises(ValidationError, match="prefix"):
        RangeTasks(kind="range", count=1, prefix=f"a{odd}")

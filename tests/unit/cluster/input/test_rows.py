"""Rows of a table become tasks: from any format, in order, with keys of the table or with their numbers."""

from __future__ import annotations

import io
import sys

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.core.messages.tasks import Task
from cluster.input.local_copy import open_input
from cluster.input.problems import TaskInputError
from cluster.input.rows import RowInput

ROWS = [{"text": "good", "n": 1}, {"text": "bad", "n": 2}]
NUMBERED = [Task("row-000001", ROWS[0]), Task("row-000002", ROWS[1])]


@pytest.fixture
def rows_of(tmp_path):
    """Write `content` to a file of that name and return its rows."""

    def made(name: str, content: bytes | str, **options) -> RowInput:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return RowInput.of_file(str(path), **options)

    return made


def parquet(columns) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


@pytest.mark.parametrize("name", ["t.jsonl", "t.ndjson"])
def test_objects_without_a_key_are_rows_that_are_numbered(rows_of, name):
    rows = rows_of(name, '{"text": "good", "n": 1}\n\n{"text": "bad", "n": 2}\n')
    assert list(rows) == NUMBERED
    assert (rows.columns, rows.count, rows.name) == (("text", "n"), 2, "t")


@pytest.mark.parametrize(("name", "mark"), [("t.csv", ","), ("t.tsv", "\t")])
def test_cells_are_text_and_an_empty_cell_is_null(rows_of, name, mark):
    rows = rows_of(name, f"text{mark}n\ngood{mark}1\nbad{mark}\n")
    assert list(rows) == [
        Task("row-000001", {"text": "good", "n": "1"}),
        Task("row-000002", {"text": "bad", "n": None}),
    ]


def test_parquet_rows_keep_their_types(rows_of):
    assert list(rows_of("t.parquet", parquet({"text": ["good", "bad"], "n": [1, 2]}))) == NUMBERED


def test_rows_can_be_read_again_and_have_the_same_digest(rows_of):
    rows = rows_of("t.csv", "text\na\nb\n")
    assert list(rows) == list(rows)
    assert rows.digest == rows_of("u.csv", "text\na\nb\n").digest
    assert rows.digest != rows_of("t.csv", "text\na\nc\n").digest
    assert rows.digest != rows_of("t.csv", "text\nb\na\n").digest


def test_a_named_column_is_the_key_and_stays_a_column(rows_of):
    rows = rows_of("t.csv", "id,text\nx,a\ny,b\n", key="id")
    assert list(rows) == [Task("x", {"id": "x", "text": "a"}), Task("y", {"id": "y", "text": "b"})]
    assert rows.columns == ("id", "text")


def test_a_column_that_is_called_key_is_the_key(rows_of):
    rows = rows_of("t.csv", "text,key\na,x\nb,y\n")
    assert list(rows) == [Task("x", {"text": "a", "key": "x"}), Task("y", {"text": "b", "key": "y"})]
    assert rows.columns == ("text", "key")


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("t.csv", "id,text\nx,a\nx,b\n", {"key": "id"}, "t.csv:3: the key 'x' is already on line 2"),
        (
            "t.csv",
            "id,text\nx,a\n",
            {"key": "ID"},
            't.csv:1: no column is named "ID"; the columns are: id, text',
        ),
        ("t.jsonl", '{"id": 1}\n{"n": 2}\n', {"key": "id"}, 't.jsonl:2: no column is named "id"'),
        (
            "t.jsonl",
            '{"n": 2}\n{"key": "a"}\n',
            {},
            't.jsonl:2: the row has a "key", but the first row has none',
        ),
        ("t.jsonl", "7\n", {}, "t.jsonl:1: a task is an object"),
        ("t.csv", "a;b\n1;2\n", {}, "t.csv:1: the only column is named 'a;b'; separate columns by commas"),
        ("t.csv", "a,b\n", {}, "t.csv: the input has no rows"),
        ("t.csv", "", {}, "t.csv: the input has no rows"),
    ],
)
def test_a_bad_table_is_named_with_its_line(rows_of, name, content, options, words):
    with pytest.raises(TaskInputError) as caught:
        rows_of(name, content, **options)
    assert words in str(caught.value)


def test_only_the_first_rows_are_read(rows_of):
    rows = rows_of("t.jsonl", '{"n": 1}\n{"n": 2}\nthis is never read', limit=2)
    assert (rows.count, [task.params["n"] for task in rows]) == (2, [1, 2])


def test_a_sample_is_random_keeps_the_order_and_the_numbers_of_the_rows_and_repeats_by_its_seed(rows_of):
    content = "n\n" + "".join(f"{n}\n" for n in range(1, 1001))
    rows = rows_of("t.csv", content, sample=30, seed=7)
    keys = [task.key for task in rows]
    assert (rows.count, len(keys), rows.total) == (30, 30, 1000)
    assert keys == sorted(keys)
    assert keys == [f"row-{int(task.params['n']):06}" for task in rows]
    assert keys == [task.key for task in rows_of("t.csv", content, sample=30, seed=7)]
    assert keys != [task.key for task in rows_of("t.csv", content, sample=30, seed=8)]
    assert keys[-1] > "row-000500", "rows come from all over the file"


def test_a_sample_larger_than_the_table_is_the_table(rows_of):
    assert rows_of("t.csv", "n\n1\n2\n", sample=5).count == 2


def test_records_in_memory_are_rows():
    rows = RowInput.of_records(lambda: iter(ROWS), "frame")
    assert list(rows) == list(rows) == NUMBERED
    assert RowInput.of_records(list, "frame").count == 0


# ---- stdin and URLs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b'{"text": "good", "n": 1}\n{"text": "bad", "n": 2}\n', "jsonl"),
        (b"text,n\ngood,1\nbad,2\n", "csv"),
        (b"text\tn\ngood\t1\nbad\t2\n", "tsv"),
        (parquet({"text": ["good", "bad"], "n": [1, 2]}), "parquet"),
    ],
)
def test_stdin_is_read_once_and_its_format_is_recognized(monkeypatch, content, form):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert open_input("-").format == form
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    rows = RowInput.of_file("-")
    assert [task.params["text"] for task in rows] == [task.params["text"] for task in rows] == ["good", "bad"]
    assert rows.name == "stdin"


def test_a_url_is_copied_and_named_in_errors_without_its_secrets():
    with fsspec.open("memory://bucket/rows.csv", "w") as file:
        file.write("text,n\ngood,1\nbad\n")
    with pytest.raises(TaskInputError, match=r"memory://bucket/rows\.csv:3: the row has 1 fields"):
        RowInput.of_file("memory://bucket/rows.csv")
    assert RowInput.of_file("memory://bucket/rows.csv", limit=1).name == "rows"
    with pytest.raises(TaskInputError, match=r"memory://bucket/none\.csv: cannot be read"):
        RowInput.of_file("memory://bucket/none.csv")
    with pytest.raises(TaskInputError) as caught:
        RowInput.of_file("memory://user:hunter22@bucket/none.csv")
    assert "hunter22" not in str(caught.value)


def test_a_temporary_copy_is_deleted_with_its_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"n\n1\n")))
    file = open_input("-")
    path = file.path
    assert path.exists()
    del file
    assert not path.exists()

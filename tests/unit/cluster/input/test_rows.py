"""Rows of a table become tasks: from any format, in order, with keys of the table or with their numbers."""

from __future__ import annotations

import io
import re
import sys

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.core.errors import ConfigError
from actors.core.messages.tasks import Task
from cluster.input.checked_tasks import InputChangedMeanwhileError
from cluster.input.formats import text_form
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


def test_types_that_json_lacks_are_text_or_null_and_leave_the_other_columns_readable(rows_of):
    columns = {
        "text": ["good", "bad"],
        "ns": pa.array([1_500_000_000_123_456_789, -1], pa.timestamp("ns")),
        "zone": pa.array([1_500_000_000_123_456_000, None], pa.timestamp("ns", "Europe/Paris")),
        "far": pa.array([2**55, 0], pa.timestamp("ms")),
        "span": pa.array([-1_500_000, None], pa.duration("us")),
        "photo": pa.array([b"\xff", None]),
        "parts": pa.array([[b"\xff"], None]),
        "coded": pa.array([[(1, "a")], None], pa.map_(pa.int32(), pa.string())),
    }
    first, second = rows_of("t.parquet", parquet(columns))
    unread = {"photo": None, "parts": None, "coded": None}
    assert first.params == {
        "text": "good",
        "ns": "2017-07-14T02:40:00.123456789",
        "zone": "2017-07-14T04:40:00.123456+02:00",
        "far": "+1143677-02-15T11:56:03.968000",
        "span": "PT-1.500000S",
        **unread,
    }
    assert second.params == {
        "text": "bad",
        "ns": "1969-12-31T23:59:59.999999999",
        "zone": None,
        "far": "1970-01-01T00:00:00",
        "span": None,
        **unread,
    }


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("t.csv", "id;text\n1;Größe\n", {"delimiter": ";"}),
        ("t.csv", "id\ttext\n1\tGröße\n", {"delimiter": "tab"}),
        ("t.csv", "id\ttext\n1\tGröße\n", {"delimiter": "\\t"}),
        ("t.tsv", "id|text\n1|Größe\n", {"delimiter": "|"}),
        ("t.csv", "id,text\r\n1,Größe\r\n".encode("cp1252"), {"encoding": "cp1252"}),
        ("t.csv", "id;text\r\n1;Größe\r\n".encode("utf-16"), {"delimiter": ";", "encoding": "UTF16"}),
        ("t.csv", "id,text\n1,Größe\n".encode("utf-16-be"), {"encoding": "utf-16-be"}),
        ("t.csv", "\ufeffid,text\n1,Größe\n".encode("utf-16-le"), {"encoding": "utf-16-le"}),
        ("t.csv", "\ufeffid,text\n1,Größe\n", {"encoding": "utf-8-sig"}),
        ("t.jsonl", '{"id": "1", "text": "Größe"}\n'.encode("utf-16"), {"encoding": "utf-16"}),
    ],
    ids=str,
)
def test_text_may_have_another_delimiter_and_another_encoding(rows_of, name, content, form):
    given = text_form(form.get("delimiter"), form.get("encoding"))
    assert [task.params for task in rows_of(name, content, form=given)] == [{"id": "1", "text": "Größe"}]


@pytest.mark.parametrize(
    ("name", "content", "form", "words"),
    [
        ("t.csv", "a;b\n1;2\n", {}, ":1: the header has one column 'a;b'; use --delimiter ';', or tasks.d"),
        (
            "t.csv",
            "a,b\n1,2\n",
            {"delimiter": ";"},
            ":1: the header has one column 'a,b'; use --delimiter ','",
        ),
        ("t.csv", "a\tb\n", {"delimiter": ";"}, "use --delimiter tab"),
        ("t.csv", "a;b\n1;2;3\n", {"delimiter": ";"}, "quote fields that hold ';'"),
        ("t.csv", "ä\nb\n".encode("cp1252"), {}, ":1: byte 1 is not UTF-8; save it as UTF-8, or if Excel"),
        (
            "t.csv",
            "a\nb\n\x81".encode("latin-1"),
            {"encoding": "cp1252"},
            ":3: byte 1 is not cp1252; use",
        ),
        (
            "t.csv",
            "a\nb\n".encode("utf-16"),
            {},
            "the file is UTF-16; use --encoding utf-16, or tasks.enc",
        ),
        ("t.csv", "a\nb\n".encode("utf-16-le"), {}, "use --encoding utf-16-le"),
        ("t.csv", "a\nb\n".encode("utf-16-be"), {"encoding": "cp1252"}, "use --encoding utf-16-be"),
        ("t.csv", "a\nb\n", {"encoding": "utf-16"}, "is not utf-16; use --encoding NAME"),
        (
            "t.csv",
            "\ufeffa\nb\n",
            {"encoding": "cp1252"},
            "the mark of UTF-8; use --encoding utf-8",
        ),
        ("t.jsonl", "{}\n", {"delimiter": ";"}, "a jsonl file has no delimiter: leave it out"),
        ("t.parquet", parquet({"a": [1]}), {"encoding": "cp1252"}, "a parquet file has no encoding: leave"),
    ],
    ids=str,
)
def test_a_wrong_delimiter_or_encoding_is_recognised_with_the_right_one(rows_of, name, content, form, words):
    with pytest.raises(TaskInputError) as caught:
        rows_of(name, content, form=text_form(form.get("delimiter"), form.get("encoding")))
    assert words in str(caught.value)


def test_the_usual_delimiter_may_be_meant(rows_of):
    rows = rows_of("t.csv", "yes; or no\na\n", form=text_form(",", None))
    assert rows.columns == ("yes; or no",)


@pytest.mark.parametrize(
    ("delimiter", "encoding", "words"),
    [
        (";;", None, "a delimiter is one character such as ';', or tab, not ';;'"),
        ('"', None, "a delimiter is one character"),
        ("", None, "a delimiter is one character"),
        (None, "ansi", "there is no encoding 'ansi'; write one such as cp1252 or utf-16"),
        (None, "hex", "there is no encoding 'hex'"),
    ],
)
def test_a_delimiter_and_an_encoding_that_do_not_exist_are_refused(delimiter, encoding, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        text_form(delimiter, encoding)


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
        ("t.csv", "", {}, "t.csv: the file is empty: it lacks even a header"),
        ("t.tsv", "\n\n", {}, "t.tsv: the file is empty: it lacks even a header"),
        ("t.csv", "a,b\n", {"key": "id"}, 't.csv:1: no column is named "id"'),
    ],
)
def test_a_bad_table_is_named_with_its_line(rows_of, name, content, options, words):
    with pytest.raises(TaskInputError) as caught:
        rows_of(name, content, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("t.csv", "id,text\n", ("id", "text")),
        ("t.tsv", "id\ttext\n", ("id", "text")),
        (
            "t.parquet",
            parquet({"id": pa.array([], pa.int64()), "text": pa.array([], pa.string())}),
            ("id", "text"),
        ),
        ("t.jsonl", "", ()),
        ("t.jsonl", "\n\n", ()),
    ],
)
def test_an_input_without_rows_has_the_columns_that_its_file_names(rows_of, name, content, columns):
    rows = rows_of(name, content)
    assert (rows.count, rows.total, rows.columns, list(rows)) == (0, 0, columns, [])


@pytest.mark.parametrize(
    ("name", "content", "params"),
    [
        ("t.csv", "key,params,text\na,zz,hello\n", {"key": "a", "params": "zz", "text": "hello"}),
        (
            "t.jsonl",
            '{"key": "a", "params": {"x": 1}, "text": "hello"}\n',
            {"key": "a", "params": {"x": 1}, "text": "hello"},
        ),
        ("t.jsonl", '{"key": "a", "params": null}\n', {"key": "a", "params": None}),
        ("t.jsonl", '{"key": "a", "params": {"x": 1}}\n', {"x": 1}),
    ],
)
def test_a_column_that_is_called_params_is_a_column_unless_the_row_is_written_as_a_task(
    rows_of, name, content, params
):
    assert list(rows_of(name, content)) == [Task("a", params)]


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


# ---- changes while the rows are read ---------------------------------------------------------------------


def texts(count: int, last: str = "") -> str:
    return "text\n" + "".join(f"row {number}\n" for number in range(1, count + 1)) + last


def read_again(rows: RowInput) -> tuple[list[str], str]:
    """Return the texts of the rows up to the error, and the error."""
    seen = []

    def read() -> None:
        for task in rows:
            seen.append(task.params["text"])  # noqa: PERF401 - the rows before the error count

    with pytest.raises(InputChangedMeanwhileError) as caught:
        read()
    return seen, str(caught.value)


@pytest.mark.parametrize(
    ("now", "left", "words"),
    [
        (texts(600).replace("row 300\n", "ROW 300\n"), 256, "rows 257 to 512 differ"),
        (texts(600).replace("row 1\n", ""), 0, "rows 1 to 256 differ"),
        (texts(600).replace("text", "other"), 0, "rows 1 to 256 differ"),
        (texts(512), 512, "it ends at row 512"),
        (texts(300), 256, "rows 257 to 300 differ"),
        (texts(600, "row 601\n"), 512, "rows 513 to 601 differ"),
        (texts(600, "a,b\n"), 512, "t.csv:602: the row has 2 fields"),
        (None, 0, "cannot be read: No such file"),
    ],
)
def test_a_row_that_the_first_reading_has_not_is_not_yielded(rows_of, tmp_path, now, left, words):
    rows = rows_of("t.csv", texts(600))
    path = tmp_path / "t.csv"
    path.unlink() if now is None else path.write_text(now)
    seen, problem = read_again(rows)
    assert seen == [f"row {number}" for number in range(1, left + 1)]
    assert problem.startswith(f"{path}: the input has changed since it was first read: ")
    assert words in problem
    path.write_text(texts(600))
    assert [task.params["text"] for task in rows] == [f"row {number}" for number in range(1, 601)]


def test_rows_that_are_appended_to_whole_blocks_are_not_yielded(rows_of, tmp_path):
    rows = rows_of("t.csv", texts(512))
    (tmp_path / "t.csv").write_text(texts(513))
    seen, problem = read_again(rows)
    assert (len(seen), "rows 513 to 513 differ" in problem) == (512, True)


def test_a_sample_and_a_limit_are_compared_with_the_first_reading(rows_of, tmp_path):
    whole, first = rows_of("t.csv", texts(600), sample=5), rows_of("t.csv", texts(600), limit=10)
    (tmp_path / "t.csv").write_text(texts(600).replace("row 11\n", "x\n"))
    assert len(list(first)) == 10
    with pytest.raises(InputChangedMeanwhileError):
        list(whole)
    (tmp_path / "t.csv").write_text(texts(600).replace("row 9\n", "x\n"))
    with pytest.raises(InputChangedMeanwhileError):
        list(first)


def test_large_rows_are_compared_in_small_blocks(rows_of, tmp_path):
    content = "".join(f'{{"text": "{number}{"x" * 2**19}"}}\n' for number in range(6))
    rows = rows_of("t.jsonl", content)
    (tmp_path / "t.jsonl").write_text(content.replace('"4x', '"5x'))
    seen, problem = read_again(rows)
    assert (len(seen), "rows 5 to 6 differ" in problem) == (4, True)


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

"""File formats: bytes in, records out, and a bad line is never passed over."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest
from pyarrow import parquet

from actors.core.errors import SourceError
from actors.sources.files.formats import Blob, FileReading, Format, decode, format_of, read_records


def read(path: str, data: bytes, *, truncated: bool = False, **options):
    bounds = {"max_item_bytes": 2**20, "max_fetch_bytes": 2**24}
    reading = FileReading(**{"encoding": "utf-8", **bounds, **options})
    return list(read_records(Blob(path, data, truncated), reading))


def as_parquet(rows: list[dict]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a/METADATA", Format.TEXT), ("a.md", Format.TEXT), ("a.JSON", Format.JSON), ("a.b/c.csv", Format.CSV)],
)
def test_the_suffix_tells_the_format(path, expected):
    assert format_of(path) is expected


def test_a_text_file_is_one_item_named_by_its_path():
    assert read("a/n.md", b"# hi") == [{"id": "a/n.md", "text": "# hi", "path": "a/n.md"}]


def test_a_truncated_text_says_so_and_ends_with_a_whole_character():
    [record] = read("n.txt", "aé".encode()[:2], truncated=True)

    assert (record["text"], record["truncated"]) == ("a", True)
    assert "decoding_errors" not in record


@pytest.mark.parametrize("path", ["n.json", "n.jsonl", "n.csv", "n.parquet"])
def test_a_truncated_table_is_refused(path):
    with pytest.raises(SourceError, match="only text files can be truncated"):
        read(path, b"{}", truncated=True)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_decides_over_the_encoding(encoding):
    assert decode("né".encode(encoding), "latin-1") == ("né", False)


def test_bad_bytes_are_replaced_and_the_item_says_so():
    [record] = read("n.txt", b"a\xffb")

    assert (record["text"], record["decoding_errors"]) == ("a\N{REPLACEMENT CHARACTER}b", True)


def test_another_encoding_is_read_as_it_was_written():
    assert read("n.txt", "né".encode("latin-1"), encoding="latin-1")[0]["text"] == "né"


def test_a_json_list_gives_an_item_per_element_and_an_object_one():
    assert [record["id"] for record in read("n.json", b'[{"id":"x","text":"t"},"s"]')] == ["x", "n.json#1"]
    assert [record["text"] for record in read("n.json", b'{"text":"t"}')] == ["t"]


def test_bad_json_names_its_line():
    with pytest.raises(SourceError, match=r"n\.json:2: "):
        read("n.json", b"[1,\n oops]")


def test_a_bad_line_fails_the_file_with_its_number():
    with pytest.raises(SourceError, match=r"n\.jsonl:3: "):
        read("n.jsonl", b'{"text":"a"}\n\n{"text":\n{"text":"b"}\n')


def test_json_lines_end_at_line_feeds_only():
    [record] = read("n.jsonl", '{"text":"a\u2028b"}\r\n'.encode())

    assert record["text"] == "a\u2028b"


def test_a_csv_row_is_an_item_whose_fields_the_header_names():
    [record] = read("n.csv", b'id,body\n7,"two\nlines"\n', text="body")

    assert record == {"id": "7", "text": "two\nlines", "path": "n.csv"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\n1,2\n3\n", r"n\.csv:3: 1 fields"),
        (b"a,a\n1,2\n", "duplicate column names"),
        (b'a\n"x\n', r"n\.csv:2: "),
    ],
)
def test_a_ragged_csv_is_refused_with_its_line(data, message):
    with pytest.raises(SourceError, match=message):
        read("n.csv", data)


def test_a_parquet_row_is_an_item():
    records = read("n.parquet", as_parquet([{"text": "a", "n": 1}, {"text": "b", "n": 2}]))

    assert [(record["id"], record["text"], record["n"]) for record in records] == [
        ("n.parquet#0", "a", 1),
        ("n.parquet#1", "b", 2),
    ]


def test_what_is_not_parquet_is_refused():
    with pytest.raises(SourceError, match="not a readable Parquet file"):
        read("n.parquet", b"PAR1 no")


def test_the_path_of_the_file_wins_over_a_column_of_that_name():
    assert read("n.jsonl", b'{"text":"a","path":"/x"}')[0]["path"] == "n.jsonl"

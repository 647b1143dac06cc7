"""A Parquet file of a few bytes that stands for gigabytes is refused, or read in memory that has a bound."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest
from pyarrow import parquet

from actors.core.errors import SourceBoundError
from actors.sources.files import parquet_rows
from actors.sources.files.formats import Blob, FileReading, read_records
from actors.sources.files.parquet_rows import LargeRow, ParquetBoundError, read_rows
from actors.sources.records import Oversize

MIB = 2**20


def packed(columns: dict, **options) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table(columns), sink, compression="zstd", **options)
    return sink.getvalue()


def repeated(value, times: int, kind=None):
    """Return a column that holds `value` once and names it `times` times."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), pa.array([value], kind))


def lists(value: str, length: int):
    """Return a column of one list that names `value` `length` times."""
    return pa.ListArray.from_arrays(pa.array([0, length], pa.int32()), repeated(value, length))


@pytest.fixture
def rows():
    """Read all rows of a file. `rows.peak()` is how many bytes Arrow took for it at once."""
    before = pa.default_memory_pool()

    def read(data: bytes, **bounds):
        read.pool = pa.proxy_memory_pool(before)
        pa.set_memory_pool(read.pool)

        def opened(coded):
            return parquet.ParquetFile(pa.BufferReader(data), read_dictionary=list(coded))

        try:
            return list(read_rows(opened, **{"most_row_bytes": 2 * MIB, **bounds}))
        finally:
            pa.set_memory_pool(before)

    read.peak = lambda: read.pool.max_memory()  # noqa: PLW0108 - there is no pool yet
    return read


BOMBS = {
    "a value of 40 MB in 100 rows": {"text": repeated("a" * 40_000_000, 100)},
    "a list that holds a value 200,000 times": {"text": lists("a" * 20_000, 200_000)},
    "a struct of such a list": {"text": pa.StructArray.from_arrays([lists("a" * 20_000, 200_000)], ["x"])},
}


@pytest.mark.parametrize("as_dictionary", [True, False])
@pytest.mark.parametrize("name", BOMBS)
def test_rows_that_unfold_into_gigabytes_are_measured_and_not_read(rows, name, as_dictionary):
    data = packed(BOMBS[name], store_schema=as_dictionary)
    assert len(data) < 20_000
    found = rows(data)
    assert found
    assert all(isinstance(row, LargeRow) and row.size > 2 * MIB for row in found)
    assert rows.peak() < 3 * parquet_rows.BATCH_BYTES


def test_bytes_of_a_large_fixed_width_are_refused_before_they_are_read(rows):
    with pytest.raises(ParquetBoundError, match="column text has values of 1,000,000 bytes"):
        rows(packed({"text": repeated(b"a" * 1_000_000, 1000, pa.binary(1_000_000))}))
    assert rows.peak() < MIB


def test_values_that_share_their_beginning_are_read_in_small_batches(rows):
    data = packed(
        {"text": ["a" * MIB + str(number) for number in range(400)]},
        use_dictionary=False,
        column_encoding={"text": "DELTA_BYTE_ARRAY"},
    )
    assert len(data) < 10_000
    assert [len(row["text"]) for row in rows(data)] == [
        MIB + 1 + (number > 9) + (number > 99) for number in range(400)
    ]
    assert rows.peak() < 3 * parquet_rows.BATCH_BYTES


def test_a_file_that_declares_more_than_may_be_read_is_refused_before_it_is_read(rows):
    with pytest.raises(ParquetBoundError, match="when uncompressed, more than 1,000,000"):
        rows(packed({"text": ["a" * 2_000_000]}), most_bytes=1_000_000)
    with pytest.raises(ParquetBoundError, match="20,000,000 bytes when uncompressed"):
        rows(packed({"text": pa.array([[None] * 10_000_000])}), most_bytes=1_000_000)
    assert rows.peak() < MIB


def test_rows_that_cannot_all_be_small_enough_are_refused_before_they_are_read(rows):
    with pytest.raises(ParquetBoundError, match="rows of 20,000,000 bytes on average"):
        rows(packed({"text": pa.array([[None] * 10_000_000])}))
    assert rows.peak() < MIB


def test_a_column_that_unpacks_out_of_all_proportion_is_refused(rows, monkeypatch):
    monkeypatch.setattr(parquet_rows, "_LARGE_BYTES", MIB)
    with pytest.raises(ParquetBoundError, match=r"column text has .* bytes when uncompressed"):
        rows(packed({"text": ["a" * 10_000] * 1000}, use_dictionary=False))


def test_one_large_row_does_not_take_the_others_with_it(rows, monkeypatch):
    monkeypatch.setattr(parquet_rows, "_SMALL_BYTES", 0)
    small, large, last = rows(packed({"text": ["a", "b" * 1000, "c"], "n": [1, 2, 3]}), most_row_bytes=100)
    assert (small, last) == ({"text": "a", "n": 1}, {"text": "c", "n": 3})
    assert large.size > 1000


def test_rows_of_all_kinds_of_columns_are_read(rows, monkeypatch):
    columns = {
        "a.b": ["x", None],
        "list": [["p", "q"], []],
        "struct": [{"x.y": "v"}, None],
        "map": pa.array([[("k", ["v"])], None], pa.map_(pa.string(), pa.list_(pa.string()))),
        "n": [1, None],
    }
    expected = pa.table(columns).to_pylist(maps_as_pydicts="strict")
    assert rows(packed(columns)) == expected
    monkeypatch.setattr(parquet_rows, "BATCH_BYTES", 1)
    monkeypatch.setattr(parquet_rows, "_SMALL_BYTES", 0)
    assert rows(packed(columns)) == expected


def test_a_source_reports_a_large_row_by_its_position_and_a_large_file_by_the_key():
    data = packed({"text": repeated("a" * 10_000_000, 3)})
    records = list(read_records(Blob("n.parquet", data), FileReading("utf-8", MIB, 16 * MIB)))
    assert records == [Oversize(f"n.parquet#{number}", 10_000_000) for number in range(3)]
    with pytest.raises(SourceBoundError, match=r"n\.parquet: .* more than 1,048,576; see max_fetch_bytes"):
        list(read_records(Blob("n.parquet", data), FileReading("utf-8", MIB, MIB)))

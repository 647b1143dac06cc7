"""A result of `map` replaces an earlier result, and no other file."""

from __future__ import annotations

import fsspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.core.errors import ConfigError
from cluster.report.tables.earlier_result import refuse_foreign

EARLIER = {"id": ["1"], "text": ["a"], "two\nlines": ["b"], "label": ["x"], "_error": [None]}
FOREIGN = {"id": ["1"], "text": ["by hand"]}
ANOTHER = {"title": ["a"], "label": ["x"], "_error": [None]}


def written(place: str, columns) -> str:
    table = pa.table(columns)
    with fsspec.open(place, "wb") as file:
        if place.endswith(".parquet"):
            pq.write_table(table, file)
        elif place.endswith(".jsonl"):
            file.write(orjson.dumps(dict.fromkeys(columns)) + b"\n{}\n")
        else:
            mark = "\t" if place.endswith(".tsv") else ","
            # A byte order mark, quotes and further lines as Excel writes them.
            file.write(("\ufeff" + mark.join(f'"{name}"' for name in columns) + "\r\n1\r\n").encode())
    return place


@pytest.mark.parametrize("scheme", ["", "memory://bucket"])
@pytest.mark.parametrize("name", ["r.csv", "r.tsv", "r.jsonl", "r.parquet"])
def test_a_file_with_error_and_the_columns_of_the_input_may_be_replaced(tmp_path, scheme, name):
    place = f"{scheme or tmp_path}/{name}"
    refuse_foreign(place, ("id", "text"))  # there is no file
    refuse_foreign(written(place, EARLIER), ("id", "text", "two\nlines"))
    with pytest.raises(
        ConfigError, match=r"no earlier result of this job: it lacks the column _error .it has id"
    ):
        refuse_foreign(written(place, FOREIGN), ("id", "text"))
    with pytest.raises(ConfigError, match=r"lacks the column id .* name another file, or give --overwrite"):
        refuse_foreign(written(place, ANOTHER), ("id", "text"))


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "r.parquet"])
def test_an_empty_file_may_be_replaced_and_another_content_may_not(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    refuse_foreign(str(path), ("id",))
    path.write_bytes(b"PK\x03\x04 a spreadsheet")
    with pytest.raises(ConfigError, match=r"earlier result.*--overwrite"):
        refuse_foreign(str(path), ("id",))


def test_a_message_hides_the_secrets_of_a_url():
    place = written("memory://user:hunter22@bucket/r.csv", FOREIGN)
    with pytest.raises(ConfigError) as caught:
        refuse_foreign(place, ("id",))
    assert "hunter22" not in str(caught.value)

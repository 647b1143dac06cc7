"""Of several files with one form, each takes the part of it that it needs."""

from __future__ import annotations

import pytest

from cluster.input.formats import FileForm, form_needed

EXCEL = FileForm(delimiter=";", encoding="cp1252")


@pytest.mark.parametrize(
    ("name", "text", "encoding", "needed"),
    [
        ("a.csv", "id;né\n1;é\n", "cp1252", EXCEL),
        ("a.csv", "id,né\n1,é\n", "utf-8", FileForm()),
        ("a.csv", "id;né\n1;é\n", "utf-8", FileForm(delimiter=";")),
        ("a.csv", "id,n\n" + "1,e\n" * 40_000 + "1,é\n", "cp1252", FileForm(encoding="cp1252")),
        ("a.tsv", "id\tn\n", "utf-8", FileForm()),
        ("a.jsonl", '{"id":"é"}\n', "cp1252", FileForm(encoding="cp1252")),
        ("a.parquet", "PAR1", "utf-8", FileForm()),
    ],
)
def test_a_file_takes_the_part_that_it_needs(name, text, encoding, needed, tmp_path):
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    assert form_needed(str(path), EXCEL) == needed


def test_utf_16_is_no_utf_8_and_a_url_takes_all(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id;n\n", encoding="utf-16-le")
    form = FileForm(delimiter=";", encoding="utf-16-le")
    assert form_needed(str(path), form) == form
    assert form_needed("s3://bucket/a.csv", EXCEL) == EXCEL
    assert form_needed("s3://bucket/a.jsonl", EXCEL) == FileForm(encoding="cp1252")

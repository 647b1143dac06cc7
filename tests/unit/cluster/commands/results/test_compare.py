"""The command ``compare``: its page, its document and its exit codes."""

from __future__ import annotations

import html

import orjson
import pytest
from typer.testing import CliRunner

import driver


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, right in (("a", 20), ("b", 34), ("gold", 40)):
        rows = [{"key": f"k{n}", "label": "x" if n < right else "y"} for n in range(40)]
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    text = "".join(f"k{n};x;é\n" for n in range(40))
    (tmp_path / "excel.csv").write_text(f"key;label;note\n{text}", encoding="cp1252")
    return CliRunner()


TRUTH = ("--truth", "gold.jsonl:label")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 0, ""),
        ((*TRUTH, "--fail-if", "accuracy < 0"), 0, ""),
        ((*TRUTH, "--fail-if", "accuracy > 0.3"), 3, "--fail-if accuracy > 0.3: it holds"),
        (("--fail-if", "worse"), 2, "worse: there is no such figure; accuracy needs --truth"),
        (("--fail-if", "accuracy >"), 2, "column 11 of the condition"),
        (("--key", "id"), 2, 'no column is named "id"'),
        (("--truth", "gold.jsonl"), 2, "no decision: Object missing required field `task`"),
        (("--truth", "gold"), 2, "write FILE:COLUMN"),
        (("--truth", "excel.csv:label"), 2, "use --delimiter ';'"),
        (("--truth", "excel.csv:label", "--delimiter", ";"), 2, "not UTF-8"),
        (
            (
                *("--truth", "excel.csv:label", "--delimiter", ";", "--encoding", "cp1252"),
                "--fail-if",
                "better",
            ),
            3,
            "it holds",
        ),
        (("--noise", "5", "--truth", "none.csv:label"), 2, "there is no such file"),
        (("--noise", "5"), 2, "a.jsonl is a file, which does not say what was asked"),
    ],
)
def test_exit_codes_and_errors(cli, options, code, said):
    ended = cli.invoke(driver.app, ["compare", "a.jsonl", "b.jsonl", *options])
    assert ended.exit_code == code, ended.stderr
    assert said in ended.stderr


def test_the_document_and_the_page_have_the_same_sentence(cli, tmp_path):
    ended = cli.invoke(driver.app, ["compare", "a.jsonl", "b.jsonl", *TRUTH, "--json", "-o", "new/cmp.html"])
    assert "new/cmp.html" in ended.stderr
    document = orjson.loads(ended.stdout)
    assert document["sentence"].startswith(
        "B is better than A: label is right in 85.0% of 40 instead of 50.0%"
    )
    assert html.escape(document["sentence"]) in (tmp_path / "new" / "cmp.html").read_text()

"""The page of a comparison is one file that loads nothing, and shows texts as they are."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from cluster.compare.comparison import compare_sides
from cluster.compare.page import comparison_page, differing, write_page
from cluster.compare.sides import TableSide
from cluster.report.tables.targets import ResultsError
from tests.unit.support.hidden_text import HIDDEN, SHOWN, unseen

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)> of a text that is long enough"


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.ids, self.links = set(), set(), set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.add(value)
            if name == "href":
                self.links.append(value)


@pytest.fixture
def result():
    a = [
        {"key": str(n), "label": "x" if n % 3 else "y", "note": f"{HOSTILE} {n}", "score": n}
        for n in range(60)
    ]
    b = [
        {**row, "label": "x", "note": f"{row['note']} more", "score": row["score"] + row["score"] % 2}
        for row in a
    ]
    return compare_sides(TableSide("<b>A</b>", lambda: iter(a)), TableSide("B", lambda: iter(b)))


def test_the_policy_allows_the_styles_of_the_page_and_nothing_else(result):
    page = comparison_page(result)
    styles = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    hashed = base64.b64encode(hashlib.sha256(styles.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'none'; style-src 'sha256-{hashed}'; "
    assert policy in page.replace("&#39;", "'")
    found = Elements(page)
    assert not found.tags & {"script", "img", "link", "iframe", "object", "form", "b"}
    assert not {name for name in found.attributes if name.startswith("on") or name in ("src", "style")}
    assert {link.removeprefix("#") for link in found.links} <= found.ids


def test_the_page_has_the_answer_the_matrix_and_the_words_that_changed(result):
    page = comparison_page(result)
    assert '<h1 class="answer">B and A are different by' in page
    assert '<td class="shade-5 same">40</td>' in page
    assert "<ins> more</ins>" in page
    assert "&lt;script&gt;" in page


def test_hidden_characters_are_shown_as_their_codes():
    rows = [{"key": f"{HIDDEN} {n}", "label": f"{HIDDEN} {n % 3}"} for n in range(40)]
    other = [{**row, "label": HIDDEN} for row in rows]
    sides = (TableSide(HIDDEN, lambda: iter(rows)), TableSide("B", lambda: iter(other)))
    page = comparison_page(compare_sides(*sides))
    assert unseen(page) == []
    assert f"A {SHOWN} · B B" in page


def test_few_words_differ_as_a_whole():
    assert differing("bug", None) == [("a", "bug"), ("b", "null")]
    assert differing("one two three four five", "one two 3 four five")[1:3] == [("a", "three"), ("b", "3")]


def test_a_page_that_cannot_be_written_leaves_nothing(result, tmp_path):
    assert write_page(result, tmp_path / "new" / "cmp.html").read_text().startswith("<!doctype html>")
    (tmp_path / "taken").mkdir()
    with pytest.raises(ResultsError, match="taken"):
        write_page(result, tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "taken"]

"""The file of a page appears whole or not at all, for its owner alone."""

import stat

import pytest

from actors.core.errors import ConfigError
from cluster.report.tables.targets import ResultsError
from cluster.web.writing import write_file

MARK = b'<!doctype html><meta name="generator" content="Headrace">'


def test_a_table_of_the_user_is_not_replaced_by_a_page(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text("key,text\n1,a mug\n")
    with pytest.raises(ConfigError, match=r"reviews\.csv exists, and is no page of Headrace"):
        write_file(path, [MARK])
    assert path.read_text() == "key,text\n1,a mug\n"
    path.write_text("")
    write_file(path, [MARK])


def test_a_page_replaces_an_earlier_one_and_is_its_owners_alone(tmp_path):
    path = tmp_path / "new" / "page.html"
    assert write_file(path, [MARK, b"one"]) == len(MARK) + 3
    assert write_file(path, [b"three"]) == 5
    assert path.read_bytes() == b"three"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["page.html"]


def test_a_page_that_cannot_be_written_leaves_nothing_and_does_not_speak_of_runs(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ResultsError) as caught:
        write_file(tmp_path / "taken" / "page.html", [b"one"])
    assert str(caught.value).endswith("move it away, or write the page to another place")

    def chunks():
        yield b"one"
        raise ValueError("no more")

    (tmp_path / "page.html").write_bytes(MARK)
    with pytest.raises(ValueError, match="no more"):
        write_file(tmp_path / "page.html", chunks())
    assert (tmp_path / "page.html").read_bytes() == MARK
    assert sorted(each.name for each in tmp_path.iterdir()) == ["page.html", "taken"]

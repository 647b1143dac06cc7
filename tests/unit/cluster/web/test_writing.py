"""The file of a page appears whole or not at all, for its owner alone."""

import stat

import pytest

from cluster.report.tables.targets import ResultsError
from cluster.web.writing import write_file


def test_a_page_replaces_an_earlier_one_and_is_its_owners_alone(tmp_path):
    path = tmp_path / "new" / "page.html"
    assert write_file(path, [b"one", b"two"]) == 6
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

    (tmp_path / "page.html").write_text("earlier")
    with pytest.raises(ValueError, match="no more"):
        write_file(tmp_path / "page.html", chunks())
    assert (tmp_path / "page.html").read_text() == "earlier"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["page.html", "taken"]

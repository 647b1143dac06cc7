"""Templates, for any value: what goes in comes out, and stays where it was put."""

from __future__ import annotations

import fnmatch
import posixpath
import string
from urllib.parse import parse_qs, unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from actors.core.errors import SourceError
from actors.core.messages.tasks import Task
from actors.sources.http import HttpSettings, HttpSource
from actors.sources.templates import escape_path, expand, names, parse

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
AWKWARD = st.text(st.sampled_from("./*?[]{}%&=#;+ a\\:@"), max_size=12)
SOURCE = HttpSource(
    HttpSettings(name="api", kind="http", url="https://example.test/v1/{key}/tail?first={key}&second={b}")
)


@given(st.text(max_size=40))
def test_text_without_braces_is_a_template_of_itself(text):
    literal = text.replace("{", "{{").replace("}", "}}")

    assert expand(literal, Task("k"), lambda value, name: value) == text
    assert names(literal) == set()


@given(st.text(st.sampled_from("{}!:.[]()_a0 "), max_size=12))
def test_any_template_is_refused_or_made_of_plain_names(template):
    try:
        parts = parse(template)
    except ValueError:
        return
    allowed = set(string.ascii_letters + string.digits + "_-")
    assert all(name is None or (name and set(name) <= allowed) for _, name in parts)


@given(ANY_TEXT | AWKWARD, ANY_TEXT | AWKWARD)
def test_a_value_arrives_in_its_place_of_a_url_and_changes_no_other(key, other):
    try:
        url = str(SOURCE._url(Task(key, {"b": other})))
    except SourceError:
        assert key in ("", ".", "..")
        return
    split = urlsplit(url)
    assert split.netloc == "example.test"
    assert [unquote(segment) for segment in split.path.split("/")] == ["", "v1", key, "tail"]
    assert parse_qs(split.query, keep_blank_values=True) == {"first": [key], "second": [other]}
    assert split.fragment == ""


@given(ANY_TEXT | AWKWARD)
def test_a_value_in_a_path_matches_itself_and_stays_below(value):
    try:
        escaped = escape_path(value, "key")
    except SourceError:
        first, *below = value.split("/")
        assert first in ("", ".", "..") or any(segment.startswith(".") for segment in below)
        return
    assert fnmatch.fnmatchcase(value, escaped)
    assert posixpath.normpath("/root/" + value).startswith("/root")


@given(AWKWARD, AWKWARD)
def test_a_value_in_a_path_matches_nothing_but_itself(value, another):
    try:
        escaped = escape_path(value, "key")
    except SourceError:
        return
    assert fnmatch.fnmatchcase(another, escaped) == (another == value)

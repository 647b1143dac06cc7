"""Templates: what may stand in one, and how each place escapes the values of a task."""

from __future__ import annotations

import re

import pytest

from actors.core.errors import SourceError
from actors.core.messages.tasks import Task
from actors.sources.templates import escape_path, escape_url_query, escape_url_segment, expand, names, parse


def as_it_is(value: str, name: str) -> str:
    return value


def test_the_key_and_the_params_of_a_task_are_put_in():
    task = Task("a", {"version": 3, "share": 0.5, "new": True})

    assert expand("{key}/{version}/{share}/{new}/{{x}}", task, as_it_is) == "a/3/0.5/true/{x}"


def test_a_param_called_key_does_not_replace_the_tasks_own():
    assert expand("{key}", Task("mine", {"key": "other"}), as_it_is) == "mine"


@pytest.mark.parametrize(
    "template",
    ["{key.__class__}", "{key[0]}", "{key!r}", "{key:>9}", "{}", "{0}", "{a b}", "{key", "}", "{a{b}}"],
)
def test_a_template_holds_names_and_nothing_else(template):
    with pytest.raises(ValueError, match=r"."):
        parse(template)


@pytest.mark.parametrize("place", ["{key!r}", "{key:>9}", "{key!r:>9}", "{a b}"])
def test_a_place_that_is_no_name_is_shown_as_it_is_written(place):
    with pytest.raises(ValueError, match=re.escape(f"{place} is not a plain name")):
        parse(f"x{place}y")


def test_the_names_of_a_template_are_known_before_any_task():
    assert names("x{key}{product-id}{{no}}") == {"key", "product-id"}


def test_an_unknown_name_is_an_error_that_names_the_known_ones():
    with pytest.raises(SourceError, match=r"no value 'nope'; it has: key, version"):
        expand("{nope}", Task("a", {"version": 1}), as_it_is)


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_a_value_that_has_no_one_spelling_is_refused(value):
    with pytest.raises(SourceError, match="accepts text, numbers and booleans"):
        expand("{v}", Task("a", {"v": value}), as_it_is)


def test_a_value_cannot_leave_its_segment_of_a_url():
    assert escape_url_segment("a/b?c=d&e#f%2F é", "key") == "a%2Fb%3Fc%3Dd%26e%23f%252F%20%C3%A9"


def test_an_empty_value_is_refused_in_a_urls_path_and_taken_in_its_query():
    assert escape_url_query("", "key") == ""
    with pytest.raises(SourceError, match="is empty"):
        escape_url_segment("", "key")


@pytest.mark.parametrize("escape", [escape_path, escape_url_segment, escape_url_query])
def test_a_nul_is_refused_everywhere(escape):
    with pytest.raises(SourceError, match="NUL"):
        escape("a\0b", "key")


def test_half_of_a_character_is_refused_in_a_url():
    with pytest.raises(SourceError, match="half of a character"):
        escape_url_query("\ud800", "key")


@pytest.mark.parametrize("value", ["", "/etc", "..", "../x", "a/../b", "a/.."])
def test_a_value_cannot_lead_upwards_in_a_path(value):
    with pytest.raises(SourceError, match="hidden values are not allowed"):
        escape_path(value, "key")


def test_wildcards_in_a_value_stand_for_themselves():
    assert escape_path("a*/b?[c]..d", "key") == "a[*]/b[?][[]c]..d"

"""The http source's rules that need no server: settings, paths into answers, Retry-After, what is shown."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from yarl import URL

from actors.core.errors import SourceError
from actors.core.messages.tasks import Task
from actors.sources.http import HttpSettings, HttpSource, select, shown


def settings(url: str = "https://example.test/v1/{key}", **options) -> HttpSettings:
    return HttpSettings(name="api", kind="http", url=url, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "ftp://h/{key}"}, "begins with http"),
        ({"url": "/v1/{key}"}, "begins with http"),
        ({"url": "{key}/x"}, "begins with http"),
        ({"url": "https://{key}.example.test/"}, "must not contain values of a task"),
        ({"url": "https://h:{port}/"}, "must not contain values of a task"),
        ({"url": "https://user:pw@h/{key}"}, "must not contain credentials"),
        ({"url": "https://h/{key.x}"}, "not a plain name"),
        ({"url": "https://h/{key}#x"}, "fragment"),
        ({"headers": {"A B": "x"}}, "not a valid header name"),
        ({"headers": {"X": "secret\r\nY: z"}}, "control character"),
        ({"item": "x"}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValidationError, match=message) as caught:
        settings(**options)
    assert "secret" not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_a_secret_does_not_show_in_the_settings():
    text = repr(settings("https://h/{key}?token=hidden", headers={"Authorization": "Bearer hidden"}))

    assert "hidden" not in text
    assert "Authorization" in text


def test_a_value_stays_in_its_place_in_the_url():
    source = HttpSource(settings("https://h/v1/{key}/x?q={key}&p=1"))
    escaped = "a%2Fb%3Fc%26d%23e%2Bf%3Bg%252e"

    assert str(source._url(Task("a/b?c&d#e+f;g%2e"))) == f"https://h/v1/{escaped}/x?q={escaped}&p=1"


def test_the_fixed_text_of_a_url_may_hold_any_character():
    source = HttpSource(settings("https://müller.test:1/é x/{key}?{key}={{é}}"))

    assert str(source._url(Task("k"))) == "https://xn--mller-kva.test:1/%C3%A9%20x/k?k={%C3%A9}"


def test_a_url_may_begin_its_query_right_after_the_host():
    assert str(HttpSource(settings("https://h?q={key}"))._url(Task("k"))) == "https://h/?q=k"


@pytest.mark.parametrize("key", [".", ".."])
def test_a_key_of_dots_cannot_climb_in_the_url(key):
    with pytest.raises(SourceError, match="results in a segment"):
        HttpSource(settings("https://h/v1/{key}"))._url(Task(key))


def test_dots_of_two_values_cannot_climb_together():
    with pytest.raises(SourceError, match="results in a segment"):
        HttpSource(settings("https://h/v1/{key}{b}/x"))._url(Task(".", {"b": "."}))


def test_a_url_is_shown_without_its_query():
    assert shown(URL("https://u:p@h:1/v1/a?token=x#y")) == "https://h:1/v1/a"


@pytest.mark.parametrize(
    ("path", "expected"), [("", {"a": [{"b": 1}]}), ("a", [{"b": 1}]), ("a.0", {"b": 1}), ("a.0.b", 1)]
)
def test_a_path_goes_by_names_and_positions(path, expected):
    assert select({"a": [{"b": 1}]}, path) == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("x", "there is no 'x'; the names are: a, c"),
        ("a.1", "'1' is not an index of a list of 1"),
        ("a.-1", "'-1' is not an index"),
        ("a.x", "'x' is not an index"),
        ("c.d", "'d' cannot be looked up in int"),
    ],
)
def test_a_path_that_leads_nowhere_says_what_is_there(path, message):
    with pytest.raises(LookupError, match=message):
        select({"a": [1], "c": 2}, path)

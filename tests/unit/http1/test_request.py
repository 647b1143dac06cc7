"""The head of a request: whom it names, and what cannot get into it."""

from __future__ import annotations

import pytest
from yarl import URL

from actors.http1.request import head, line


@pytest.mark.parametrize(
    ("url", "target", "host"),
    [
        ("http://h.test/v1", "/v1", "h.test"),
        ("https://h.test:443/", "/", "h.test:443"),
        ("http://h.test:8080/a%20b?q=%C3%BC", "/a%20b?q=%C3%BC", "h.test:8080"),
        ("http://[::1]:81/v1", "/v1", "[::1]:81"),
        ("http://bücher.test/", "/", "xn--bcher-kva.test"),
    ],
)
def test_a_head_names_target_and_host_as_they_are_sent(url, target, host):
    sent = head("GET", URL(url), {"Accept": "text/plain"})
    assert sent == f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\n".encode()


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: 1", "/ü", "/\x00"])
def test_a_target_that_would_end_its_line_is_refused(path):
    with pytest.raises(ValueError, match="characters that cannot be sent"):
        head("GET", URL.build(scheme="http", host="h.test", path=path, encoded=True), {})


@pytest.mark.parametrize(
    ("name", "value"), [("X", "a\r\nY: 1"), ("X", "a\x00"), ("X: 1\r\nY", "a"), ("", "a"), ("X Y", "a")]
)
def test_a_header_that_would_be_more_than_one_line_is_refused(name, value):
    with pytest.raises(ValueError, match="characters that cannot be sent"):
        line(name, value)

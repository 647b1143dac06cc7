"""The service's pages run no text of tasks, sources or models."""

from __future__ import annotations

import re

from cluster.http.routes import pages

PAGE = pages.live_page().body.decode()


def test_the_live_page_makes_text_of_all_that_it_shows_and_no_link():
    assert "textContent" in PAGE
    markup = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|\.href|\.src\b"
    )
    assert re.findall(markup, PAGE) == []
    assert re.findall(r"<a |<iframe|<img|<[^>]+\son\w+=", PAGE) == []


def test_only_the_page_s_own_script_runs_and_nothing_is_asked_of_another_address():
    policy = pages.live_page().headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[^']+'(;|$)", policy)
    assert "unsafe" not in policy
    assert "connect-src 'self'" in policy


def test_the_reference_escapes_what_it_shows():
    openapi = {
        "info": {"title": "<script>", "description": "<b>"},
        "paths": {
            "/<i>": {
                "get": {"summary": "<u>", "responses": {"200": {"description": "<img onerror=x>"}}},
            },
        },
        "components": {"schemas": {"<s>": {"description": "</pre><script>"}}},
    }
    text = pages.reference(openapi).body.decode()
    assert re.findall(r"<(?:script|b|i|u|img|s)\b[^>]*>", text) == ["<b>"]  # of the page itself

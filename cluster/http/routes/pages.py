"""The web pages: files of this package and shared ones, put together into one document each.

Rule: a page loads nothing from other addresses, and runs only the scripts whose hashes its policy names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from cluster.web.document import NONE, SELF, UPLOT, UPLOT_STYLES, asset, hashed, policy

_OWN = Path(__file__).parent / "assets"
_STYLES, _SCRIPTS = "<!-- styles -->", "<!-- scripts -->"


@dataclass(frozen=True, slots=True)
class WebPage:
    """A page with its policy and its tag, by which a browser asks whether it has changed."""

    text: str
    policy: str
    tag: str


def live_page(request: Request) -> Response:
    """Return the live page."""
    scripts = ("elements.js", "plots.js", "rows.js", "api.js", "history.js", "tasks.js", "task.js", "live.js")
    return _answer(request, web_page("live.html", (UPLOT_STYLES, "base.css", "live.css"), (UPLOT, *scripts)))


def reference(request: Request) -> Response:
    """Return the reference, which is made in the browser from the OpenAPI document."""
    scripts = ("elements.js", "rows.js", "api.js", "schemas.js", "operations.js", "reference.js")
    return _answer(request, web_page("reference.html", ("base.css", "live.css", "reference.css"), scripts))


@cache
def web_page(frame: str, styles: Sequence[str], scripts: Sequence[str]) -> WebPage:
    """Return a page: its frame with the texts of styles and scripts, each in an element of its own."""
    applied, run = ([asset(name, _OWN) for name in names] for names in (styles, scripts))
    text = asset(frame, _OWN)
    text = text.replace(_STYLES, _tags("style", applied)).replace(_SCRIPTS, _tags("script", run))
    allowed = policy(
        scripts=[hashed(each) for each in run],
        styles=[hashed(each) for each in applied],
        connect_src=SELF,
        img_src=f"{SELF} data:",
        frame_ancestors=NONE,
    )
    return WebPage(text, allowed, f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"')


def _tags(kind: str, texts: Sequence[str]) -> str:
    return "\n".join(f"<{kind}>{text}</{kind}>" for text in texts)


def _answer(request: Request, page: WebPage) -> Response:
    """Return a page, or 304 if the browser has it."""
    headers = {"Content-Security-Policy": page.policy, "Cache-Control": "no-cache", "ETag": page.tag}
    if page.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(page.text, headers=headers, media_type="text/html; charset=utf-8")

"""The web pages: files of this package and of `cluster.page`, put together into one document each.

Rule: a page loads nothing from other addresses, and runs only the scripts whose hashes its policy names.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

_OWN = Path(__file__).parent / "assets"
_SHARED = Path(__file__).parents[2] / "page" / "assets"
_STYLES, _SCRIPTS = "<!-- styles -->", "<!-- scripts -->"
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
_UPLOT = _SHARED / "uplot"


def live_page(request: Request) -> Response:
    """Return the live page."""
    scripts = ("rows.js", "api.js", "history.js", "tasks.js", "task.js", "live.js")
    return _answer(
        request,
        _document(
            "live.html",
            (_UPLOT / "uPlot.min.css", _SHARED / "base.css", _OWN / "live.css"),
            (_UPLOT / "uPlot.iife.min.js", _SHARED / "elements.js", *(_OWN / name for name in scripts)),
        ),
    )


def reference(request: Request) -> Response:
    """Return the reference, which is made in the browser from the OpenAPI document."""
    scripts = ("rows.js", "api.js", "schemas.js", "operations.js", "reference.js")
    return _answer(
        request,
        _document(
            "reference.html",
            (_SHARED / "base.css", _OWN / "live.css", _OWN / "reference.css"),
            (_SHARED / "elements.js", *(_OWN / name for name in scripts)),
        ),
    )


@cache
def _document(frame: str, styles: Sequence[Path], scripts: Sequence[Path]) -> str:
    text = (_OWN / frame).read_text(encoding="utf-8")
    return text.replace(_STYLES, _tags("style", styles)).replace(_SCRIPTS, _tags("script", scripts))


def _tags(kind: str, files: Sequence[Path]) -> str:
    return "\n".join(f"<{kind}>\n{file.read_text(encoding='utf-8')}</{kind}>" for file in files)


def _answer(request: Request, text: str) -> Response:
    """Return a page, or 304 if the browser has it."""
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = {"Content-Security-Policy": policy(text), "Cache-Control": "no-cache", "ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(text, headers=headers, media_type="text/html; charset=utf-8")


@cache
def policy(text: str) -> str:
    """Return the content security policy of a page: its scripts and styles by hash, requests to itself."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, inner in _INLINE.findall(text):
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    allowed = {kind: " ".join(found) or "'none'" for kind, found in hashes.items()}
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {allowed['script']}",
            f"style-src {allowed['style']}",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )

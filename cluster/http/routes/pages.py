"""The web pages: files of this package, and the reference that is made from the OpenAPI document.

Rule: a page loads nothing from other addresses, and runs only the script whose hash its policy names.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from functools import cache
from importlib import resources
from typing import Any

import orjson
from starlette.responses import Response

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}code,pre{font:14px/1.5 ui-monospace,monospace}pre{overflow:auto;padding:.75rem;"
    "border:1px solid #8886;border-radius:6px}h2{margin-top:2.5rem}summary{cursor:pointer}"
)


def live_page() -> Response:
    """Return the live page."""
    return _page(_file("page.html"))


@cache
def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _page(text: str) -> Response:
    headers = {"Content-Security-Policy": policy(text), "Cache-Control": "no-cache"}
    return Response(text, headers=headers, media_type="text/html; charset=utf-8")


@cache
def policy(text: str) -> str:
    """Return the content security policy of a page: its script and style by hash, and requests to itself."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, inner in _INLINE.findall(text):
        told = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{told}'")
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(hashes['script']) or chr(39) + 'none' + chr(39)}",
            f"style-src {' '.join(hashes['style']) or chr(39) + 'none' + chr(39)}",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def reference(openapi: dict[str, Any]) -> Response:
    """Return the reference as a page without scripts."""
    parts = [f"<h1>{_text(openapi['info']['title'])}</h1><p>{_text(openapi['info']['description'])}</p>"]
    parts.append('<p>For programs: <a href="/openapi.json">openapi.json</a></p>')
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(method.upper(), path, operation))
    schemas = openapi["components"]["schemas"]
    parts.append("<h2>Documents</h2>")
    parts += [
        f"<details><summary>{_text(name)}</summary>{_shown(schemas[name])}</details>" for name in schemas
    ]
    body = "\n".join(parts)
    return _page(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Headrace: HTTP</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    answers = "".join(
        f"<li><code>{_text(status)}</code> {_text(answer['description'])}</li>"
        for status, answer in operation["responses"].items()
    )
    given = "".join(
        f"<li><code>{_text(each['name'])}</code> ({each['in']}) {_text(each.get('description', ''))}</li>"
        for each in operation.get("parameters", ())
    )
    body = operation.get("requestBody")
    return (
        f"<h2><code>{_text(method)} {_text(path)}</code></h2><p><b>{_text(operation['summary'])}.</b> "
        f"{_text(operation.get('description', ''))}</p>"
        + (f"<h3>Parameters</h3><ul>{given}</ul>" if given else "")
        + (f"<h3>Body</h3>{_shown(body['content'])}" if body else "")
        + f"<h3>Answers</h3><ul>{answers}</ul>"
    )


def _shown(document: Any) -> str:
    return f"<pre>{_text(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())}</pre>"


def _text(value: str) -> str:
    return html.escape(value)

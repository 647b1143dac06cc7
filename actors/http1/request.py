"""Builds the head of a request."""

from __future__ import annotations

import re
from collections.abc import Mapping

from yarl import URL

_TARGET = re.compile(r"[!-~]+")  # excludes spaces and line breaks, which could inject headers
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


def head(method: str, url: URL, headers: Mapping[str, str], *, absolute: bool = False) -> bytes:
    """Return the request line and the headers, without the final empty line.

    absolute: name the whole URL in the request line, as a proxy that makes the request needs it.
    Raises ValueError if the URL or a header contains invalid characters.
    """
    if not _TARGET.fullmatch(url.raw_path_qs):
        raise ValueError("the URL contains characters that cannot be sent")
    host = url.raw_host or ""
    host = f"[{host}]" if ":" in host else host
    if url.explicit_port is not None:
        host += f":{url.explicit_port}"
    target = f"{url.scheme}://{host}{url.raw_path_qs}" if absolute else url.raw_path_qs
    lines = [f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n".encode("ascii")]
    lines += [line(name, value) for name, value in headers.items()]
    return b"".join(lines)


def line(name: str, value: str) -> bytes:
    """Return a header line. Raises ValueError if `name` or `value` contains invalid characters."""
    if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
        raise ValueError(f"header {name[:80]!r} contains characters that cannot be sent")
    return f"{name}: {value}\r\n".encode()

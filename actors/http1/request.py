"""The bytes of a request's head."""

from __future__ import annotations

import re
from collections.abc import Mapping

from yarl import URL

_TARGET = re.compile(r"[!-~]+")  # nothing that could end the line, or begin another
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


def head(method: str, url: URL, headers: Mapping[str, str]) -> bytes:
    """Return the lines of a request's head, each with its end; the empty line after them is the caller's.

    Raises ValueError for a URL or a header that cannot be sent as it is.
    """
    if not _TARGET.fullmatch(url.raw_path_qs):
        raise ValueError("a URL holds what cannot be sent")
    host = url.raw_host or ""
    host = f"[{host}]" if ":" in host else host
    if url.explicit_port is not None:
        host += f":{url.explicit_port}"
    lines = [f"{method} {url.raw_path_qs} HTTP/1.1\r\nHost: {host}\r\n".encode("ascii")]
    lines += [line(name, value) for name, value in headers.items()]
    return b"".join(lines)


def line(name: str, value: str) -> bytes:
    """Return one header as a line. Raises ValueError where it would be more than that."""
    if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
        raise ValueError(f"header {name[:80]!r} holds what cannot be sent")
    return f"{name}: {value}\r\n".encode()

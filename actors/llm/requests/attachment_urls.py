"""Tells whether a URL lies below a prefix that the settings allow.

Rule: a URL that a server or a library may read as a place outside of its prefix is below none.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from yarl import URL

REMOTE = ("s3", "gs", "gcs", "az", "abfs", "abfss")
WEB = ("http", "https")
PREFIX = rf"^({'|'.join((*WEB, *REMOTE))})://[^/?#\s]+/([^?#\s]*/)?$"


def is_below(location: str, prefixes: Sequence[str]) -> bool:
    """Return whether `location`, a URL, begins with one of `prefixes`, which end with a slash."""
    path = unquote(location.partition("?")[0]).replace("\\", "/")
    if ".." in path.split("/"):
        return False
    return any(_plain(location).startswith(_plain(prefix)) for prefix in prefixes)


def _plain(location: str) -> str:
    """Return a web address with its host in lower case and without the default port."""
    is_web = location.partition(":")[0].lower() in WEB
    return str(URL(location)) if is_web else location

"""Decides which requests the server of a review answers. Only its own page may read or write.

Pure. Rule 1: a request names this server as its host; a page of another site that resolves its own name to
    127.0.0.1 does not.
Rule 2: a request with data has the token, which is in the fragment of the address and so in no request line.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from cluster.web.document import NONE, SELF, policy

HEADERS = {
    "Content-Security-Policy": policy(
        scripts=[SELF], styles=[SELF], connect_src=SELF, img_src="data:", frame_ancestors=NONE
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_BEARER = "Bearer "


def refusal(headers: Mapping[str, str], port: int, token: str | None) -> tuple[int, str] | None:
    """Return the status and the reason with which a request is refused, None if it is not.

    `token` is None for files without data.
    """
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
    if headers.get("Host") not in hosts:
        return 403, "the request names another host"
    origin = headers.get("Origin")
    if origin is not None and origin not in {f"http://{host}" for host in hosts}:
        return 403, "the request comes from another page"
    if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return 403, "the request comes from another page"
    if token is None:
        return None
    given = headers.get("Authorization", "")
    if not given.startswith(_BEARER) or not _equal(given.removeprefix(_BEARER), token):
        return 401, "the token is missing or wrong: open the address that the command printed"
    return None


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode())

"""Sends requests of the library `requests` with one deadline each, and reads a bounded part of each answer.

The timeout of the library is that of a single read: a receiver that sends single bytes holds a request
without end. Its answers are read whole, whatever their size.
"""

from __future__ import annotations

import io
import socket
import threading
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter

_MOST_BYTES = 64 << 10  # of an answer: the receiver of spans has little to say


class BoundedAdapter(HTTPAdapter):
    """Ends each request after its timeout, at whatever point it is. One thread sends requests."""

    def __init__(self) -> None:
        super().__init__()
        self._connections: WeakSet[Any] = WeakSet()

    def send(  # noqa: D102, PLR0917 - it overrides that of the library
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002, FBT001, FBT002 - same
        timeout: Any = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002 - same
        cert: Any = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        within_s = timeout if isinstance(timeout, int | float) else None
        timer = None if within_s is None else threading.Timer(within_s, self.cut)
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            with super().send(request, True, timeout, verify, cert, proxies) as answer:
                return _bounded(answer)
        finally:
            if timer is not None:
                timer.cancel()

    def cut(self) -> None:
        """End the request in progress soon. May be called in another thread."""
        for connection in list(self._connections):
            if (sock := getattr(connection, "sock", None)) is not None:
                with suppress(OSError):  # it is closed already
                    # That of SSLSocket would change the state that the other thread reads.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def get_connection_with_tls_context(self, *given: Any, **named: Any) -> Any:  # noqa: D102 - it overrides that of the library
        pool = super().get_connection_with_tls_context(*given, **named)
        kind, known = pool.ConnectionCls, self._connections
        if not getattr(kind, "is_recorded", False):

            class Recorded(kind):  # type: ignore[misc, valid-type] # a class of HTTP or HTTPS
                is_recorded = True

                def __init__(self, *given: Any, **named: Any) -> None:
                    super().__init__(*given, **named)
                    known.add(self)

            pool.ConnectionCls = Recorded
        return pool


def _bounded(answer: requests.Response) -> requests.Response:
    """Return `answer` with the beginning of its body, which has been read."""
    body = answer.raw.read(_MOST_BYTES, decode_content=True)
    read = requests.Response()
    read.status_code, read.reason, read.url = answer.status_code, answer.reason, answer.url
    read.headers, read.request, read.encoding = answer.headers, answer.request, answer.encoding
    read.raw = io.BytesIO(body)
    return read

"""One end of a connection for tests: what is written is kept, and bytes come in as a test gives them."""

from __future__ import annotations

from actors.http1.connection import HttpConnection
from actors.http1.exchange import Exchange

REQUEST = b"POST / HTTP/1.1\r\n\r\n"


class Wire:
    """A connection over a transport that does nothing. `free` and `lost` hold what was told of it."""

    def __init__(self, bound=1_000_000):
        self.written, self.unsent = [], 0
        self.closed = self.aborted = False
        self.free, self.lost = [], []
        self.bound = bound
        self.connection = HttpConnection(self.free.append, self.lost.append)
        self.connection.connection_made(self)

    def ask(self, on_head=None):
        self.free.clear()
        exchange = Exchange(REQUEST, lambda status: self.bound, on_head)
        self.connection.start(exchange)
        return exchange

    def comes(self, *pieces):
        for piece in pieces:
            if not self.is_closing():
                self.connection.data_received(piece)

    def ends(self, error=None):
        self.closed = True
        self.connection.connection_lost(error)

    # ---- asyncio.Transport -------------------------------------------------------------------------------

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.closed = True

    def abort(self):
        self.aborted = True

    def is_closing(self):
        return self.closed or self.aborted

    def get_write_buffer_size(self):
        return self.unsent


def answer(body=b"", status=200, **headers):
    """Return the bytes of an answer; without other framing its length is told."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if not {"Transfer-Encoding", "Connection"} & names.keys():
        names["Content-Length"] = str(len(body))
    lines = [f"HTTP/1.1 {status} Words", *(f"{name}: {value}" for name, value in names.items()), "", ""]
    return "\r\n".join(lines).encode() + body

"""An origin for tests: its answers are given beforehand and go through a real exchange, in pieces."""

from __future__ import annotations

import zlib

from actors.http1.exchange import Http1Error

_PIECE = 65_536


def gzipped(data: bytes) -> bytes:
    """Return `data` as one gzip member."""
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(data) + packer.flush()


class ScriptedOrigin:
    """Answers each exchange with the next of `answers`: a status, headers and a body."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.urls: list[str] = []

    def __call__(self, url, **_):
        """Stand in for the class `Origin`."""
        self.urls.append(str(url))
        return self

    async def send(self, exchange, _within_s: float) -> None:
        self.asked.append(exchange.request.split(b" ", 2)[1].decode())
        exchange.sent = True
        status, headers, body = self.answers.pop(0)
        try:
            exchange.on_head(status, headers)
            for start in range(0, len(body), _PIECE):
                if exchange.on_piece(body[start : start + _PIECE]):
                    return
            exchange.on_end()
        except Http1Error as error:
            exchange.fail(error)
            await exchange.ended
            raise

    async def close(self) -> None:
        pass

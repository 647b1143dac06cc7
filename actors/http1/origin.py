"""The connection pool of one origin: as many connections as there are concurrent requests, kept alive."""

from __future__ import annotations

import asyncio

from yarl import URL

from actors.http1.connection import HttpConnection
from actors.http1.dial import Dialer, LookUp, system_addresses
from actors.http1.exchange import Exchange
from actors.http1.proxy import HttpProxy

_LATE_S = 0.5  # a timer this late shows that the event loop did not run
_GRACE_S = 3.0


class _Timer:
    """Fails an exchange when its time is over.

    After the process was frozen, or the event loop blocked, the response may have arrived in time and be
    unread. A timer that fires late first leaves time to read it: the request would be paid for twice.
    """

    __slots__ = ("_ends_at", "_exchange", "_loop", "_timer", "_within_s")

    def __init__(self, exchange: Exchange, within_s: float, ends_at: float) -> None:
        self._exchange = exchange
        self._within_s = within_s
        self._ends_at = ends_at
        self._loop = asyncio.get_running_loop()
        # Not `asyncio.timeout`, which costs as much as everything else in `Origin.send`.
        self._timer = self._loop.call_at(ends_at, self._on_time)

    def cancel(self) -> None:
        """Stop the timer."""
        self._timer.cancel()

    def _on_time(self) -> None:
        now = self._loop.time()
        if now > self._ends_at + _LATE_S:
            self._ends_at = now + _GRACE_S
            self._timer = self._loop.call_at(self._ends_at, self._fail)
        else:
            self._fail()

    def _fail(self) -> None:
        self._exchange.fail(TimeoutError(f"no answer within {self._within_s:g} s"))


class Origin:
    """Sends requests to the scheme, host and port of `url`. The caller bounds the number of requests.

    connect_s: the timeout of a connect.
    proxy: through which the host is reached. The requests for a host without TLS then name its absolute URL.
    keep_s: how long an idle connection is kept. The most recently used one is reused first, so that surplus
    connections of a burst expire.
    """

    def __init__(
        self,
        url: URL,
        *,
        connect_s: float,
        keep_s: float,
        look_up: LookUp = system_addresses,
        proxy: HttpProxy | None = None,
    ) -> None:
        host, port, is_tls = url.raw_host or "", url.port or 0, url.scheme == "https"
        self._dialer = Dialer(host, port, tls=is_tls, within_s=connect_s, look_up=look_up, proxy=proxy)
        self._keep_s = keep_s
        self._free: dict[HttpConnection, float] = {}  # when each became idle; the longest idle first
        self._all: set[HttpConnection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    async def send(self, exchange: Exchange, within_s: float) -> None:
        """Send the request of `exchange`, and wait up to `within_s` seconds for its end.

        Raises TimeoutError, OSError, `Http1Error`, and what `look_up` or the sink raises. Closes the
        connection on any error or cancellation.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + within_s
        connection = self._take()
        if connection is None:
            async with asyncio.timeout_at(ends_at):
                connection = await self._open()
        timer = _Timer(exchange, within_s, ends_at)
        connection.start(exchange)
        try:
            await exchange.ended
        except BaseException:
            connection.drop(exchange)
            raise
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Close all connections."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._all):
            connection.close()
        self._free.clear()
        await self._dialer.close()

    async def _open(self) -> HttpConnection:
        connection = await self._dialer.connect(lambda: HttpConnection(self._on_free, self._on_lost))
        if connection.is_open:
            self._all.add(connection)
        return connection

    def _take(self) -> HttpConnection | None:
        while self._free:
            connection, _ = self._free.popitem()
            if connection.is_open:
                return connection
        return None

    def _on_free(self, connection: HttpConnection) -> None:
        loop = asyncio.get_running_loop()
        self._free[connection] = loop.time()
        if self._sweep is None:
            self._sweep = loop.call_later(self._keep_s, self._close_unused)

    def _on_lost(self, connection: HttpConnection) -> None:
        self._all.discard(connection)
        self._free.pop(connection, None)

    def _close_unused(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = None
        for connection, since in list(self._free.items()):
            left_s = since + self._keep_s - loop.time()
            if left_s > 0:
                self._sweep = loop.call_later(left_s, self._close_unused)
                return
            del self._free[connection]
            connection.close()

"""The connections to one origin: which one a request gets, and when they are closed."""

from __future__ import annotations

import asyncio

import pytest
from yarl import URL

from actors.http1 import origin
from actors.http1.exchange import Exchange
from actors.http1.origin import Origin
from tests.unit.support.leaping_loop import run_leaping
from tests.unit.support.wire import REQUEST, Wire, answer

KEEP_S = 10.0


class Line(Wire):
    """A connection that `Dial` has made; it ends as soon as it is closed."""

    def __init__(self, connection):
        self.written, self.unsent = [], 0
        self.closed = self.aborted = False
        self.connection = connection
        connection.connection_made(self)

    def close(self):
        if not self.is_closing():
            self.closed = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    abort = close


class Dial:
    """Stands in for `Dialer`: connects at once, to nothing."""

    def __init__(self, host, port, *, tls, within_s, look_up, proxy):
        self.target = (host, port, tls)
        self.lines = []
        self.is_closed = False

    async def connect(self, make):
        self.lines.append(Line(make()))
        return self.lines[-1].connection

    async def close(self):
        self.is_closed = True


class Desk:
    def __init__(self, monkeypatch, url="http://h.test/"):
        monkeypatch.setattr(
            origin, "Dialer", lambda *a, **k: setattr(self, "dial", Dial(*a, **k)) or self.dial
        )
        self.origin = Origin(URL(url), connect_s=1.0, keep_s=KEEP_S)

    async def begin(self, within_s=60.0):
        """Send a request; return the task that waits for its answer."""
        exchange = Exchange(REQUEST, lambda status: 1000)
        task = asyncio.create_task(self.origin.send(exchange, within_s))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task

    @property
    def lines(self):
        return self.dial.lines

    @property
    def closed(self):
        return [line.closed for line in self.lines]

    async def free(self, count):
        """Have so many connections, all of them free; the last one since now."""
        tasks = [await self.begin() for _ in range(count)]
        for line, task in zip(self.lines[-count:], tasks, strict=True):
            line.comes(answer(b"yes"))
            await task


def leaping(test):
    """Have a test of a desk run on a leaping loop."""

    def run(monkeypatch):
        async def main():
            await test(Desk(monkeypatch))

        run_leaping(main())

    run.__name__ = test.__name__
    return run


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://h.test/v1", ("h.test", 443, True)),
        ("http://h.test", ("h.test", 80, False)),
        ("http://[::1]:81", ("::1", 81, False)),
    ],
)
def test_it_connects_to_the_host_and_port_of_its_url(monkeypatch, url, target):
    assert Desk(monkeypatch, url).dial.target == target


@leaping
async def test_a_request_gets_the_connection_that_was_used_last_and_a_new_one_where_none_is_free(desk):
    await desk.free(2)
    for _ in range(3):
        task = await desk.begin()
        desk.lines[1].comes(answer(b"yes"))
        await task
    busy = [await desk.begin() for _ in range(3)]
    assert [len(line.written) for line in desk.lines] == [2, 5, 1]
    for task in busy:
        task.cancel()


@leaping
async def test_a_free_connection_is_closed_once_it_was_not_used_for_its_time_and_each_at_its_own(desk):
    await desk.free(1)
    busy = await desk.begin()
    await desk.free(1)
    await asyncio.sleep(KEEP_S / 2)
    desk.lines[0].comes(answer(b"yes"))
    await busy
    await asyncio.sleep(KEEP_S / 2 - 0.1)
    assert desk.closed == [False, False]
    await asyncio.sleep(0.2)
    assert desk.closed == [False, True]
    await asyncio.sleep(KEEP_S / 2)
    assert desk.closed == [True, True]
    await desk.free(1)
    await asyncio.sleep(KEEP_S + 0.1)
    assert desk.closed == [True] * 3


@leaping
async def test_a_connection_that_has_ended_is_not_used_again(desk):
    await desk.free(1)
    desk.lines[0].ends()
    await desk.free(1)
    assert len(desk.lines) == 2


@leaping
async def test_a_request_without_an_answer_in_time_fails_and_its_connection_is_closed(desk):
    task = await desk.begin(within_s=5.0)
    await asyncio.sleep(4.9)
    assert not task.done()
    with pytest.raises(TimeoutError, match="no answer within 5 s"):
        await task
    assert desk.closed == [True]


@leaping
async def test_an_answer_that_arrived_while_the_process_was_frozen_is_read(desk):
    """Asked again, it would be paid for twice. It lies in the socket, and is read in several turns."""
    task = await desk.begin(within_s=5.0)
    whole = answer(b"yes" * 100)
    asyncio.get_running_loop().now += 60.0
    await asyncio.sleep(0.1)
    desk.lines[0].comes(whole[:50])
    await asyncio.sleep(0.1)
    desk.lines[0].comes(whole[50:])
    await task


@leaping
async def test_a_request_that_has_no_answer_after_the_process_was_frozen_fails_a_moment_later(desk):
    task = await desk.begin(within_s=5.0)
    asyncio.get_running_loop().now += 60.0
    await asyncio.sleep(2.9)
    assert not task.done()
    await asyncio.sleep(0.2)
    with pytest.raises(TimeoutError, match="no answer within 5 s"):
        await task


@leaping
async def test_a_request_that_is_cancelled_closes_its_connection(desk):
    task = await desk.begin()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert desk.closed == [True]


@leaping
async def test_closing_closes_free_and_busy_connections_and_ends_the_look_up(desk):
    await desk.free(1)
    busy = [await desk.begin(), await desk.begin()]
    await desk.origin.close()
    assert (desk.closed, desk.dial.is_closed) == ([True, True], True)
    assert all(isinstance(error, Exception) for error in await asyncio.gather(*busy, return_exceptions=True))

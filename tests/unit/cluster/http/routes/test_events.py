"""Events as a stream."""

from __future__ import annotations

import pytest

from actors.core.errors import StoreUnavailableError
from actors.core.messages.journal import LoggedEvent
from cluster.http.guard.problems import ApiProblem
from cluster.http.routes.events import framed, last_event_id, stream


def event(number, kind="note", **data):
    return LoggedEvent(number + 10, number, "t 1", 1_700_000_000.0, kind, data)


class Log:
    """A log of events that grows by one page each time it is waited for."""

    def __init__(self, *pages):
        self.events = []
        self.pages = list(pages)
        self.waits = []

    async def page(self, after, wait_s):
        self.waits.append(wait_s)
        found = [each for each in self.events if each.task_id > after]
        if not found and wait_s > 0:
            self.events += self.pages.pop(0)
            found = [each for each in self.events if each.task_id > after]
        return found

    async def is_over(self):
        return any(each.kind == "ended" for each in self.events)


async def told(log, after=0):
    return [frame async for frame in stream(log.page, lambda each: each.task_id, log.is_over, after)]


def ids(frames):
    return [int(frame.split(b"\n")[0].removeprefix(b"id: ")) for frame in frames if frame.startswith(b"id: ")]


def test_an_event_goes_over_the_wire_as_the_web_has_it():
    frame = framed(3, event(3, "ended", state="a\nb"))
    assert frame == (
        b"id: 3\nevent: ended\n"
        b'data: {"task":"~dCAx","at":"2023-11-14T22:13:20.000Z","kind":"ended","data":{"state":"a\\nb"}}\n\n'
    )


def test_what_a_model_wrote_is_told_also_where_it_is_no_unicode():
    assert b'"\\ud800"' in framed(1, event(1, text="\ud800"))


async def test_a_stream_tells_all_events_in_order_and_ends_with_the_last():
    frames = await told(Log([event(1), event(2)], [event(3, "ended")]))
    assert frames[0] == b"retry: 1000\n\n"
    assert ids(frames) == [1, 2, 3]
    assert frames[-1].startswith(b"id: 3\n")


async def test_a_stream_goes_on_after_the_last_event_that_was_told():
    assert ids(await told(Log([event(1), event(2), event(3, "ended")]), after=2)) == [3]


async def test_a_quiet_stream_shows_that_it_lives():
    frames = await told(Log([], [event(1, "ended")]))
    assert frames[1].startswith(b": ")
    assert ids(frames) == [1]


async def test_a_stream_of_what_is_over_waits_for_nothing():
    log = Log()
    log.events = [event(1), event(2, "ended")]
    assert ids(await told(log)) == [1, 2]
    assert set(log.waits) == {0.0}


async def test_a_stream_that_fails_says_so_without_an_id_and_ends():
    log = Log()

    async def broken(after, wait_s):
        raise StoreUnavailableError("the disk is full")

    log.page = broken
    frames = await told(log)
    assert frames[-1].startswith(b"event: error\n")
    assert b"the disk is full" in frames[-1]
    assert ids(frames) == []


@pytest.mark.parametrize(("header", "number"), [(None, 0), ("0", 0), (" 7 ", 7)])
def test_a_client_says_where_it_was(header, number):
    assert last_event_id(header) == number


@pytest.mark.parametrize("header", ["", "x", "-1", "1.5", "²", "9" * 19 + "9"])
def test_what_is_no_event_is_refused(header):
    with pytest.raises(ApiProblem):
        last_event_id(header)

"""A part of a message that cannot travel fails alone, and the others go in as few messages as before."""

from __future__ import annotations

import pickle

from actors.core.errors import MessageTooLargeError, UnsendableError
from actors.core.messages.delivery import Packed, Replies
from actors.transport.tcp.envelopes import pack, unpack


def carried(bodies):
    """Return what arrives of `bodies`."""
    parts = [part for body in bodies for part in pickle.loads(body).replies]  # noqa: S301 - pickled here
    return unpack(tuple(parts))


def test_what_can_be_sent_goes_in_one_message_and_is_pickled_once():
    bodies, failures = pack(((1, "a"), (2, "b")), Replies)
    assert len(bodies) == 1
    assert pickle.loads(bodies[0]) == Replies(((1, "a"), (2, "b")))  # noqa: S301 - pickled here
    assert failures == ()


def test_what_does_not_pickle_fails_alone_with_its_cause():
    bodies, failures = pack(((1, "a"), (2, lambda: 0), (3, "c")), Replies)
    assert carried(bodies) == (((1, "a"), (3, "c")), ())
    [(item_id, error)] = failures
    assert (item_id, type(error)) == (2, UnsendableError)
    assert "function cannot be sent" in str(error)


def test_a_part_that_is_larger_than_a_message_may_be_fails_alone_with_its_size():
    bodies, failures = pack(((1, "a"), (2, b"x" * 20_000), (3, "c")), Replies, most_bytes=10_000)
    assert carried(bodies) == (((1, "a"), (3, "c")), ())
    [(item_id, error)] = failures
    assert (item_id, type(error)) == (2, MessageTooLargeError)
    assert "20," in str(error)
    assert pickle.loads(pickle.dumps(error)).size == error.size  # noqa: S301 - pickled here


def test_parts_that_are_too_large_together_go_in_several_messages():
    parts = tuple((n, bytes([n]) * 3_000) for n in range(5))
    bodies, failures = pack(parts, Replies, most_bytes=10_000)
    assert len(bodies) > 1
    assert all(len(body) <= 10_000 for body in bodies)
    assert carried(bodies) == (parts, ())
    assert failures == ()


def test_packed_one_by_one_the_part_that_cannot_be_read_is_found():
    bodies, _ = pack(((1, "a"), (2, Unreadable()), (3, "c")), Replies, singly=True)
    assert len(bodies) == 1
    read, [(item_id, error)] = carried(bodies)
    assert read == ((1, "a"), (3, "c"))
    assert (item_id, type(error)) == (2, UnsendableError)
    assert "ValueError" in str(error)


def test_what_is_not_packed_is_not_looked_at():
    parts = ((1, "a"), (2, "b"))
    assert unpack(parts) == (parts, ())
    assert unpack(((1, Packed(pickle.dumps("a"))), (2, "b"))) == (parts, ())


class Unreadable:
    """Can be sent, and cannot be read."""

    def __reduce__(self):
        return int, ("no number",)

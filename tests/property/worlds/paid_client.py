"""A toy of a client actor, for the world in `paid_world.py`."""

from __future__ import annotations

from collections import deque

from actors.core.errors import Blame, Failure
from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.journal import Answer, Cleared, Intent
from actors.core.queue.slot_queue import SlotQueue


class Client:
    """A client actor between its mail from the dispatcher and what it has told the journal."""

    def __init__(self):
        self.mail = deque()
        self.life = 0
        self.is_known = True  # to the dispatcher of now
        self.begin()

    def begin(self):
        self.life += 1
        self.is_frozen = False
        self.unread = deque()  # what came for it while it was frozen: things to do
        self.queue = SlotQueue()
        self.offered: dict[int, Attempt] = {}
        self.listener: dict[int, int | None] = {}  # the dispatcher that hears of an attempt's end, if any
        self.clearances: dict[int, Cleared | Answer] = {}
        self.started: set[int] = set()  # in the queue
        self.asked: set[int] = set()  # with the endpoint
        self.kept: dict[int, AttemptEnded] = {}


def intent(attempt):
    return Intent(
        attempt.run_id,
        attempt.task,
        attempt.call_key,
        attempt.id,
        attempt.endpoint,
        attempt.number,
        attempt.content,
        attempt.idempotency_key,
        attempt.estimate,
        attempt.is_hedge,
    )


def failure(kind):
    return Failure(kind, Blame.ENDPOINT, "said the test")

"""How much the door takes in. Every bound is finite; what is beyond is told in a problem, never dropped."""

from __future__ import annotations

import os
from collections.abc import Mapping

from actors.core.errors import ConfigError

TASK_BYTES = 128 * 1024  # one task, as JSON
ARRAY_BYTES = 8 * 1024 * 1024  # a batch as a JSON array, which is held whole
ARRAY_TASKS = 10_000
BATCH_BYTES = 32 * 1024 * 1024  # a batch as lines, where BATCH_VARIABLE says nothing else
BATCH_VARIABLE = "HEADRACE_BATCH_BYTES"
LEAST_BATCH_BYTES, LARGEST_BATCH_BYTES = 1024 * 1024, 1024 * 1024 * 1024
BATCHES_HELD = 8  # bodies of the largest size in one process: Serve keeps what the door has not read yet
BATCH_WINDOW = 256  # lines of one batch that wait for their acceptance
PATIENCE_S = 20.0  # a line of a batch waits so long for room
KEY_CHARACTERS = 512
PARAMS_BYTES = 64 * 1024
PARAMS_DEPTH = 32
IDEMPOTENCY_CHARACTERS = 255
HEADER_BYTES = 32 * 1024
TARGET_BYTES = 8 * 1024
DEADLINE_S = 604_800.0
PAGE, LARGEST_PAGE = 100, 1000
TOLD_REFUSALS = 100  # of a batch, in the answer; all are counted

SHORT_REQUESTS = 256  # before one door at once, all but batches and streams: a second of what a replica does
REQUESTS = 1000  # at one replica at once, and besides
STREAMS = 1000  # of events, half of them of one caller, and
BATCHES = 200  # likewise
TASK_WITHIN_S = 10.0  # the body of one task, all of it: it keeps a place of SHORT_REQUESTS meanwhile
BODY_WITHIN_S = 30.0  # a batch that is held whole
CHUNK_WITHIN_S = 30.0  # the next piece of one that is not
BATCH_WITHIN_S = 300.0  # a batch's caller may keep us waiting so long in all, and longer at this pace:
BATCH_BYTES_EACH_S = 64 * 1024
ANSWER_WITHIN_S = 15.0  # an actor's answer
HEARTBEAT_S = 15.0
STATISTICS_AGE_S = 0.5
AWAY_S = 2.0  # until somebody who met an actor that is away should try again
BUSY_S = 1.0
OPEN_S = 15.0  # until a caller with too many streams or batches should try again


def batch_bytes(env: Mapping[str, str] = os.environ) -> int:
    """Return how large a batch may be. Raises `ConfigError` for a size that cannot be used."""
    said = env.get(BATCH_VARIABLE, "").strip()
    if not said:
        return BATCH_BYTES
    fits = said.isascii() and said.isdecimal() and len(said) <= 12
    if not fits or not LEAST_BATCH_BYTES <= int(said) <= LARGEST_BATCH_BYTES:
        raise ConfigError(
            f"{BATCH_VARIABLE} must be a number of bytes from {LEAST_BATCH_BYTES:,} to "
            f"{LARGEST_BATCH_BYTES:,}, without separators, not {said[:40]!r}"
        )
    return int(said)

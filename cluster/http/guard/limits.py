"""The bounds of the HTTP API. Each is finite; a request beyond one gets a problem and is not dropped."""

from __future__ import annotations

import os
from collections.abc import Mapping

from actors.core.errors import ConfigError

TASK_BYTES = 128 * 1024  # one task, as JSON
ARRAY_BYTES = 8 * 1024 * 1024  # a batch as a JSON array, which is held whole
ARRAY_TASKS = 10_000
BATCH_BYTES = 32 * 1024 * 1024  # a batch as lines, unless BATCH_VARIABLE says otherwise
BATCH_VARIABLE = "HEADRACE_BATCH_BYTES"
LEAST_BATCH_BYTES, LARGEST_BATCH_BYTES = 1024 * 1024, 1024 * 1024 * 1024
BATCHES_HELD = 8  # bodies of the largest size in one process: Serve keeps what the application has not read
BATCH_WINDOW = 256  # lines of one batch that are being accepted at once
PATIENCE_S = 20.0  # how long a line of a batch waits for room
KEY_CHARACTERS = 512
PARAMS_BYTES = 64 * 1024
PARAMS_DEPTH = 32
IDEMPOTENCY_CHARACTERS = 255
HEADER_BYTES = 32 * 1024
TARGET_BYTES = 8 * 1024
DEADLINE_S = 604_800.0
PAGE, LARGEST_PAGE = 100, 1000
TOLD_REFUSALS = 100  # refused lines that the answer to a batch describes; all are counted

SHORT_REQUESTS = 256  # in one process at once, without batches and streams: a second's work of a replica
REQUESTS = 1000  # in one replica at once, besides streams and batches
STREAMS = 1000  # of events, in one replica at once; one caller may have half
BATCHES = 200  # in one replica at once; one caller may have half
TASK_WITHIN_S = 10.0  # the whole body of one task: it holds a place of SHORT_REQUESTS meanwhile
BODY_WITHIN_S = 30.0  # a batch that is held whole
CHUNK_WITHIN_S = 30.0  # the next piece of a batch that is read as it arrives
BATCH_WITHIN_S = 300.0  # how long a batch may wait for its caller in all, and longer at this rate:
BATCH_BYTES_EACH_S = 64 * 1024
ANSWER_WITHIN_S = 15.0  # an actor's answer
HEARTBEAT_S = 15.0
STATISTICS_AGE_S = 0.5
AWAY_S = 2.0  # when to try again after an actor did not answer
BUSY_S = 1.0
OPEN_S = 15.0  # when a caller with too many streams or batches should try again


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

"""What every actor's process does once, at its start."""

from __future__ import annotations

import gc
import logging
import os
from typing import NoReturn

_log = logging.getLogger(__name__)


def settle_in() -> None:
    """Tune the garbage collector for a process that holds many small objects and makes few cycles.

    By default each 700 allocations start a collection, and full ones walk all of Ray's modules: with 500
    requests in flight that took a tenth of a client's processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def end_loudly(what: str) -> NoReturn:
    """Log the exception being handled and end the process, for Ray to start the actor anew.

    For a defect that leaves an actor's state half changed: to go on would lose work without a word.
    """
    _log.critical("a defect ended this actor: %s", what, exc_info=True)
    logging.shutdown()
    os._exit(70)

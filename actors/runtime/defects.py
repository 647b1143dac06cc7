"""Ends the process after a defect that leaves the state of an actor inconsistent."""

from __future__ import annotations

import logging
import os
from typing import NoReturn

_log = logging.getLogger(__name__)

EXIT_CODE = 70  # EX_SOFTWARE in sysexits.h


_advice: list[str] = []  # of the program that this process runs: what to do after a defect


def advise_after_defect(advice: str) -> None:
    """Have `end_loudly` add `advice`, which says how to continue. The latest call in a process applies."""
    _advice[:] = [advice]


def end_loudly(what: str) -> NoReturn:
    """Log the exception being handled and end the process.

    Continuing would lose work without a message. Ray restarts the actor; the user resumes a local run.
    """
    advice = "".join(f"; {text}" for text in _advice)
    _log.critical("a defect ended this process: %s%s", what, advice, exc_info=True)
    logging.shutdown()
    os._exit(EXIT_CODE)

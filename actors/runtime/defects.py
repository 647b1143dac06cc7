"""Ends the process after a defect that leaves the state of an actor inconsistent."""

from __future__ import annotations

import logging
import os
from typing import NoReturn

_log = logging.getLogger(__name__)

EXIT_CODE = 70  # EX_SOFTWARE in sysexits.h


def end_loudly(what: str) -> NoReturn:
    """Log the exception being handled and end the process.

    Continuing would lose work without a message. Ray restarts the actor; the user resumes a local run.
    """
    _log.critical("a defect ended this process: %s", what, exc_info=True)
    logging.shutdown()
    os._exit(EXIT_CODE)

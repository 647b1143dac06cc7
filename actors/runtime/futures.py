"""Marks the errors of futures that nothing awaits as read."""

from __future__ import annotations

import asyncio
from typing import Any


def retrieve(future: asyncio.Future[Any]) -> None:
    """Read the error of a future that is done, as a callback. Otherwise asyncio logs it as never retrieved.

    Use it where the error is reported elsewhere, or needs no report.
    """
    if not future.cancelled():
        future.exception()

"""How a page is written. The commands import it, and load the rest of the package only to write one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MOST_MB = 15.0


@dataclass(frozen=True, slots=True)
class PageOptions:
    """How a page is written.

    hidden: the columns whose values it does not show. golden: the file of the run's golden set, if there may
    be one.
    """

    hidden: tuple[str, ...] = ()
    golden: Path | None = None
    most_mb: float = MOST_MB

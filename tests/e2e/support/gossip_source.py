"""A source of the user's own that fails, and tells what it was told."""

from __future__ import annotations

import os
import time
from pathlib import Path

SEEN = "metrics-seen"  # a file in TMPDIR: the test has read the metrics of the run
_WITHIN_S = 20.0


class Gossip:
    """Raises the text of its options, once the test has read the metrics: the run could end before that."""

    def __init__(self, **options):
        self.options = options

    def fetch(self, task):
        seen, deadline = Path(os.environ["TMPDIR"]) / SEEN, time.monotonic() + _WITHIN_S
        while not seen.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        raise RuntimeError(f"{task.key} was refused: {self.options} \x1b]0;owned\x07\nERROR forged")

"""The throughput of an endpoint in the middle of a run.

Both ends of a run are bound by the work itself: at first no items have been collected, and at last a few long
answers remain. The longest of 1,000 lognormal answers takes 3.7 times the median.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Iterator

_EVERY_S = 0.5
_FROM, _TO = 0.2, 0.8  # of the calls
_WITHIN_S = 10.0


class PaceWatch:
    """Reads the number of calls that the simulator at `model_url` has billed, twice a second."""

    def __init__(self, model_url: str) -> None:
        self._url = f"{model_url.removesuffix('/v1')}/stats"
        self._seen: list[tuple[float, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Read a last time."""
        self._ended.set()
        self._thread.join()
        self._look()

    def calls_per_s(self) -> float | None:
        """Return the pace between the first and the last fifth of the calls, None for a short run."""
        first, last = self._seen[0][1], self._seen[-1][1]
        low, high = (first + share * (last - first) for share in (_FROM, _TO))
        middle = [(at, count) for at, count in self._seen if low <= count <= high]
        if len(middle) < 2:
            return None
        (began, before), (ended, after) = middle[0], middle[-1]
        return (after - before) / (ended - began)

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        with urllib.request.urlopen(self._url, timeout=_WITHIN_S) as answer:  # noqa: S310 - a simulator on loopback
            self._seen.append((time.monotonic(), json.load(answer)["billed"]))


@contextlib.contextmanager
def watched(model_url: str) -> Iterator[PaceWatch]:
    """Measure the pace during this context."""
    watch = PaceWatch(model_url)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()

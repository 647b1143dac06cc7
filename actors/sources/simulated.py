"""A simulated source: equal settings and equal tasks result in equal items, delays and failures.

It replaces real sources in first runs, tests and benchmarks. Each random number is drawn from a hash of the
seed and its purpose, so it does not depend on earlier draws.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import random
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from actors.core.errors import ConfigError, SourceUnavailableError
from actors.core.messages.tasks import Item, Task
from actors.core.messages.values import Json
from actors.sources.base import SourceSettings
from actors.sources.http import HttpSettings
from actors.sources.items import make_items

_MOST_REMEMBERED = 10_000
_RATINGS = ("poor", "weak", "mixed", "good", "excellent")
_OPENINGS = ("After a month with it,", "To be frank,", "For our team,", "On the second day", "As expected,")
_SUBJECTS = (
    "the delivery",
    "the build quality",
    "the support",
    "the documentation",
    "the price",
    "the set-up",
)
_VERDICTS = (
    ("failed twice", "was a disappointment", "cost us a week"),
    ("fell short", "needed too many calls", "was slower than promised"),
    ("was neither good nor bad", "did what it had to", "had its ups and downs"),
    ("worked well", "was better than before", "left little to wish for"),
    ("was outstanding", "surprised everybody", "could not have gone better"),
)
_CLOSINGS = (
    "I would buy it again.",
    "We are still deciding.",
    "Others should look closely.",
    "Time will tell.",
)


class Transport(enum.StrEnum):
    """Where a simulated source runs."""

    PROCESS = "process"  # in its actor
    HTTP = "http"  # in the process of a simulator, reached over HTTP


class SimulatedSettings(SourceSettings):
    """The settings of a simulated source: its number of items, its latency and its failures."""

    kind: Literal["simulated"]
    items: Annotated[int, Field(ge=0, le=10_000, description="per task")] = 4
    latency_s: Annotated[float, Field(ge=0, le=3600, description="median")] = 0.05
    sigma: Annotated[float, Field(ge=0, le=3, description="spread of the lognormal latency")] = 0.4
    failure_rate: Annotated[float, Field(ge=0, le=1, description="of tries; 1: always dead")] = 0.0
    seed: int = 0
    transport: Transport = Transport.PROCESS

    def build(self) -> SimulatedSource:
        """Return the source. Raises `ConfigError` for `transport` http, which `over_http` must replace."""
        if self.transport is Transport.HTTP:
            raise ConfigError(f"source {self.name}: no simulator was started for transport http")
        return SimulatedSource(self)

    def over_http(self, base_url: str) -> HttpSettings:
        """Return the settings that read this source from a simulator at `base_url` (without a slash)."""
        query = f"items={self.items}&latency_s={self.latency_s}&failure_rate={self.failure_rate}"
        return HttpSettings(
            name=self.name,
            kind="http",
            url=f"{base_url}/{self.name}/{{key}}?{query}",
            items="results",
            allow_private=True,  # a simulator listens on loopback
            timeout_s=self.timeout_s,
            concurrency=self.concurrency,
            retries=self.retries,
            required=self.required,
            max_items=self.max_items,
            max_item_bytes=self.max_item_bytes,
            max_fetch_bytes=self.max_fetch_bytes,
        )


class SimulatedSource:
    """Waits, then fails or returns items. Each try at a task fails independently."""

    def __init__(self, settings: SimulatedSettings) -> None:
        self._settings = settings
        # Failed tries by task. The oldest entries are dropped: a source that always fails would otherwise use
        # more memory with each task.
        self._failed: OrderedDict[str, int] = OrderedDict()

    async def fetch(self, task: Task) -> Sequence[Item]:
        """Return the items of `task`. Raises `SourceUnavailableError` at the configured rate."""
        settings = self._settings
        attempt = self._failed.pop(task.key, 0) + 1
        rng = _rng(settings.seed, settings.name, task.key, f"try {attempt}")
        fails = rng.random() < settings.failure_rate
        if fails:  # remembered before the wait, which may be cancelled
            self._remember(task.key, attempt)
        if settings.latency_s > 0:
            await asyncio.sleep(settings.latency_s * rng.lognormvariate(0.0, settings.sigma))
        if fails:
            raise SourceUnavailableError(f"{settings.name}: simulated failure at try {attempt}")
        return make_items(
            settings, (_record(settings, task.key, position) for position in range(settings.items))
        )

    async def close(self) -> None:
        """Do nothing: there are no resources."""

    def _remember(self, key: str, attempt: int) -> None:
        self._failed[key] = attempt
        if len(self._failed) > _MOST_REMEMBERED:
            self._failed.popitem(last=False)


def _record(settings: SimulatedSettings, key: str, position: int) -> dict[str, Json]:
    rng = _rng(settings.seed, settings.name, key, f"item {position}")
    rating = rng.randrange(len(_RATINGS))
    first, second = rng.sample(_SUBJECTS, 2)
    sentences = (
        f"{rng.choice(_OPENINGS)} {first} of {key} {rng.choice(_VERDICTS[rating])}.",
        f"By contrast {second} {rng.choice(_VERDICTS[rng.randrange(len(_VERDICTS))])}.",
        f"All in all {_RATINGS[rating]}. {rng.choice(_CLOSINGS)}",
    )
    return {"text": " ".join(sentences), "rating": rating + 1, "position": position}


def _rng(seed: int, *names: str) -> random.Random:
    # The hash makes adjacent seeds unrelated. The lengths distinguish ("a", "bc") from ("ab", "c").
    text = "".join(f"{len(name)}:{name}" for name in (str(seed), *names))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return random.Random(int.from_bytes(digest))

"""The interface of sources: a source returns the items of a task.

The source actor implements timeouts, retries, the bound on concurrency and the circuit breaker for all kinds.
A source only fetches. It raises `SourceError` for a permanent failure and `SourceUnavailableError` for a
transient one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

from actors.core.messages.tasks import Item, Task


class Source(Protocol):
    """A source of items. An instance belongs to one actor and one event loop."""

    async def fetch(self, task: Task) -> Sequence[Item]:
        """Return all items of `task`, or an empty sequence.

        Raises `SourceError` or `SourceUnavailableError`. May be cancelled at any await.
        """
        ...

    async def close(self) -> None:
        """Close connections and files. Called once, when no fetch is in progress."""
        ...


class SourceSettings(BaseModel):
    """The settings of every kind of source. A kind adds a `kind` literal, its own fields, and `build`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
    timeout_s: Annotated[float, Field(gt=0, le=3600, description="for one try of one fetch")] = 10.0
    concurrency: Annotated[int, Field(ge=1, le=10_000, description="fetches under way at once")] = 64
    retries: Annotated[int, Field(ge=0, le=20, description="further tries after a failure that may pass")] = 3
    outage_s: Annotated[
        float | None,
        Field(
            ge=0,
            le=604_800,
            description="how long fetches wait from when the source goes down; absent: 600, of a required "
            "source half of the time that its task has left",
        ),
    ] = None
    required: Annotated[bool, Field(description="a task fails where this source does")] = False
    max_items: Annotated[int, Field(ge=1, le=1_000_000, description="per task; more are an error")] = 10_000
    max_item_bytes: Annotated[
        int, Field(ge=1, le=2**25, description="of one item as JSON; a larger one fails alone")
    ] = 2**21
    # The upper limit keeps one fetch well below the largest value of a store and the largest message.
    max_fetch_bytes: Annotated[
        int, Field(ge=1, le=2**25, description="of all items of a task as JSON; more are an error")
    ] = 2**24

    def at_once(self) -> int:
        """Return how many fetches the actor lets run at once."""
        return self.concurrency

    def build(self) -> Source:
        """Create the source. Called in the process of its actor."""
        raise NotImplementedError

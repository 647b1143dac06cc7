"""What a source is: given a task, it returns items or says why it cannot.

Time-outs, retries, the bound on concurrency and the circuit breaker are the source actor's, the same for
every kind; a source only fetches, and translates what can go wrong into `SourceError` (asking again would
not help) or `SourceUnavailableError` (it might).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

from actors.core.messages import Item, Json, Task


class Source(Protocol):
    """Where data about a task comes from. One instance lives in one actor, on one event loop."""

    async def fetch(self, task: Task) -> Sequence[Item]:
        """Return all items about `task`, an empty sequence where there are none.

        Raises `SourceError` or `SourceUnavailableError`. May be cancelled at any await.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and files. Called once; no fetch is under way or follows."""
        ...


class SourceSettings(BaseModel):
    """What every kind of source can be told. A kind adds a `kind` literal, its own fields, and `build`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
    timeout_s: Annotated[float, Field(gt=0, le=3600, description="for one try of one fetch")] = 10.0
    concurrency: Annotated[int, Field(ge=1, le=10_000, description="fetches under way at once")] = 64
    retries: Annotated[int, Field(ge=0, le=20, description="further tries after a failure that may pass")] = 3
    required: Annotated[bool, Field(description="a task fails where this source does")] = False

    def build(self) -> Source:
        """Return the source that these settings describe. Called inside the source's actor."""
        raise NotImplementedError


def make_items(source: str, records: Iterable[Mapping[str, Json]]) -> tuple[Item, ...]:
    """Return `records` as items of `source`.

    A record's ``text`` is the item's text; its ``id``, where present, names the item, else its position
    does; all else becomes fields. Ids that come twice get the position appended, so that evidence can be
    cited without doubt.
    """
    items: list[Item] = []
    seen: set[str] = set()
    for position, record in enumerate(records):
        given = record.get("id")
        local = str(position if given is None else given)
        while local in seen:
            local = f"{local}#{position}"
        seen.add(local)
        rest = {name: value for name, value in record.items() if name not in ("id", "text")}
        text = record.get("text")
        items.append(Item(f"{source}:{local}", source, "" if text is None else str(text), rest))
    return tuple(items)

"""The contract of a source."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from actors.core.errors import SourceError
from actors.core.messages.tasks import Item, Task
from actors.sources.base import Source, SourceSettings
from actors.sources.items import measured
from headrace.contracts.rules import ContractError, check

DoneT = TypeVar("DoneT")
_WITHIN_S = 30.0


class SourceContract:
    """The contract of a source. `secrets` are texts that no error and no `repr` may contain."""

    secrets: tuple[str, ...] = ()

    def settings(self) -> SourceSettings:
        """Return the settings of a source that has at least two items for `task`."""
        raise NotImplementedError

    def task(self) -> Task:
        """Return a task that the source knows."""
        return Task("a")

    def failing(self) -> tuple[SourceSettings, Task] | None:
        """Return settings and a task for which the source fails; None if it cannot fail."""
        return None

    def test_items_are_the_same_and_in_the_same_order_at_each_fetch(self) -> None:
        """Otherwise a repeated fetch would ask, and pay for, other questions."""
        first, second = self._fetched(2)
        check(len(first) >= 2, "`task` has at least two items", len(first))
        check(first == second, "two fetches return equal items in the same order", (first, second))

    def test_an_id_begins_with_the_name_of_the_source_and_is_unique_in_its_task(self) -> None:
        """Findings cite items by their ids."""
        (items,) = self._fetched(1)
        name = self.settings().name
        for item in items:
            check(isinstance(item, Item), "fetch returns values of Item", item)
            check(item.source == name, f"item.source is the source's name, {name!r}", item.source)
            check(item.id.startswith(f"{name}:"), f"item.id begins with '{name}:'", item.id)
        ids = [item.id for item in items]
        check(len({*ids}) == len(ids), "ids are unique within a task", ids)

    def test_items_are_json_and_within_the_bounds(self) -> None:
        """They are stored and sent as JSON."""
        (items,) = self._fetched(1)
        try:
            measured(items, self.settings())
        except SourceError as error:
            raise ContractError(f"items can be represented in JSON, within the bounds: {error}") from error

    def test_more_items_than_max_items_are_an_error_and_are_not_cut(self) -> None:
        """Counts and scores over a part of the items would be wrong."""
        bounded = self.settings().model_copy(update={"max_items": 1})

        async def count(source: Source) -> int | None:
            try:
                return len(await source.fetch(self.task()))
            except SourceError:
                return None

        found = _run(_built(bounded, count))
        # The actor refuses what a source returns beyond its bounds.
        check(found != 1, "more items than max_items are an error, or are returned and refused", found)

    def test_fetches_at_the_same_time_do_not_disturb_each_other(self) -> None:
        """The actor runs up to `concurrency` fetches at once."""
        (alone,) = self._fetched(1)

        async def together(source: Source) -> list[tuple[Item, ...]]:
            return [
                tuple(each) for each in await asyncio.gather(*(source.fetch(self.task()) for _ in range(4)))
            ]

        for items in self._with_source(together):
            check(items == alone, "a fetch beside others returns the same items", items)

    def test_a_fetch_that_is_cancelled_ends_and_the_source_goes_on(self) -> None:
        """A time-out cancels the fetch. It may end with its items, if it has them."""
        (alone,) = self._fetched(1)

        async def cancelled(source: Source) -> tuple[Item, ...]:
            fetch = asyncio.ensure_future(source.fetch(self.task()))
            await asyncio.sleep(0)
            fetch.cancel()
            _, pending = await asyncio.wait([fetch], timeout=_WITHIN_S)
            check(not pending, "a fetch ends when it is cancelled")
            if not fetch.cancelled() and fetch.exception() is not None:
                raise ContractError(f"a cancelled fetch raises CancelledError: {fetch.exception()!r}")
            return tuple(await source.fetch(self.task()))

        items = self._with_source(cancelled)
        check(items == alone, "a fetch after a cancelled one returns the same items", items)

    def test_a_failure_is_a_source_error(self) -> None:
        """Other exceptions count as defects, are logged with a traceback, and are not retried."""
        if (failing := self.failing()) is None:
            return
        error = _error_of(*failing)
        check(isinstance(error, SourceError), "fetch raises SourceError or SourceUnavailableError", error)

    def test_no_secret_is_in_a_repr_or_an_error(self) -> None:
        """Both are logged, stored and shown."""
        shown = repr(self.settings())
        if (failing := self.failing()) is not None:
            error = _error_of(*failing)
            shown += f"{failing[0]!r} {error!r} {error}"
        for secret in self.secrets:
            check(
                secret not in shown, "no secret is shown; use SecretStr in the settings, and no URL in errors"
            )

    def test_the_settings_can_be_sent_to_another_process(self) -> None:
        """On a cluster the source is built on another host."""
        settings = self.settings()
        same = pickle.loads(pickle.dumps(settings))  # noqa: S301 - our own bytes
        check(same == settings, "settings are equal after pickling", same)

    def _fetched(self, times: int) -> list[tuple[Item, ...]]:
        async def fetched(source: Source) -> list[tuple[Item, ...]]:
            return [tuple(await source.fetch(self.task())) for _ in range(times)]

        return self._with_source(fetched)

    def _with_source(self, use: Callable[[Source], Coroutine[Any, Any, DoneT]]) -> DoneT:
        return _run(_built(self.settings(), use))


async def _built(settings: SourceSettings, use: Callable[[Source], Coroutine[Any, Any, DoneT]]) -> DoneT:
    source = settings.build()
    try:
        return await use(source)
    finally:
        await source.close()


def _error_of(settings: SourceSettings, task: Task) -> Exception | None:
    async def failed(source: Source) -> Exception | None:
        try:
            await source.fetch(task)
        except Exception as error:  # noqa: BLE001 - its type is what is tested
            return error
        return None

    return _run(_built(settings, failed))


def _run(work: Coroutine[Any, Any, DoneT]) -> DoneT:
    async def bounded() -> DoneT:
        async with asyncio.timeout(_WITHIN_S):
            return await work

    return asyncio.run(bounded())

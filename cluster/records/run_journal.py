"""Opens, reads and closes a run through its journal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from actors.core.errors import (
    FailureKind,
    FencedError,
    HeadraceError,
    StoreError,
    StoreUnavailableError,
    text_of,
)
from actors.core.messages.journal import (
    AwaitCancel,
    CloseRun,
    OpenRun,
    ReadRun,
    ReadSpent,
    ReadTask,
    ReadTasks,
    Reopen,
    RunOpened,
    RunView,
    Spent,
    TaskTally,
    TaskView,
)
from actors.core.messages.protocols import FromJournal, ToJournal
from actors.core.messages.tasks import Report
from actors.core.messages.values import Json
from actors.transport.courier import Courier

if TYPE_CHECKING:
    from cluster.config.model import HeadraceConfig

_log = logging.getLogger(__name__)

_OPEN_WITHIN_S = 60.0  # longer than the lease of a killed owner
_PAGE_WITHIN_S = 60.0
_PAGE = 500
CLOSE_WITHIN_S = 5.0  # a user who pressed Ctrl-C waits for this
_END_WITHIN_S = 60.0  # a store may be slow at the end of a run, and the results wait for it
_FIGURES_WITHIN_S = 5.0  # a user who pressed Ctrl-C waits for this, unless he presses it again
# Sections that do not affect the results of a run: a resumed run may have others.
_INCIDENTAL = frozenset({"output", "cluster", "store", "http", "telemetry"})


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """The inputs of a run. `config` contains no secret; the other fields suffice to load it again.

    A run of `map` has the words of its `command` in place of a path, and the digest of what is `asked`.
    `sample` is the sample with which the run began: its size, its seed, and the place of each task in the
    input by key.
    """

    config: Mapping[str, Json]
    path: str | None = None
    overrides: tuple[str, ...] = ()
    limit: int | None = None
    accept_config: bool = False
    input: Mapping[str, Json] | None = None  # its digest
    command: tuple[str, ...] = ()
    asked: str = ""
    sample: Mapping[str, Json] | None = None
    priced: bool = True  # whether the prices of all endpoints are known
    prices: Mapping[str, Json] = field(default_factory=dict)  # the listed ones that it began with

    @classmethod
    def of(
        cls,
        config: HeadraceConfig,
        path: Path | None = None,
        overrides: Sequence[str] = (),
        limit: int | None = None,
        *,
        accept_config: bool = False,
    ) -> RunOrigin:
        """Return the origin of a run of `config`, which does not yet have the addresses of simulators."""
        stored = config.stored(exclude=_INCIDENTAL)
        where = None if path is None else str(path.absolute())
        return cls(
            stored,
            where,
            tuple(overrides),
            limit,
            accept_config,
            priced=config.llm.is_priced,
            prices=config.llm.listed_prices(),
        )

    def record(self, run_id: str, name: str) -> OpenRun:
        """Return the record that opens a run of this origin."""
        return OpenRun(run_id, name, self.config, self.stored(), self.accept_config)

    def stored(self) -> dict[str, Json]:
        """Return the JSON object that a resume reads."""
        from cluster.config.secrets import without_secrets  # noqa: PLC0415 - loads pydantic and ruamel

        kept, withheld = without_secrets(self.overrides)
        return {
            "path": self.path,
            "overrides": kept,
            "withheld": withheld,
            "limit": self.limit,
            "input": self.input,
            **({"command": list(self.command), "asked": self.asked} if self.asked else {}),
            **({"sample": dict(self.sample)} if self.sample else {}),
            **({} if self.priced else {"priced": False}),
            **({"prices": dict(self.prices)} if self.prices else {}),
        }


@dataclass(frozen=True, slots=True)
class Repetition:
    """The ended tasks that a run repeats: those in one of `states`.

    `only_transient` leaves out the tasks that would fail again: the answer did not fit, or the request is
    invalid.
    """

    states: tuple[str, ...] = ()
    only_transient: bool = False


EndedTask = tuple[str, float]  # its key, and when it ended, by the journal's clock
_LASTING = frozenset({FailureKind.PERMANENT, FailureKind.UNUSABLE})


def may_succeed(report: Report | None) -> bool:
    """Return whether a task with this report could end otherwise if it were repeated unchanged."""
    return report is None or not any(
        item.error is not None and item.error.kind in _LASTING for item in report.items
    )


class RunJournal:
    """Sends the driver's messages about one run to the journal."""

    def __init__(self, courier: Courier[ToJournal, FromJournal], run_id: str) -> None:
        self._courier = courier
        self._run_id = run_id
        self._is_open = False

    async def open(self, name: str, origin: RunOrigin) -> RunOpened:
        """Make this application the owner of the run.

        Raises `RunTakenError` while the run has another owner, `ConfigChangedError` if it was started with
        another configuration and `origin` does not accept that, and the errors of the store.
        """
        async with _deadline(_OPEN_WITHIN_S, f"open run {self._run_id}"):
            opened: RunOpened = await self._courier.call(origin.record(self._run_id, name))
        self._is_open = True
        return opened

    async def ended_in(self, retry: Repetition) -> list[EndedTask]:
        """Return the tasks that `retry` chooses. Raises the errors of the store."""
        found: list[EndedTask] = []
        for state in retry.states:
            async for page in self._pages(state):
                chosen = page
                if retry.only_transient:
                    async with _deadline(_PAGE_WITHIN_S, f"read {len(page)} reports"):
                        reports = await asyncio.gather(*(self._report(view.key) for view in page))
                    chosen = tuple(
                        view for view, report in zip(page, reports, strict=True) if may_succeed(report)
                    )
                found += [(view.key, view.ended_at or 0.0) for view in chosen]
        return found

    async def _report(self, key: str) -> Report | None:
        known: tuple[TaskView, Report | None] | None = await self._courier.call(ReadTask(self._run_id, key))
        return None if known is None else known[1]

    async def reopen(self, tasks: Sequence[EndedTask]) -> None:
        """Reopen `tasks`. Raises the errors of the store."""
        for first in range(0, len(tasks), _PAGE):
            again = [Reopen(self._run_id, *task) for task in tasks[first : first + _PAGE]]
            async with _deadline(_PAGE_WITHIN_S, f"reopen {len(again)} tasks"):
                await asyncio.gather(*map(self._courier.call, again))

    async def tasks(self) -> AsyncIterator[TaskView]:
        """Yield all tasks that the run has accepted. Raises the errors of the store."""
        async for page in self._pages():
            for view in page:
                yield view

    async def _pages(self, state: str = "") -> AsyncIterator[tuple[TaskView, ...]]:
        after = -1
        while True:
            async with _deadline(_PAGE_WITHIN_S, f"read {_PAGE} tasks"):
                page: tuple[TaskView, ...] = await self._courier.call(
                    ReadTasks(self._run_id, state, after, _PAGE)
                )
            if not page:
                return
            yield page
            after = page[-1].ordinal

    async def wait_for_cancel(self) -> None:
        """Return once a cancellation of the run is requested. The caller cancels this when the run ends."""
        await self._courier.call(AwaitCancel(self._run_id))

    async def tally(self, *, is_stopped: bool) -> TaskTally | None:
        """Return the counts of the run's tasks; None if the journal does not answer in time.

        Even then the journal refuses to close a run with open tasks as complete. A run that `is_stopped`
        waits less.
        """
        try:
            async with asyncio.timeout(_FIGURES_WITHIN_S if is_stopped else _END_WITHIN_S):
                view: RunView | None = await self._courier.call(ReadRun(self._run_id))
        except (HeadraceError, TimeoutError):
            return None
        return TaskTally() if view is None else view.tasks

    async def spent(self, *, is_stopped: bool) -> Spent | None:
        """Return the totals of the run's calls; None if the journal does not answer in time.

        A run that `is_stopped` waits less.
        """
        try:
            async with asyncio.timeout(_FIGURES_WITHIN_S if is_stopped else _END_WITHIN_S):
                spent: Spent = await self._courier.call(ReadSpent(self._run_id))
        except (HeadraceError, TimeoutError):
            return None
        return spent

    async def end(self, state: str, summary: Mapping[str, Json], within_s: float = _END_WITHIN_S) -> None:
        """Close the run. On return, this process was its owner until the end.

        Raises `FencedError` if the run has another owner. Raises `StoreUnavailableError` if the journal did
        not confirm the end: then the run can be resumed only after its lease has expired. An error with which
        the journal refuses the end is raised unchanged.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._courier.call(CloseRun(self._run_id, state, summary))
        except (HeadraceError, TimeoutError) as error:
            if isinstance(error, HeadraceError) and not _is_of_the_store(error):
                raise
            cause = (
                f"no answer within {within_s:.0f} s" if isinstance(error, TimeoutError) else text_of(error)
            )
            text = f"the end of run {self._run_id} could not be stored: {cause}"
            raise StoreUnavailableError(text) from error
        self._is_open = False  # otherwise a later failure would close the ended run again, as interrupted

    async def release(self, state: str, summary: Mapping[str, Json] | None = None) -> None:
        """Close the run in `state` if it is open here. Does not raise: it follows another failure."""
        if not self._is_open:
            return
        try:
            await self.end(state, summary or {}, CLOSE_WITHIN_S)
        except FencedError:
            return  # the run has another owner
        except HeadraceError as error:
            _log.warning("%s", error)

    async def close(self) -> None:
        """Close the courier."""
        with contextlib.suppress(HeadraceError):
            await self._courier.close()


@contextlib.asynccontextmanager
async def _deadline(within_s: float, what: str) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError as error:
        raise StoreUnavailableError(f"the journal did not {what} within {within_s:.0f} s") from error


def _is_of_the_store(error: HeadraceError) -> bool:
    """Return whether the store, or the connection to the journal, is at fault."""
    return not isinstance(error, FencedError) and (error.retry or isinstance(error, StoreError))

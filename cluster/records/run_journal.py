"""A run as its journal has it: whose it is, from where it came, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actors.core.errors import FencedError, HeadraceError, StoreError, StoreUnavailableError, text_of
from actors.core.messages.journal import (
    AwaitCancel,
    CloseRun,
    OpenRun,
    ReadRun,
    ReadSpent,
    ReadTasks,
    Reopen,
    RunOpened,
    RunView,
    Spent,
    TaskView,
)
from actors.core.messages.protocols import FromJournal, ToJournal
from actors.core.messages.values import Json
from actors.transport.courier import Courier

if TYPE_CHECKING:
    from cluster.config.model import HeadraceConfig

_log = logging.getLogger(__name__)

_OPEN_WITHIN_S = 60.0  # beyond the lease of an owner that was killed
_PAGE_WITHIN_S = 60.0
_PAGE = 500
CLOSE_WITHIN_S = 5.0  # whoever pressed Ctrl-C is not kept waiting
_END_WITHIN_S = 60.0  # a store may be slow at the end of a run, whose results wait for this
_SPENT_WITHIN_S = 1.0  # whoever pressed Ctrl-C is not kept waiting
# These say where and how a run goes, not what comes of it: a resumed run may have others.
_INCIDENTAL = frozenset({"output", "cluster", "store", "http"})


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """What a run was begun with. `config` has no secret in it; the rest tells how to load it again."""

    config: Mapping[str, Json]
    path: str | None = None
    overrides: tuple[str, ...] = ()
    limit: int | None = None
    accept_config: bool = False
    input: Mapping[str, Json] | None = None  # its digest

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
        """Return the origin of a run under `config`, before simulators stand in for what it leaves out."""
        told = config.stored(exclude=_INCIDENTAL)
        where = None if path is None else str(path.absolute())
        return cls(told, where, tuple(overrides), limit, accept_config)

    def stored(self) -> dict[str, Json]:
        """Return what a resume needs to find, as a document."""
        from cluster.config.secrets import without_secrets  # noqa: PLC0415 - loads pydantic and ruamel

        kept, withheld = without_secrets(self.overrides)
        return {
            "path": self.path,
            "overrides": kept,
            "withheld": withheld,
            "limit": self.limit,
            "input": self.input,
        }


class RunJournal:
    """The driver's way to the journal, for one run."""

    def __init__(self, courier: Courier[ToJournal, FromJournal], run_id: str) -> None:
        self._courier = courier
        self._run_id = run_id
        self._is_open = False

    async def open(self, name: str, origin: RunOrigin) -> RunOpened:
        """Have the run be this application's.

        Raises `RunTakenError` while another runs it, `ConfigChangedError` where it was begun with another
        configuration that `origin` does not accept, and what ails the store.
        """
        question = OpenRun(self._run_id, name, origin.config, origin.stored(), origin.accept_config)
        try:
            async with asyncio.timeout(_OPEN_WITHIN_S):
                opened: RunOpened = await self._courier.call(question)
        except TimeoutError as error:
            text = f"the journal did not open run {self._run_id} within {_OPEN_WITHIN_S:.0f} s"
            raise StoreUnavailableError(text) from error
        self._is_open = True
        return opened

    async def reopen(self, states: Sequence[str]) -> None:
        """Have all tasks that ended in one of `states` be done again. Raises what ails the store."""
        for state in states:
            after = -1
            try:
                while True:
                    async with asyncio.timeout(_PAGE_WITHIN_S):
                        after = await self._reopen_page(state, after)
                    if after < 0:
                        break
            except TimeoutError as error:
                text = f"the journal did not reopen {_PAGE} tasks within {_PAGE_WITHIN_S:.0f} s"
                raise StoreUnavailableError(text) from error

    async def _reopen_page(self, state: str, after: int) -> int:
        """Reopen some tasks behind the ordinal `after`; return the last one's, -1 where there was none."""
        question = ReadTasks(self._run_id, state, after, _PAGE)
        views: tuple[TaskView, ...] = await self._courier.call(question)
        again = [Reopen(self._run_id, view.key, view.ended_at or 0.0) for view in views]
        await asyncio.gather(*map(self._courier.call, again))
        return views[-1].ordinal if views else -1

    async def tasks(self) -> AsyncIterator[TaskView]:
        """Yield all tasks that the run has accepted. Raises what ails the store."""
        after = -1
        while True:
            try:
                async with asyncio.timeout(_PAGE_WITHIN_S):
                    page: tuple[TaskView, ...] = await self._courier.call(
                        ReadTasks(self._run_id, "", after, _PAGE)
                    )
            except TimeoutError as error:
                text = f"the journal did not tell {_PAGE} tasks within {_PAGE_WITHIN_S:.0f} s"
                raise StoreUnavailableError(text) from error
            for view in page:
                yield view
            if not page:
                return
            after = page[-1].ordinal

    async def wait_for_cancel(self) -> None:
        """Return once a cancellation of the run is requested. The caller ends the wait with the run."""
        await self._courier.call(AwaitCancel(self._run_id))

    async def open_tasks(self, *, is_stopped: bool) -> int:
        """Return how many tasks of the run have not ended; 0 where the journal does not answer in time.

        Then it refuses to close such a run as a whole one all the same. A run that `is_stopped` waits less.
        """
        try:
            async with asyncio.timeout(_SPENT_WITHIN_S if is_stopped else _END_WITHIN_S):
                view: RunView | None = await self._courier.call(ReadRun(self._run_id))
        except (HeadraceError, TimeoutError):
            return 0
        return 0 if view is None else view.tasks.accepted - view.tasks.ended

    async def spent(self) -> Spent | None:
        """Return what the run's calls came to so far; None where the journal does not answer in time."""
        try:
            async with asyncio.timeout(_SPENT_WITHIN_S):
                spent: Spent = await self._courier.call(ReadSpent(self._run_id))
        except (HeadraceError, TimeoutError):
            return None
        return spent

    async def end(self, state: str, summary: Mapping[str, Json], within_s: float = _END_WITHIN_S) -> None:
        """Have the run be over. On return it was this owner's to the last.

        Raises `FencedError` where another owner has the run, `StoreUnavailableError` where the journal did
        not confirm it: then the lease has to run out before the run can be resumed. What the journal refuses
        for another reason keeps its class.
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
        self._is_open = False  # else a failure after this would close an ended run again, as interrupted

    async def give_back(self, state: str) -> None:
        """Have the run be nobody's, if it was opened here, after a failure that is on its way already."""
        if not self._is_open:
            return
        try:
            await self.end(state, {}, CLOSE_WITHIN_S)
        except FencedError:
            return  # it is another's
        except HeadraceError as error:
            _log.warning("%s", error)

    async def close(self) -> None:
        """Let go of the courier."""
        with contextlib.suppress(HeadraceError):
            await self._courier.close()


def _is_of_the_store(error: HeadraceError) -> bool:
    """Return whether the store, or the way to the journal, is at fault."""
    return not isinstance(error, FencedError) and (error.retry or isinstance(error, StoreError))

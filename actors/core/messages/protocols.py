"""The request and reply types of each actor: the type parameters of its address."""

from __future__ import annotations

from typing import Any, TypeAlias

from actors.core.messages.attempts import Abort, Adopt, Attempt, SetShare, TakeOver, WatchStreams
from actors.core.messages.calls import Call, Completion, Drain, SaveHistory
from actors.core.messages.journal import AwaitCancel, Query, Record
from actors.core.messages.tasks import Cancel, Fetch, Fetched, Submit

ToDispatcher: TypeAlias = Call | Cancel | Drain | SaveHistory
FromDispatcher: TypeAlias = Completion  # or `Done`, which answers all but a `Call`

ToClient: TypeAlias = Attempt | SetShare | Abort | TakeOver | Adopt | WatchStreams
FromClient: TypeAlias = Any  # the docstring of each message names its answer

ToSource: TypeAlias = Fetch
FromSource: TypeAlias = Fetched

ToPipeline: TypeAlias = Submit | Cancel
FromPipeline: TypeAlias = Any  # a `Report`, or `Accepted` if the request asks for it

ToJournal: TypeAlias = Record | Query | AwaitCancel
FromJournal: TypeAlias = Any  # the docstring of each record and query names its answer

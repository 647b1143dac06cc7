"""What each actor accepts and what it answers: the type parameters of its address."""

from __future__ import annotations

from typing import Any, TypeAlias

from actors.core.messages.attempts import Abort, Adopt, Attempt, SetShare, TakeOver, WatchStreams
from actors.core.messages.calls import Call, Completion
from actors.core.messages.journal import AwaitCancel, Query, Record
from actors.core.messages.tasks import Cancel, Fetch, Fetched, Submit

ToDispatcher: TypeAlias = Call | Cancel
FromDispatcher: TypeAlias = Completion  # or `Done`, to a `Cancel`, which nobody reads

ToClient: TypeAlias = Attempt | SetShare | Abort | TakeOver | Adopt | WatchStreams
FromClient: TypeAlias = Any  # each of these messages names its own answer

ToSource: TypeAlias = Fetch
FromSource: TypeAlias = Fetched

ToPipeline: TypeAlias = Submit | Cancel
FromPipeline: TypeAlias = Any  # a `Report`, or `Accepted` where the request asks for that

ToJournal: TypeAlias = Record | Query | AwaitCancel
FromJournal: TypeAlias = Any  # each record and each query names its own answer

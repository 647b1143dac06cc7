"""What each actor accepts and what it answers: the type parameters of its address."""

from __future__ import annotations

from typing import Any, TypeAlias

from actors.core.messages.actors import (
    Abort,
    Adopt,
    Attempt,
    Call,
    Cancel,
    Completion,
    Fetch,
    Fetched,
    SetShare,
    TakeOver,
)
from actors.core.messages.journal import Query, Record
from actors.core.messages.streams import Watch
from actors.core.messages.submission import Submit

ToDispatcher: TypeAlias = Call | Cancel
FromDispatcher: TypeAlias = Completion  # or `Done`, to a `Cancel`, which nobody reads

ToClient: TypeAlias = Attempt | SetShare | Abort | TakeOver | Adopt | Watch
FromClient: TypeAlias = Any  # each of these messages names its own answer

ToSource: TypeAlias = Fetch
FromSource: TypeAlias = Fetched

ToPipeline: TypeAlias = Submit | Cancel
FromPipeline: TypeAlias = Any  # a `Report`, or `Accepted` where the request asks for that

ToJournal: TypeAlias = Record | Query
FromJournal: TypeAlias = Any  # each record and each query names its own answer

"""What plug-ins of other packages build on. See docs/extending.md; `headrace.testing` tests plug-ins."""

from __future__ import annotations

from actors.core.errors import (
    ConfigError,
    FencedError,
    SourceError,
    SourceUnavailableError,
    StoreError,
    StoreUnavailableError,
)
from actors.core.messages.attempts import RateHeaders
from actors.core.messages.calls import Correction
from actors.core.messages.tasks import Item, Task
from actors.core.messages.values import TokenCounts
from actors.journal.stores.base import Store, WriteBatch, check_fences, check_limit
from actors.journal.stores.memory import MemoryStore
from actors.llm.dialects.chat import ChatDialect
from actors.llm.dialects.dialect import Dialect, LibraryAnswer, LibraryClient, ParsedAnswer, PreparedForm
from actors.llm.dialects.event_reader import EventReader
from actors.llm.dialects.reading import found_in, loaded, tokens
from actors.llm.dialects.turns import correction_request
from actors.llm.endpoint import EndpointSettings
from actors.llm.forms import AnswerForm, AnswerProblem
from actors.llm.translate import ErrorReport
from actors.runtime.threads import SourceThreads
from actors.sources.base import Source, SourceSettings
from actors.sources.items import make_items
from cluster.config.kinds.step import ComputedStep
from cluster.config.kinds.store import StoreKeys
from cluster.report.tables.columns import Column, Row
from cluster.report.tables.sinks import ResultSink

__all__ = [
    "AnswerForm",
    "AnswerProblem",
    "ChatDialect",
    "Column",
    "ComputedStep",
    "ConfigError",
    "Correction",
    "Dialect",
    "EndpointSettings",
    "ErrorReport",
    "EventReader",
    "FencedError",
    "Item",
    "LibraryAnswer",
    "LibraryClient",
    "MemoryStore",
    "ParsedAnswer",
    "PreparedForm",
    "RateHeaders",
    "ResultSink",
    "Row",
    "Source",
    "SourceError",
    "SourceSettings",
    "SourceThreads",
    "SourceUnavailableError",
    "Store",
    "StoreError",
    "StoreKeys",
    "StoreUnavailableError",
    "Task",
    "TokenCounts",
    "WriteBatch",
    "check_fences",
    "check_limit",
    "correction_request",
    "found_in",
    "loaded",
    "make_items",
    "tokens",
]

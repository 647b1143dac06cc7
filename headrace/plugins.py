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
from actors.core.messages.tasks import Item, Task
from actors.journal.stores.base import Store, WriteBatch, check_fences, check_limit
from actors.sources.base import Source, SourceSettings
from actors.sources.items import make_items
from actors.sources.threads import SourceThreads
from cluster.config.kinds.step import ComputedStep
from cluster.config.kinds.store import StoreKeys
from cluster.report.tables.columns import Column, Row
from cluster.report.tables.sinks import ResultSink

__all__ = [
    "Column",
    "ComputedStep",
    "ConfigError",
    "FencedError",
    "Item",
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
    "WriteBatch",
    "check_fences",
    "check_limit",
    "make_items",
]

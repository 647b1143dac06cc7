"""Values that messages of several kinds hold."""

from __future__ import annotations

import enum
from typing import Any

from msgspec import Struct

Json = Any  # what a JSON document can hold


class Priority(enum.IntEnum):
    """Who goes first. Lower is sooner; no class starves."""

    INTERACTIVE = 0
    BATCH = 1


class Usage(Struct, frozen=True):
    """What an endpoint says an answer took, in tokens; and what that costs, in US dollars."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_usd + other.cost_usd,
        )

    def less(self, other: Usage) -> Usage:
        """Return what is left without `other`; nothing is below 0, as a sum of floats could be by a hair."""
        return Usage(
            max(0, self.input_tokens - other.input_tokens),
            max(0, self.output_tokens - other.output_tokens),
            max(0.0, self.cost_usd - other.cost_usd),
        )


class CallCounts(Struct, frozen=True):
    """What became of a number of calls. All are counts of HTTP requests, but `planned` and `reused`.

    planned: questions that had to be answered. billed: answers that the endpoint counted. reused: questions
    answered without a request. in_doubt: requests sent whose fate is unknown. unusable: billed answers that
    did not fit. refused: requests turned away unbilled. failed: requests that failed otherwise, unbilled.
    estimated: billed answers whose usage the endpoint did not report; their estimate is counted as usage.
    """

    planned: int = 0
    billed: int = 0
    reused: int = 0
    in_doubt: int = 0
    unusable: int = 0
    refused: int = 0
    failed: int = 0
    estimated: int = 0

    def __add__(self, other: CallCounts) -> CallCounts:
        return CallCounts(
            self.planned + other.planned,
            self.billed + other.billed,
            self.reused + other.reused,
            self.in_doubt + other.in_doubt,
            self.unusable + other.unusable,
            self.refused + other.refused,
            self.failed + other.failed,
            self.estimated + other.estimated,
        )


class Done(Struct, frozen=True):
    """The answer to a message that asks for no other."""

"""Values that several kinds of messages contain."""

from __future__ import annotations

import enum
from typing import Any

from msgspec import Struct

Json = Any  # a value that JSON can represent


class Priority(enum.IntEnum):
    """The priority of a task. Lower values go first; no class starves."""

    INTERACTIVE = 0
    BATCH = 1


class TokenCounts(Struct, frozen=True):
    """The tokens that an endpoint reports for one answer.

    `input` contains `cached`, which a cache of the endpoint served, and `cache_write`, which it stored.
    `cache_write` contains `cache_write_hour`, which it stored for an hour. `output` contains `reasoning`.
    `input` and `output` are None if the endpoint does not report them.
    `requests` is the number of requests that it bills for this one, such as several for many documents.
    """

    input: int | None = None
    output: int | None = None
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    requests: float = 1.0
    cache_write_hour: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether the endpoint reported both sums."""
        return self.input is not None and self.output is not None


class Usage(Struct, frozen=True):
    """The tokens that an endpoint reports for an answer, and their cost in US dollars.

    `input_tokens` contains `cached_tokens` and `cache_write_tokens`, and `output_tokens` contains
    `reasoning_tokens`: see `TokenCounts`.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens

    def kinds(self) -> dict[str, int]:
        """Return the tokens by kind, as a JSON object: cached and cache write are parts of the input."""
        return {
            "input": self.input_tokens,
            "output": self.output_tokens,
            "cached": self.cached_tokens,
            "cache_write": self.cache_write_tokens,
            "reasoning": self.reasoning_tokens,
        }

    def known_cost(self, *, is_priced: bool) -> float | None:
        """Return the cost, None if tokens cost nothing only because an endpoint has no price.

        `is_priced`: the prices of all endpoints are known.
        """
        if self.tokens and not self.cost_usd and not is_priced:
            return None
        return round(self.cost_usd, 9)

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_usd + other.cost_usd,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    def less(self, other: Usage) -> Usage:
        """Return the difference from `other`, at least 0: sums of floats are not exact."""
        return Usage(
            max(0, self.input_tokens - other.input_tokens),
            max(0, self.output_tokens - other.output_tokens),
            max(0.0, self.cost_usd - other.cost_usd),
            self.cached_tokens and max(0, self.cached_tokens - other.cached_tokens),
            self.cache_write_tokens and max(0, self.cache_write_tokens - other.cache_write_tokens),
            self.reasoning_tokens and max(0, self.reasoning_tokens - other.reasoning_tokens),
        )

    @property
    def fields(self) -> tuple[int | float, ...]:
        """All fields, in their order."""
        return (
            self.input_tokens,
            self.output_tokens,
            self.cost_usd,
            self.cached_tokens,
            self.cache_write_tokens,
            self.reasoning_tokens,
        )

    def as_list(self) -> list[Json]:
        """Return the usage in its stored form: without the counts that most endpoints do not report."""
        stored: list[Json] = [self.input_tokens, self.output_tokens, self.cost_usd]
        if self.cached_tokens or self.cache_write_tokens or self.reasoning_tokens:
            stored += (self.cached_tokens, self.cache_write_tokens, self.reasoning_tokens)
        return stored


class CallCounts(Struct, frozen=True):
    """Counts of the results of calls. All count HTTP requests, except `planned` and `reused`.

    planned: questions to answer. billed: answers that the endpoint billed. reused: questions answered without
    a request. in_doubt: requests that were sent and whose result is unknown. unusable: billed answers without
    the required form. refused: requests that the endpoint refused, not billed. failed: other failed requests,
    not billed. estimated: billed answers whose usage the endpoint did not report; their estimate counts as
    usage.
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
    """The answer to a message that needs no other answer."""

"""Estimates the tokens of a request, and learns the error of the estimates at each endpoint.

Rule 1: text is measured in bytes, since languages differ: an ASCII character is about a quarter of a token, a
    Chinese one (three bytes) up to one and a half.
Rule 2: all that is sent counts: instructions, the prompt, the schema of the answer, a correction.
Rule 3: estimates are reserved in a budget, so one that is too low does more harm than one that is too high.
    The learned ratio rises at once and falls slowly.
"""

from __future__ import annotations

from actors.core.messages.values import Usage

MESSAGE_TOKENS = 8  # tokens of a message of a conversation in addition to its text: role and separators

_ASCII_PER_TOKEN = 4
_OTHER_BYTES_PER_TOKEN = 2
_LOWEST, _HIGHEST = 0.25, 8.0  # of the ratio: beyond, the reported usage is wrong or includes hidden input
_MEMORY = 50.0  # answers


def text_tokens(text: str) -> int:
    """Return an estimate of the tokens of a text, which is too high rather than too low."""
    if text.isascii():
        return -(-len(text) // _ASCII_PER_TOKEN)
    size = len(text.encode("utf-8", "surrogatepass"))
    ascii_size = len(text.encode("ascii", "ignore"))
    return -(-ascii_size // _ASCII_PER_TOKEN) + -(-(size - ascii_size) // _OTHER_BYTES_PER_TOKEN)


class TokenRatio:
    """The ratio of reported to estimated input tokens of an endpoint, learned from its answers."""

    __slots__ = ("_ratio",)

    def __init__(self) -> None:
        self._ratio = 1.0

    @property
    def ratio(self) -> float:
        """The factor by which estimates are multiplied."""
        return self._ratio

    def scaled(self, tokens: int, *, is_bound: bool = False) -> int:
        """Return the estimate `tokens` scaled to this endpoint, rounded up. A bound is not made lower."""
        return -int(-tokens * (max(1.0, self._ratio) if is_bound else self._ratio) // 1)

    def learn(self, estimated: int, reported: Usage) -> None:
        """Update the ratio from an unscaled estimate and the usage that the endpoint reported."""
        if estimated <= 0 or reported.input_tokens <= 0:
            return
        seen = min(_HIGHEST, max(_LOWEST, reported.input_tokens / estimated))
        if seen > self._ratio:
            self._ratio = seen
        else:
            self._ratio += (seen - self._ratio) / _MEMORY

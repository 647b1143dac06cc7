"""About how many tokens a request takes, and how far that was off at an endpoint so far.

Rule 1: text is measured by its bytes, since languages differ: an ASCII character is about a quarter of a
    token, a Chinese one (three bytes) up to one and a half.
Rule 2: all that is sent counts: instructions, the prompt, the schema of the answer, a correction.
Rule 3: an estimate is set aside in a budget, so one that is too low costs more than one that is too high. The
    learned ratio follows a higher truth at once and a lower one slowly.
"""

from __future__ import annotations

from actors.core.messages.values import Usage

MESSAGE_TOKENS = 8  # what a message of a conversation takes beside its text: its role, and what separates it

_ASCII_PER_TOKEN = 4
_OTHER_BYTES_PER_TOKEN = 2
_LOWEST, _HIGHEST = 0.25, 8.0  # beyond these the usage is wrong, or much is sent that we do not see
_MEMORY = 50.0  # answers


def text_tokens(text: str) -> int:
    """Return about how many tokens a text takes: rather too many than too few."""
    if text.isascii():
        return -(-len(text) // _ASCII_PER_TOKEN)
    size = len(text.encode("utf-8", "surrogatepass"))
    ascii_size = len(text.encode("ascii", "ignore"))
    return -(-ascii_size // _ASCII_PER_TOKEN) + -(-(size - ascii_size) // _OTHER_BYTES_PER_TOKEN)


class TokenRatio:
    """How many input tokens an endpoint counts for each that was estimated, learned from its answers."""

    __slots__ = ("_ratio",)

    def __init__(self) -> None:
        self._ratio = 1.0

    @property
    def ratio(self) -> float:
        """What an estimate is multiplied by."""
        return self._ratio

    def scaled(self, tokens: int) -> int:
        """Return an estimate as this endpoint would count it."""
        return -int(-tokens * self._ratio // 1)

    def learn(self, estimated: int, reported: Usage) -> None:
        """Compare what was estimated, unscaled, with what the endpoint reported."""
        if estimated <= 0 or reported.input_tokens <= 0:
            return
        seen = min(_HIGHEST, max(_LOWEST, reported.input_tokens / estimated))
        if seen > self._ratio:
            self._ratio = seen
        else:
            self._ratio += (seen - self._ratio) / _MEMORY

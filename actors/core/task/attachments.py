"""Tells from the places of a call's files, before they are read, what to reserve for them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

IMAGE_TOKENS = 1500  # of an image of a megapixel
LARGEST_TEXT_TOKENS = 16_384  # of 64 KiB of ASCII

MOST_FILES = 20  # of one call

_IMAGE = re.compile(r"data:image/|(?!data:)[^?#]*\.(png|jpe?g|gif|webp)([?#]|$)", re.IGNORECASE | re.DOTALL)
_PDF = re.compile(r"data:application/pdf|(?!data:)[^?#]*\.pdf([?#]|$)", re.IGNORECASE | re.DOTALL)
_ELSEWHERE = re.compile(r"/|data:|https?:|[^/]*://", re.IGNORECASE)


class AttachmentRules(Struct, frozen=True):
    """The rules for the files of one step.

    root: the folder of files whose paths are relative.
    text_tokens: the estimated tokens of the largest text.
    """

    root: str = ""
    text_tokens: int = LARGEST_TEXT_TOKENS

    def places(self, locations: Sequence[str]) -> tuple[str, ...]:
        """Return the locations with relative paths made absolute, as they identify files of all runs."""
        return tuple(
            [each if _ELSEWHERE.match(each) else f"{self.root}/{each}" for each in locations]
            if self.root
            else locations
        )

    def tokens(self, locations: Sequence[str]) -> int:
        """Return the tokens to reserve for these files."""
        return sum(most_tokens(each, self.text_tokens) for each in locations)


def is_named_as_text(location: str) -> bool:
    """Return whether a name or a data URL says nothing of an image or a PDF document."""
    return not (_IMAGE.match(location) or _PDF.match(location))


def most_tokens(location: str, text_tokens: int) -> int:
    """Return the tokens to reserve for a file: an image if its name says so, otherwise the largest text."""
    return IMAGE_TOKENS if _IMAGE.match(location) else text_tokens

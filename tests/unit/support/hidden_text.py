"""A text with characters that a page must show as their codes, and what it must show."""

import re

HIDDEN = "ab\u202ecd\x07\x1b[31m\u2066\ufeff"
SHOWN = r"ab\u202ecd\x07\x1b[31m\u2066\ufeff"
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def unseen(text):
    """Return the hidden characters of a text."""
    return _UNSEEN.findall(text)

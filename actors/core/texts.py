"""Shortens texts for messages and reports."""

from __future__ import annotations


def cut(text: str, most: int) -> str:
    """Return `text` with at most `most` characters. An ellipsis ends one that was cut."""
    return text if len(text) <= most else text[: most - 1] + "…"

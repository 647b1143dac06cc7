"""A source of the user's own that fails, and tells what it was told."""

from __future__ import annotations


class Gossip:
    """Raises the text of its options."""

    def __init__(self, **options):
        self.options = options

    def fetch(self, task):
        raise RuntimeError(f"{task.key} was refused: {self.options} \x1b]0;owned\x07\nERROR forged")

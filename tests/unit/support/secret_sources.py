"""Sources for tests that tell what they were told."""

from __future__ import annotations


class Gossip:
    """Fails with the text of its options, and with what a terminal would obey."""

    def __init__(self, secret, padding=0, kind="ValueError"):
        self.said = "x" * padding + f"cannot log in with {secret}\x1b]0;owned\x07\nERROR forged"
        self.kind = {"ValueError": ValueError, "ConnectionError": ConnectionError}[kind]

    def fetch(self, task):
        raise self.kind(self.said)


class Stillborn:
    """Cannot be made, and quotes what it was given."""

    def __init__(self, secret):
        raise ValueError(f"no account of {secret}")

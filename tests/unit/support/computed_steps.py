"""A kind of computed steps, as a package adds it."""

from __future__ import annotations

from typing import Literal

from cluster.config.kinds.step import ComputedStep


class Words(ComputedStep):
    """Counts the words of a text. It fails for an item without one."""

    kind: Literal["words"]
    of: str = "text"

    def columns(self):
        return {"count": "0..1000 = number of words", "first?": "str"}

    def compute(self, item):
        words = item[self.of].split()
        return {"count": len(words), "first": words[0] if words else None}


class MuteError(Exception):
    """An error without a text."""

    def __str__(self):
        raise ValueError("no text")


class Raising(Words):
    """Raises what an item names."""

    kind: Literal["raising"]

    def compute(self, item):
        raised = {"mute": MuteError, "interrupt": KeyboardInterrupt, "exit": SystemExit}.get(item["text"])
        if raised is not None:
            raise raised
        return super().compute(item)


class Wrong(Words):
    """Returns what it does not declare."""

    kind: Literal["wrong"]

    def compute(self, item):
        return {"count": "many", "first": None}

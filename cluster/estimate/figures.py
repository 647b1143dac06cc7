"""The figures of an estimate, and the lines that show them."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from actors.core.messages.values import Json
from cluster.report.console import dollars, duration

ASK_ABOVE_USD = 1.0
ASK_ABOVE_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of an estimate between two bounds, and what it rests on.

    `mid` is None where only bounds are known, and `high` where nothing bounds the figure. `at_most` bounds it
    whatever the model answers, if no question has to be asked twice.
    """

    low: float
    mid: float | None
    high: float | None
    basis: str
    at_most: float | None = None

    @classmethod
    def exact(cls, value: float, basis: str) -> Figure:
        """Return a figure that is known."""
        return cls(value, value, value, basis)

    @classmethod
    def unknown(cls, basis: str) -> Figure:
        """Return a figure of which nothing is known."""
        return cls(0.0, None, None, basis)

    @property
    def is_exact(self) -> bool:
        """Whether the figure is known."""
        return self.low == self.high

    def document(self) -> dict[str, Json]:
        """Return the figure as a JSON object."""
        return {
            "low": self.low,
            "mid": self.mid,
            "high": self.high,
            "at_most": self.high if self.at_most is None else self.at_most,
            "basis": self.basis,
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost and the time of a job from now on. Rows that were answered before cost nothing.

    rows: of the input. different: rows with different prompts; equal prompts are asked once. answered: of the
    different rows, those whose answers are stored. todo: the rows that are left. tokens: input and output.
    seconds: the time that the job takes. notes: what the figures leave out.
    """

    rows: Figure
    different: Figure
    answered: Figure
    todo: Figure
    input_tokens: Figure
    output_tokens: Figure
    tokens: Figure
    usd: Figure
    seconds: Figure
    notes: tuple[str, ...] = ()

    @property
    def wants_consent(self) -> bool:
        """Whether the job is so large that a command asks before it begins."""
        likely = self.usd.high if self.usd.mid is None else self.usd.mid
        return (self.todo.high or 0) > ASK_ABOVE_ROWS or (likely or 0) > ASK_ABOVE_USD

    def document(self) -> dict[str, Json]:
        """Return the estimate as a JSON object."""
        names = ("rows", "different", "answered", "todo", "input_tokens", "output_tokens", "tokens", "usd")
        figures = {name: getattr(self, name).document() for name in (*names, "seconds")}
        return {**figures, "notes": list(self.notes)}

    def lines(self) -> Iterator[str]:
        """Yield the lines that show the estimate."""
        counts = [f"{self.rows.low:,.0f} rows"]
        if self.different.low != self.rows.low:
            counts.append(f"{self.different.low:,.0f} different")
        if self.answered.low:
            counts.append(f"{self.answered.low:,.0f} answered before")
        yield " · ".join([*counts, f"{self.todo.low:,.0f} to do"])
        yield _line("input", self.input_tokens, _count)
        yield _line("output", self.output_tokens, _count)
        yield _line("cost", self.usd, dollars)
        yield _line("time", self.seconds, duration)
        for note in self.notes:
            yield f"note    {note}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


# ---- text ------------------------------------------------------------------------------------------------


def against(estimate: Estimate, *, usd: float, tokens: int, seconds: float) -> str:
    """Return a line that compares an estimate with what the job took."""
    parts = [
        f"{dollars(usd)}, estimated {_spread(estimate.usd, dollars)}",
        f"{_count(tokens)} tokens, estimated {_spread(estimate.tokens, _count)}",
        f"{duration(seconds)}, estimated {_spread(estimate.seconds, duration)}",
    ]
    return f"actual  {' · '.join(parts)}"


def _line(name: str, figure: Figure, spelled: Callable[[float], str]) -> str:
    cut = "" if figure.at_most is None else f"at most {spelled(figure.at_most)} (max_tokens) · "
    return f"{name:<7} {_spread(figure, spelled):<29} {cut}{figure.basis}"


def _spread(figure: Figure, spelled: Callable[[float], str]) -> str:
    if figure.high is None:
        return "unknown" if not figure.low and figure.mid is None else f"at least {spelled(figure.low)}"
    if figure.is_exact:
        return spelled(figure.low)
    bounds = f"{spelled(figure.low)} to {spelled(figure.high)}"
    return bounds if figure.mid is None else f"{spelled(figure.mid)} ({bounds})"


def _count(value: float) -> str:
    """Return a count with three significant digits: 812, 48.2 k, 4.61 M."""
    for unit, size in ((" G", 1e9), (" M", 1e6), (" k", 1e4)):
        if value >= size:
            scaled = value / (1e3 if size == 1e4 else size)
            return f"{scaled:.3g}{unit}" if scaled < 1000 else f"{scaled:,.0f}{unit}"
    return f"{value:,.0f}"

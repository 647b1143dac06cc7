"""Draws the terminal during `headrace map`: the panel of a real run with a simulated model, as SVG.

python -m tools.terminal FILE.svg     in an empty folder
"""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text
from typer.testing import CliRunner

from cluster.commands.main import app
from cluster.report import console

_WIDTH = 96
_ROWS = 3_000
_EARLIEST, _LATEST = 0.35, 0.8  # of the rows: the picture waits for the limit to be what binds
_COMMAND = (
    *("map", "reviews.csv", "Classify: {text}"),
    *("-c", "sentiment: positive | neutral | negative", "-c", "score: 0..1 = how strong"),
    *("-m", "sim", "-o", "scored.parquet"),
)
_MOODS = ("It broke after a week.", "It does what it should.", "I would buy it again at once.")


def draw(path: Path) -> None:
    """Run the command in the working directory, and write the picture of its panel."""
    rows = "".join(f"{number},{_MOODS[number % 3]} Order {number}.\n" for number in range(_ROWS))
    Path("reviews.csv").write_text(f"id,text\n{rows}", encoding="utf-8")
    drawn: list[RenderableType] = []
    panel = console.panel

    def kept(view: console.ProgressView, remaining_s: float | None) -> RenderableType:
        share = view.tasks.ended / _ROWS
        if not drawn and share > (_EARLIEST if "limit" in view.binding else _LATEST):
            drawn.append(panel(view, remaining_s))
        return panel(view, remaining_s)

    console.panel = kept
    os.environ["TTY_COMPATIBLE"] = "1"  # the panel is for terminals
    ended = CliRunner().invoke(app, [*_COMMAND, "--yes"])
    if ended.exit_code or not drawn:
        raise SystemExit(f"the run failed, or was too fast to be seen: {ended.stderr}")
    recording = Console(record=True, width=_WIDTH, file=io.StringIO())
    recording.print(Text(f"$ headrace {shlex.join(_COMMAND)}"))
    recording.print(drawn[0])
    # rich names fonts on a server, which a picture must not ask.
    picture = re.sub(
        r"@font-face \{.*?\}\s*", "", recording.export_svg(title="headrace map"), flags=re.DOTALL
    )
    path.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))

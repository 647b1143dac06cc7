"""The templates of pages: all values are escaped, and a missing one is an error.

Rule: a character that would be invisible, or would reorder the text around it, is shown as its code, in the
frame of a page by `visible` and in the scripts by the function of that name in ``elements.js``.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from actors.core.censor import printable


def environment(folder: Path) -> Environment:
    """Return an environment with the templates of a folder."""
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["visible"] = visible
    return made


def visible(text: str) -> str:
    """Return a text with the codes of its hidden characters in their place."""
    return printable(text, indent="")

"""The files that a page consists of, and the policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

SHARED = Path(__file__).parent / "assets"
UPLOT = "uplot/uPlot.iife.min.js"
UPLOT_STYLES = "uplot/uPlot.min.css"
SELF = "'self'"  # in a policy: the files of the server that the page comes from
NONE = "'none'"


@cache
def asset(name: str, own: Path = SHARED) -> str:
    """Return the text of a file of the folder `own`, or of the shared files if it has none of that name."""
    path = own / name
    return (path if path.exists() else SHARED / name).read_text("utf-8").strip()


def joined(names: Iterable[str], own: Path = SHARED) -> str:
    """Return the texts of several files as one."""
    return "\n".join(asset(name, own) for name in names)


def hashed(text: str) -> str:
    """Return what a policy calls the text of a script or style in the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(*, scripts: Sequence[str] = (), styles: Sequence[str] = (), **others: str) -> str:
    """Return the content security policy of a page. A browser that follows it loads nothing else.

    scripts, styles: `SELF`, or what `hashed` returns for each text. others: further directives, such as
    ``connect_src``.
    """
    directives = {
        "default-src": NONE,
        "script-src": " ".join(scripts) or NONE,
        "style-src": " ".join(styles) or NONE,
        "base-uri": NONE,
        "form-action": NONE,
        **{name.replace("_", "-"): value for name, value in others.items()},
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())

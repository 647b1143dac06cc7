"""The runbooks of docs/operations.md as commands that a test can run."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.conftest import ROOT, RUN_WITHIN_S

_WRITTEN = re.compile(r"\b(?!INT\b|KILL\b|URL\b)[A-Z][A-Z_]+\b")
# What users have installed, and what a test must not do.
_SHELL = f"""
headrace() {{ {shlex.quote(sys.executable)} {shlex.quote(str(ROOT / "driver.py"))} "$@"; }}
pip() {{ :; }}
serve() {{ {shlex.quote(str(Path(sys.executable).parent / "serve"))} "$@"; }}
make() {{
  case $1 in
  cluster) {shlex.quote(sys.executable)} -m cluster.ray.head start --dashboard-port "$DASHBOARD_PORT";;
  cluster-stop) {shlex.quote(sys.executable)} -m cluster.ray.head stop;;
  esac
}}
"""


def runbook(heading: str, **names: str | int) -> list[list[str]]:
    """Return the lines of each block of a runbook, with `names` in place of the words in capitals."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.split(f"### {heading}\n")[1].split("\n##")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert blocks
    for name, value in names.items():
        blocks = [re.sub(rf"\b{name}\b", str(value), block) for block in blocks]
    return [[line.partition("  #")[0].rstrip() for line in block.splitlines()] for block in blocks]


async def execute(line: str, directory: Path, env: Mapping[str, str]) -> str:
    """Run one line in a shell, and return its output."""
    assert not _WRITTEN.findall(line), f"a name is not replaced in: {line}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"{_SHELL}\n{line}"), cwd=directory, env=env, stdout=PIPE, stderr=STDOUT
    )
    async with asyncio.timeout(RUN_WITHIN_S):
        output, _ = await process.communicate()
    assert process.returncode == 0, f"{line}:\n{output.decode()}"
    return output.decode()

"""Fetches axe-core, which finds what makes a page hard to use for some people.

    python -m tests.e2e.support.axe

It is large and under the MPL, so that it is not in the repository. `make browser` fetches the pinned version
with npm; tests that need it are skipped without it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tools.browser import Page

VERSION = "4.14.1"
_SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
PLACE = Path(__file__).parents[3] / ".headrace" / f"axe-core-{VERSION}.min.js"
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def fetch() -> None:
    """Fetch the file, unless it is there. Raises `SystemExit` if it is not the published one."""
    if PLACE.exists():
        return
    if shutil.which("npm") is None:
        sys.exit("there is no npm: the tests with axe-core will be skipped")
    with TemporaryDirectory() as folder:
        pack = ["npm", "pack", "--silent", f"axe-core@{VERSION}"]
        subprocess.run(pack, cwd=folder, check=True, timeout=120)  # noqa: S603 - a fixed command
        (package,) = Path(folder).glob("*.tgz")
        digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
        if digest != _SHA512:
            sys.exit(f"axe-core {VERSION} is not the published file: its SHA-512 is {digest}")
        with tarfile.open(package) as archive:
            found = archive.extractfile("package/axe.min.js")
            assert found is not None
            PLACE.parent.mkdir(exist_ok=True)
            PLACE.write_bytes(found.read())


async def faults(page: Page) -> list[str]:
    """Return what axe-core finds in a page: the rule, and the elements that break it."""
    await page.value(f"{PLACE.read_text('utf-8')}; true")
    options: Any = {"runOnly": {"type": "tag", "values": _RULES}, "resultTypes": ["violations"]}
    found = await page.value(
        f"axe.run(document, {json.dumps(options)}).then((result) => result.violations.map((one) => "
        "`${one.id}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | ')}`))"
    )
    assert isinstance(found, list)
    return found


if __name__ == "__main__":
    fetch()

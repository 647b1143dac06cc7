"""Makes the store of a release: a run that has ended, and a run and a map whose processes were killed.

To be run once, from a checkout of the release. Later versions have to continue what it wrote:

    git worktree add /tmp/old COMMIT && cd /tmp/old
    python THIS_FILE COMMIT.db

`run.yaml` beside this file is the configuration of the runs. LLM_URL, which it names, is the endpoint's URL.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

from simulators.process import SimulatorProcess

HERE = Path(__file__).parent
RUN = ["run", "run.yaml", "--engine=local"]
MAP = ["map", "rows.csv", "Rate {text}", "-c", "mood: good | bad", "--config", "run.yaml", "-o", "out.csv"]


def billed(url: str) -> int:
    """Return how many calls the endpoint has billed."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as answer:  # noqa: S310 - on loopback
        return int(json.load(answer)["billed"])


def make(target: Path, directory: Path) -> None:
    """Run in `directory`, and write the store to `target`."""
    for name in ("run.yaml", "rows.csv"):
        shutil.copy(HERE / name, directory)
    command = [sys.executable, str(Path.cwd() / "driver.py")]
    with SimulatorProcess("llm", ["--latency-s=0.1", "--sigma=0"]) as endpoint:
        env = {**os.environ, "LLM_URL": endpoint.url, "LLM_KEY": "sk-canary-of-the-fixture"}
        ended = [*command, *RUN, "--run-id=ended", "--limit=2"]
        subprocess.run(ended, cwd=directory, env=env, check=True)  # noqa: S603 - our own words
        for arguments, answers in (([*RUN, "--run-id=killed"], 20), ([*MAP, "-y"], 10)):
            before = billed(endpoint.url)
            with subprocess.Popen([*command, *arguments], cwd=directory, env=env) as run:  # noqa: S603 - same
                while billed(endpoint.url) < before + answers:
                    time.sleep(0.02)
                run.kill()
    store = directory / ".headrace" / "state.db"
    sqlite3.connect(store).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(store, target)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made_in:
        make(Path(sys.argv[1]).absolute(), Path(made_in))

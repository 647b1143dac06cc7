"""A canary in every place of a configuration that takes text is in nothing that a run writes or shows.

Everything fails and quotes what it was sent, sources and endpoint; and some would steer a terminal.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from tests.e2e.support.gossip_source import SEEN

ROOT = Path(__file__).resolve().parents[3]
MARK = "HEADRACE_SECRETS_TEST"
CONFIG = """\
name: canaries
tasks: {kind: file, path: tasks.jsonl}
sources:
  - {name: api, kind: http, allow_private: true, retries: 1, url: "SERVER/v1/@A1/{key}?token=@A2&q=@A3",
     items: "@A4", text: "@A5", next: "@A6", cursor: {path: "@A7", parameter: "@A8"},
     headers: {Authorization: "Bearer @A9", X-More: "@A10"}}
  - {name: pages, kind: http, allow_private: true, retries: 0, url: "SERVER/ok/@A1?token=@A2", items: "@A4",
     headers: {Authorization: "Basic @A9"}}
  - {name: notes, kind: files, path: "ftp://@B1:@B2@127.0.0.1:1/{key}/@B3", text: "@B4", retries: 0,
     options: {timeout: 1, encoding: "@B5"}}
  - {name: memory, kind: files, path: "memory://@B3/{key}/*", root: "memory://other/@B3", retries: 0}
  - {name: tickets, kind: sql, url: "postgresql+psycopg://@C1:@C2@127.0.0.1:1/@C3",
     query: "select '@C4' as id", text: "@C5", retries: 0, timeout_s: 3}
  - {name: mine, kind: python, target: "gossip_source:Gossip", retries: 0,
     options: {team: "@D1", nested: {a: [{b: "@D2"}]}, password: "written-out-D3"}}
  - {name: wire, kind: simulated, items: 2, latency_s: 0}
llm:
  endpoints: [{name: main, base_url: "SERVER/@E1/v1", model: "@E2", api_key: "@E3"}]
  retry: {attempts: 1}
evaluate:
  prompt: "@F1 {text}"
  output: {quality: {type: number, min: 0, max: 1}, kind: {type: string, choices: ["@F2", "x"]}}
dimensions: [{name: quality, field: quality, synthesize: "@G1 {evidence}"}]
limits: {task_deadline_s: 30}
store: {kind: sqlite, path: state.db}
cluster: {engine: ray, dashboard: true}
"""
NAMES = sorted(set(re.findall(r"@([A-H]\d+)", CONFIG)))
CANARY = re.compile(rb"canary|written-out-D3", re.IGNORECASE)
HOSTILE_KEY = "=cmd()"


class Echo(BaseHTTPRequestHandler):
    """Refuses everything, in the words of what was sent."""

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = f"refused {self.path} with {dict(self.headers)} and {body.decode()}"
        page = json.dumps({"error": {"message": said}, "data": []}).encode()
        self.send_response(200 if self.path.startswith("/ok/") else 400)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_GET = do_POST = answer  # noqa: N815 - as http.server has it

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()


@pytest.fixture
def place():
    path = Path(tempfile.mkdtemp(prefix="hr"))  # a short path: Ray's sockets lie below it
    yield path
    shutil.rmtree(path, ignore_errors=True)


def environment(place):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    canaries = {name: f"canary-{name}/v+1" for name in NAMES}
    tests = str(Path(__file__).parents[1] / "support")
    paths = os.pathsep.join((str(ROOT), tests))
    return {
        **inherited,
        **canaries,
        "TMPDIR": str(place),
        "PYTHONPATH": paths,
        "HOME": str(place),
        MARK: place.name,
        "RAY_metrics_report_interval_ms": "1000",
    }


class Watch(threading.Thread):
    """Gathers the command lines of a run's processes while it goes, and what Prometheus would read."""

    def __init__(self, place):
        super().__init__(daemon=True)
        self.place = place
        self.over = threading.Event()
        self.seen = set()
        self.told: dict[str, bytes] = {}

    def run(self):
        while not self.over.wait(0.1):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    if process.environ().get(MARK) == self.place.name:
                        self.seen.add("\0".join(process.cmdline()))
            for targets in self.place.rglob("prom_metrics_service_discovery.json"):
                with suppress(OSError, ValueError, LookupError):
                    for target in json.loads(targets.read_text())[0]["targets"]:
                        self.told[target] = urllib.request.urlopen(
                            f"http://{target}/metrics", timeout=2
                        ).read()
                        if b"headrace_fetches_total" in self.told[target]:
                            (self.place / SEEN).touch()


def test_a_canary_of_every_place_is_in_nothing_that_is_written_shown_or_seen(server, place):
    work = place / "work"
    work.mkdir()
    text = re.sub(r"@([A-H]\d+)", r"${\1}", CONFIG).replace("SERVER", server)
    (work / "run.yaml").write_text(text)
    tasks = [{"key": "one"}, {"key": HOSTILE_KEY}]
    (work / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    env = environment(place)

    def driver(*words):
        return subprocess.run(  # noqa: S603 - our own program
            [sys.executable, str(ROOT / "driver.py"), *words],
            cwd=work,
            env=env,
            capture_output=True,
            check=False,
            timeout=200,
        )

    watch = Watch(place)
    watch.start()
    run = driver("run", "run.yaml", "--run-id", "r1", "--json", "--set", "llm.endpoints.main.api_key=${E3}")
    watch.over.set()
    watch.join(30)
    store = ("--config", "run.yaml")
    shown = [
        run,
        driver("check", "run.yaml"),
        driver("resume", "r1", *store),
        driver("status", "r1", "--json", *store),
        driver("why", "r1", "one", *store),
        driver("why", "r1", HOSTILE_KEY, *store),
        driver("results", "r1", *store),
        driver("results", "r1", "--format", "csv", *store),
        driver("report", "r1", *store),
        driver("run", "run.yaml", "--run-id", "r2", "--address", "127.0.0.1:1"),
    ]

    assert json.loads(run.stdout)["state"] == "failed", run.stderr.decode()
    errors = " ".join(json.loads(shown[6].stdout.splitlines()[0])["errors"])
    for source in ("api", "pages", "notes", "tickets", "mine"):
        assert source in errors  # each has failed, and said why
    assert "${D1}" in errors
    assert "${E1}" in shown[4].stdout.decode() + errors
    assert len(watch.seen) > 5
    metrics = b"".join(watch.told.values())
    assert b"headrace_fetches_total" in metrics
    for words, said in ((each.args, each.stdout + each.stderr) for each in shown):
        assert not found(said), words
        assert b"\x1b]" not in said
        assert b"\nERROR forged" not in said or "csv" in words  # a cell may hold lines
    assert not found("\n".join(watch.seen).encode())
    assert not found(metrics)
    (work / "run.yaml").unlink()  # it writes one out itself
    written = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {path.name for path in written}
    assert {"state.db", "reports.jsonl", "r1.html", "raylet.out"} <= names
    assert {path: places for path in written if (places := found(path.read_bytes()))} == {}


def found(data):
    """Return where canaries are, with what stands around them."""
    return [data[max(0, place.start() - 60) : place.end() + 60] for place in CANARY.finditer(data)]

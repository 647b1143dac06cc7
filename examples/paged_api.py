"""Serves a small JSON API with pages, and runs a command beside it, such as a run that reads from it.

    python examples/paged_api.py -- headrace run examples/paged_api.yaml

The API lists the fault reports of a lift: ``GET /lifts/NAME/faults?page=2`` answers ``{"faults": [...],
"next": "/lifts/NAME/faults?page=3"}``, and ``next`` is null on the last page. The command finds the URL in
the environment variable ``PAGED_API_URL``. The server ends with the command and returns its exit code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

A_PAGE = 3
FAULTS = {
    "station": [
        "Doors close on passengers; sensor cleaned.",
        "Stuck between floors 1 and 2 for twenty minutes, two people inside.",
        "Emergency call did not answer during the weekly test.",
        "Doors close on passengers again, sensor replaced.",
        "Floor button 3 has no light.",
        "Stops four centimetres above floor 2: a wheelchair could not leave.",
        "Noise from the machine room; bearing greased.",
    ],
    "library": [
        "Light in the cabin flickers.",
        "Does not answer calls from the basement on humid days.",
        "Light in the cabin replaced.",
        "Basement button replaced after three reports.",
    ],
    "town-hall": ["Yearly inspection passed without remarks."],
}


class Faults(BaseHTTPRequestHandler):
    """Answers with one page of the faults of a lift."""

    def do_GET(self) -> None:
        """Send a page, or status 404 for an unknown lift."""
        url = urlsplit(self.path)
        name = url.path.removeprefix("/lifts/").removesuffix("/faults")
        if name not in FAULTS:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        page = int(parse_qs(url.query).get("page", ["1"])[0])
        texts = FAULTS[name][(page - 1) * A_PAGE : page * A_PAGE]
        is_last = page * A_PAGE >= len(FAULTS[name])
        faults = [
            {"id": (page - 1) * A_PAGE + number, "text": text} for number, text in enumerate(texts, start=1)
        ]
        following = None if is_last else f"{url.path}?page={page + 1}"
        body = json.dumps({"faults": faults, "next": following}).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no line for each request."""


def main() -> int:
    """Serve on a free port of this machine while the command runs, and return its exit code."""
    if sys.argv[1:2] != ["--"] or not sys.argv[2:]:
        print("usage: python examples/paged_api.py -- COMMAND", file=sys.stderr)
        return 2
    server = ThreadingHTTPServer(("127.0.0.1", 0), Faults)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    env = {**os.environ, "PAGED_API_URL": f"http://127.0.0.1:{server.server_port}"}
    code = subprocess.run(sys.argv[2:], env=env, check=False).returncode  # noqa: S603 - the user's own command
    server.shutdown()
    return code


if __name__ == "__main__":
    sys.exit(main())

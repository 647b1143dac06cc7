"""When a cluster is said to be up, where its dashboard is ahead of its node."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cluster.ray import head
from cluster.ray.head import HeadError

ALIVE = {"state": "ALIVE", "is_head_node": True, "resources_total": {"CPU": 2.0}}


@pytest.fixture
def dashboard():
    """Serve what a dashboard says of its nodes, one answer after the other; the last one stays."""
    told: list[object] = []

    class Dashboard(BaseHTTPRequestHandler):
        def do_GET(self):
            document = {}
            if self.path.startswith("/api/v0/nodes"):
                document = told.pop(0) if len(told) > 1 else told[0]
            self.send_response(200 if document is not None else 500)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Dashboard)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    server.server_close()
    serving.join()


def nodes(*rows):
    return {"result": True, "data": {"result": {"result": list(rows)}}}


def test_a_cluster_is_up_once_a_node_of_it_is_alive_and_has_processors(dashboard, tmp_path):
    url, told = dashboard
    told += [
        None,
        nodes(),
        nodes(ALIVE | {"state": "DEAD"}),
        nodes(ALIVE | {"resources_total": {}}),
        nodes(ALIVE),
    ]
    head._wait_until_up(os.getpid(), url, "token", tmp_path / "log")
    assert told == [nodes(ALIVE)]


def test_a_cluster_whose_node_does_not_come_is_an_error_in_time_that_names_the_log(
    dashboard, tmp_path, monkeypatch
):
    url, told = dashboard
    told.append(nodes())
    monkeypatch.setattr(head, "_UP_WITHIN_S", 0.5)
    with pytest.raises(HeadError, match=r"no node of the cluster .* see .*log"):
        head._wait_until_up(os.getpid(), url, "token", tmp_path / "log")

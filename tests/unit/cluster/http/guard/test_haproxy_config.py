"""What Serve starts as HAProxy closes the configuration that this Serve makes, or does not start."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from actors.core.errors import ConfigError
from cluster.http.guard.problems import MEDIA_TYPE, ApiProblem, away
from cluster.http.haproxy.settings import haproxy_environment

ROOT = Path(__file__).parents[5]
RUN = ROOT / "cluster" / "http" / "haproxy" / "run"
ENABLED, STARTED, BINARY = (
    "RAY_SERVE_ENABLE_HA_PROXY",
    "RAY_SERVE_HAPROXY_BINARY_PATH",
    "HEADRACE_HAPROXY_BINARY",
)
UNREADABLE = "this is no request that can be read, or its headers are too large"
HOSTS = ("127.0.0.1", "localhost", "0.0.0.0", "192.0.2.7", "::1")  # noqa: S104 - nothing listens here
# In a process of its own: to import Serve changes this one's logging, and warns.
SERVE = """
import json, sys, tempfile
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

def made(host, backends):
    with tempfile.TemporaryDirectory() as place:
        options = HTTPOptions(host=host, port=8000)
        config = HAProxyConfig(http_options=options, socket_path=f"{place}/admin.sock",
            server_state_base=place, server_state_file=f"{place}/state",
            metrics_socket_path=f"{place}/metrics.sock", has_received_routes=True)
        api = HAProxyApi(config, {each.name: each for each in backends}, f"{place}/haproxy.cfg")
        api._generate_config_file_internal()
        with open(f"{place}/haproxy.cfg") as file:
            return file.read().replace(place, "PLACE")

replica, python = (ServerConfig(name=name, host="127.0.0.1", port=port) for name, port in
    (("one", 30000), ("python", 8500)))
app = BackendConfig(name="http-headrace", path_prefix="/", app_name="headrace", servers=[replica],
    fallback_server=python)
print(json.dumps({"empty": made("127.0.0.1", []), **{host: made(host, [app]) for host in sys.argv[1:]}}))
"""

pytestmark = pytest.mark.skipif(shutil.which("setpriv") is None, reason="only Linux has HAProxy for Serve")


@pytest.fixture(scope="module")
def templates():
    """Return what this Serve makes: by where it listens, and before there is an application."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    told = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-W", "ignore", "-c", SERVE, *HOSTS], env=env, capture_output=True, check=True
    )
    return json.loads(told.stdout)


@pytest.fixture
def made(templates, tmp_path_factory):
    """Return what writes one of them into a file and returns its path."""
    directory = tmp_path_factory.mktemp("h")  # a short path: sockets have 107 bytes

    def write(which="127.0.0.1"):
        path = directory / "haproxy.cfg"
        path.write_text(templates[which].replace("PLACE", str(directory)))
        return path

    return write


def started(path, binary="/bin/cat"):
    """Start it as Serve does; instead of HAProxy a program may say what it was started with."""
    if binary == "/bin/cat":
        binary = path.with_name("cat")
        binary.write_text('#!/bin/sh\ncat "$3"\n')
        binary.chmod(0o700)
    return subprocess.run(  # noqa: S603 - our own script
        [RUN, "-db", "-f", path, "-dR"],
        env={"PATH": os.environ["PATH"], "HEADRACE_HAPROXY_BINARY": str(binary)},
        capture_output=True,
        text=True,
        check=False,
    )


def closed(path):
    told = started(path)
    assert told.returncode == 0, told.stderr
    assert told.stdout == path.read_text()
    return told.stdout


def test_only_the_api_listens_and_only_its_owner_commands(made):
    text = closed(made())
    assert re.findall(r"^ *bind (.*)$", text, re.MULTILINE) == ["127.0.0.1:8000"]
    assert re.findall(r"^ *stats .* mode (\d+) ", text, re.MULTILINE) == ["600"]
    assert re.findall(r"^(?:frontend|listen) (\S+)", text, re.MULTILINE) == ["http_frontend"]
    assert "metrics.sock" in text  # what the manager counts requests by
    assert "local0" not in text


def test_the_address_of_a_caller_is_what_haproxy_saw_whatever_the_caller_says(made):
    told = re.findall(r"^ *http-request (.*x-forwarded-for.*)$", closed(made()), re.MULTILINE)
    assert told == ["set-header x-forwarded-for %[src]"]


@pytest.mark.parametrize("which", ["empty", "127.0.0.1"])
def test_what_is_answered_without_a_replica_is_a_problem(made, which):
    text = closed(made(which))
    own = dict(re.findall(r"^ *errorfile (\d+) (.*)$", text, re.MULTILINE))
    assert {status: Path(file).name for status, file in own.items()} == {
        "400": "400.http",
        **dict.fromkeys(("500", "502", "503", "504"), "503.http"),
    }
    assert all(Path(file).is_absolute() and Path(file).is_file() for file in own.values())
    assert "lf-string" not in text
    assert "deny_status 503" in text
    assert "backup" not in text


@pytest.mark.parametrize(
    ("file", "problem", "header"),
    [
        ("400.http", ApiProblem(400, "unreadable", UNREADABLE), "Connection: close"),
        ("503.http", away(), "Retry-After: 1"),
    ],
)
def test_its_own_answers_have_the_form_of_all_others(file, problem, header):
    head, _, body = (RUN.parent / file).read_bytes().partition(b"\r\n\r\n")
    assert body == orjson.dumps(problem.document())
    status, *headers = head.decode().split("\r\n")
    assert status.startswith(f"HTTP/1.1 {problem.status} ")
    wanted = {
        header,
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
    }
    assert wanted <= set(headers)


def test_replicas_are_looked_for_where_they_listen(made):
    def server(host):
        (found,) = re.findall(r"^ *server one (\S+) check", closed(made(host)), re.MULTILINE)
        return found

    for host in ("127.0.0.1", "localhost", "0.0.0.0"):  # noqa: S104 - as above
        assert server(host) == "127.0.0.1:30000"
    assert server("192.0.2.7") == "192.0.2.7:30000"
    assert server("::1") == "::1:30000"


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        (r" mode 666 ", " mode 660 "),
        (r"^ *stats socket .*$", ""),
        (r"^ *errorfile .*$", ""),
        (r"^ *log 127.*$", ""),
        (r"^ *http-request return status 404 .*$", ""),
        (r"^ *bind 127.*$", ""),
        (r"^listen stats$", "listen pages"),
        (r"^frontend prometheus$", "frontend metrics"),
        (r"^(frontend http_frontend)$", r"\1\n    bind *:1"),
        (r"^frontend http_frontend$", "frontend other"),
        (r"^(backend default_backend)$", r"frontend grpc_frontend\n    bind 127.0.0.1:9000\n\1"),
    ],
)
def test_nothing_starts_where_serve_has_changed_what_is_to_be_closed(made, what, instead):
    path = made()
    text, count = re.subn(what, instead, path.read_text(), flags=re.MULTILINE)
    assert count
    path.write_text(text)
    told = started(path)
    assert told.returncode != 0
    assert told.stdout == ""
    assert "RAY_SERVE_ENABLE_HA_PROXY=0" in told.stderr


@pytest.mark.parametrize("which", ["empty", "127.0.0.1"])
def test_haproxy_takes_it(made, which):
    path = made(which)
    try:
        found = haproxy_environment(os.environ, path.parent)
    except ConfigError as error:
        pytest.skip(f"{error}: NOT TESTED HERE")
    checked = path.with_name("checked")
    checked.write_text(f'#!/bin/sh\nexec {found["HEADRACE_HAPROXY_BINARY"]} -c -f "$3"\n')
    checked.chmod(0o700)
    told = started(path, checked)
    assert told.returncode == 0, told.stderr


@pytest.fixture
def tools(tmp_path):
    """Return an environment with everything that HAProxy needs, and a program in HAProxy's place."""
    for name in ("sh", "awk", "setpriv", "haproxy"):
        (tmp_path / name).touch(0o700)
    return {"PATH": str(tmp_path), STARTED: str(tmp_path / "haproxy")}


def test_serve_starts_the_script_that_closes_the_configuration_and_never_haproxy_itself(tools, tmp_path):
    told = haproxy_environment(tools, tmp_path, 1234)
    assert told[ENABLED] == "1"
    assert told[BINARY] == tools[STARTED]
    assert told[STARTED] == str(RUN)
    assert told["RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"] == "1234"
    again = haproxy_environment({**tools, **told}, tmp_path)  # in a process that has these variables already
    assert again[BINARY] == tools[STARTED]


def test_all_files_of_haproxy_lie_in_one_directory(tools, tmp_path):
    told = haproxy_environment(tools, tmp_path / "place")
    files = {value for name, value in told.items() if name.endswith(("_LOC", "_PATH", "_BASE", "_FILE"))}
    files -= {told[STARTED]}
    assert len(files) == 5
    assert all(Path(each).is_relative_to(tmp_path / "place") for each in files)


@pytest.mark.parametrize("missing", ["sh", "awk", "setpriv", "haproxy"])
def test_a_missing_program_is_named(tools, tmp_path, missing):
    (tmp_path / missing).unlink()
    with pytest.raises(ConfigError, match=f"not found: .*{missing}"):
        haproxy_environment(tools, tmp_path)


def test_a_setting_of_the_environment_stays(tools, tmp_path):
    own = {"RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "32768"}
    assert own.items() <= haproxy_environment({**tools, **own}, tmp_path).items()

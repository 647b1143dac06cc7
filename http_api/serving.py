"""What has to be true of Serve before a replica answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ray.serve.context import _get_global_client

from actors.core.errors import ConfigError
from http_api.auth import is_loopback

_log = logging.getLogger(__name__)


def refuse_to_serve_strangers(tokens: Mapping[str, str]) -> None:
    """Raise `ConfigError` where Serve listens beyond this machine and no token is configured."""
    if tokens:
        return
    client = _get_global_client(raise_if_no_controller_running=False)
    host = None if client is None else client.http_config.host
    if host is not None and not is_loopback(host):
        raise ConfigError(
            f"Serve listens at {host}, beyond this machine, and HEADRACE_API_TOKEN is not set: set it, "
            "or have http_options.host be 127.0.0.1"
        )

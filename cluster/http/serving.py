"""The application as Ray Serve runs it: its arguments and its replicas."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve import Application

from actors.core.errors import ConfigError
from actors.runtime.startup import settle_in
from actors.runtime.telemetry.logs import log_as_json, log_of_run, wants_json
from cluster.config.kinds.store import SqliteSection
from cluster.config.loading import loaded
from cluster.config.model import HeadraceConfig
from cluster.http.application import make_application
from cluster.http.guard.auth import TOKEN_VARIABLE, digests, refuse_to_serve_strangers
from cluster.http.guard.files import confined
from cluster.http.guard.limits import BATCHES, REQUESTS, STREAMS, batch_bytes
from cluster.http.haproxy.settings import ENABLED
from cluster.http.routes.gateway import Gateway

_AT_ONCE = REQUESTS + STREAMS + BATCHES


class Arguments(BaseModel):
    """The arguments of ``serve run serve_app:app config=...``, and `args` in a Serve configuration."""

    model_config = ConfigDict(extra="forbid")

    config: str = Field("configs/serve_demo.yaml", description="the configuration, a YAML file")
    replicas: int = Field(1, ge=1, le=100, description="processes that answer HTTP")
    # Serve compares the arguments, and not the file: without a changed one it keeps what it serves.
    revision: str | int = Field("", description="any text; a changed one has the configuration read again")


class Ingress:
    """One replica. It builds the application in its own process, which then holds its couriers."""

    def __init__(self, config: HeadraceConfig, tokens: Mapping[str, str]) -> None:
        self._config = config
        self._tokens = tokens

    def __serve_build_asgi_app__(self) -> Any:
        """Return the application, for Serve to run."""
        log_of_run(self._config.name)
        if wants_json(self._config.telemetry.log_format, os.environ):
            log_as_json()
        settle_in(makes_cycles=True)  # Serve keeps the body of a refused request on a cycle
        return make_application(self._tokens, lambda: Gateway(self._config))


def application(arguments: Arguments, *, host: str | None = None) -> Application:
    """Return the Serve application. Raises `ConfigError` for settings or a token that cannot be used.

    `host` is the address at which Serve will listen, None if it is not known. This function reads the tokens
    and passes their digests on: what Ray keeps of an application holds no token.
    """
    batch_bytes()  # replicas and proxies read it later, where an error would not be seen
    config = loaded(Path(arguments.config), env=os.environ)
    tokens = digests(os.environ.get(TOKEN_VARIABLE))
    if os.environ.get(ENABLED) == "1":
        # Behind HAProxy every request comes from this machine: a replica cannot tell strangers.
        refuse_to_serve_strangers(tokens, host)
    elif config.http.haproxy:
        raise ConfigError(
            "http.haproxy is true, but this cluster was started without HAProxy. Before it is started: "
            f'eval "$(python -m {__package__}.haproxy.settings)"'
        )
    config = confined(config)
    if "task_deadline_s" not in config.limits.model_fields_set:  # a caller waits
        limits = config.limits.model_copy(update={"task_deadline_s": config.limits.task_deadline_s})
        config = config.model_copy(update={"limits": limits})
    if isinstance(config.store, SqliteSection):  # a replica has another working directory
        store = config.store.model_copy(update={"path": str(Path(config.store.path).absolute())})
        config = config.model_copy(update={"store": store})
    deployment = serve.deployment(
        name="headrace",
        num_replicas=arguments.replicas,
        # More than the application accepts: so it is the application that refuses, with a time to wait.
        max_ongoing_requests=2 * _AT_ONCE,
        max_queued_requests=4 * _AT_ONCE,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=2,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=5,
        logging_config={"enable_access_log": False},  # a line a request would cost more than the request
    )(serve.ingress()(Ingress))
    bound: Application = deployment.bind(config, tokens)
    return bound

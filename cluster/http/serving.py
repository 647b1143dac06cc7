"""The application as Ray Serve runs it: its arguments, its replicas, and who may reach them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve import Application
from ray.serve.context import _get_global_client

from actors.runtime.startup import settle_in
from cluster.config.loading import loaded
from cluster.config.model import HeadraceConfig, SqliteStore
from cluster.http.application import make_application
from cluster.http.guard.auth import TOKEN_VARIABLE, digests, refuse_to_serve_strangers
from cluster.http.guard.limits import BATCHES, REQUESTS, STREAMS, batch_bytes
from cluster.http.routes.gateway import Gateway

_AT_ONCE = REQUESTS + STREAMS + BATCHES


class Arguments(BaseModel):
    """What ``serve run serve_app:app config=...`` and the `args` of a Serve configuration may say."""

    model_config = ConfigDict(extra="forbid")

    config: str = Field("configs/serve_demo.yaml", description="the configuration, a YAML file")
    replicas: int = Field(1, ge=1, le=100, description="processes that answer HTTP")


class Ingress:
    """One replica: builds the application in its own process, where its couriers live."""

    def __init__(self, config: HeadraceConfig, tokens: Mapping[str, str]) -> None:
        refuse_to_serve_strangers(tokens, _host_of_serve())
        self._config = config
        self._tokens = tokens

    def __serve_build_asgi_app__(self) -> Any:
        """Return the application, for Serve to run."""
        settle_in(makes_cycles=True)  # a request that is refused leaves its body on one, in Serve's frames
        return make_application(self._tokens, lambda: Gateway(self._config))


def application(arguments: Arguments) -> Application:
    """Return the Serve application. Raises `ConfigError` for settings or a token that cannot be used.

    Tokens are read here, and go on as digests: what Ray keeps of an application holds none.
    """
    batch_bytes()  # replicas and proxies read it later, where an error would be told to nobody
    config = loaded(Path(arguments.config), env=os.environ)
    if isinstance(config.store, SqliteStore):  # a replica's directory is another
        store = config.store.model_copy(update={"path": str(Path(config.store.path).absolute())})
        config = config.model_copy(update={"store": store})
    deployment = serve.deployment(
        name="headrace",
        num_replicas=arguments.replicas,
        # Beyond what the door itself lets in: it refuses in its own words, with the time to wait.
        max_ongoing_requests=2 * _AT_ONCE,
        max_queued_requests=4 * _AT_ONCE,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=2,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=5,
        logging_config={"enable_access_log": False},  # a line a request would cost more than the request
    )(serve.ingress()(Ingress))
    bound: Application = deployment.bind(config, digests(os.environ.get(TOKEN_VARIABLE)))
    return bound


def _host_of_serve() -> str | None:
    # Serve tells nobody publicly where it listens. Should this cease to work, no door opens without a token.
    client = _get_global_client(raise_if_no_controller_running=False)
    return None if client is None else client.http_config.host

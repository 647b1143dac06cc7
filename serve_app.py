"""The HTTP door on Ray Serve: ``serve run serve_app:app``, or ``serve deploy configs/serve.yaml``.

A replica holds nothing that matters: tasks live in named actors that outlive it, and in their store.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve import Application

from cluster.config import HeadraceConfig, SqliteStore, load
from http_api.application import make_application
from http_api.auth import digests
from http_api.gateway import Gateway
from http_api.limits import REQUESTS, STREAMS
from http_api.serving import refuse_to_serve_strangers


class Arguments(BaseModel):
    """What ``serve run serve_app:app config=...`` and the `args` of a Serve configuration may say."""

    model_config = ConfigDict(extra="forbid")

    config: str = Field("configs/serve_demo.yaml", description="the configuration, a YAML file")
    replicas: int = Field(1, ge=1, le=100, description="processes that answer HTTP")


class Ingress:
    """One replica: builds the application in its own process, where its couriers live."""

    def __init__(self, config: HeadraceConfig, tokens: dict[str, str]) -> None:
        refuse_to_serve_strangers(tokens)
        self._config = config
        self._tokens = tokens

    def __serve_build_asgi_app__(self) -> Any:
        """Return the application, for Serve to run."""
        return make_application(self._tokens, lambda: Gateway(self._config))


def app(arguments: Arguments) -> Application:
    """Return the Serve application. Raises `ConfigError` for a configuration or a token that cannot be used.

    Tokens are read here, and go on as digests: what Ray keeps of an application holds none.
    """
    config = load(Path(arguments.config), env=os.environ)
    if isinstance(config.store, SqliteStore):  # a replica's directory is another
        store = config.store.model_copy(update={"path": str(Path(config.store.path).absolute())})
        config = config.model_copy(update={"store": store})
    deployment = serve.deployment(
        name="headrace",
        num_replicas=arguments.replicas,
        # Beyond what the door itself lets in: it refuses in its own words, with the time to wait.
        max_ongoing_requests=2 * (REQUESTS + STREAMS),
        max_queued_requests=4 * (REQUESTS + STREAMS),
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=5,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=5,
    )(serve.ingress()(Ingress))
    return deployment.bind(config, digests(os.environ.get("HEADRACE_API_TOKEN")))

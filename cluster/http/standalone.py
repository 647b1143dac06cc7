"""The HTTP API on a Ray cluster of its own, on this machine: ``python -m cluster.http.standalone CONFIG``.

Prints one JSON line on stdout once it is ready, and ends on SIGINT and SIGTERM. Tasks that were accepted and
have not ended continue when it is started again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Annotated

import orjson
import typer

from actors.core.censor import printable
from actors.core.errors import ConfigError, HeadraceError
from actors.runtime.log_guard import censored
from cluster.config.loading import loaded
from cluster.http.guard.auth import (
    TOKEN_VARIABLE,
    digests,
    refuse_to_serve_strangers,
    refuse_unbounded_heads,
)
from cluster.http.haproxy.settings import haproxy_environment
from cluster.ray.environment import SERVE, resolve, with_defaults
from cluster.ray.private_directory import private_root

_TRIES = 50  # to find a free port


def main(
    config: Annotated[Path, typer.Argument(help="The configuration, a YAML file.")] = Path(
        "configs/serve_demo.yaml"
    ),
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 8000,
    replicas: Annotated[int, typer.Option(min=1, help="Processes that answer HTTP.")] = 1,
) -> None:
    """Serve a configuration over HTTP until Ctrl-C."""
    with contextlib.ExitStack() as used:
        try:
            resolve("local", os.environ)
            settings = loaded(config, env=os.environ)
            refuse_to_serve_strangers(digests(os.environ.get(TOKEN_VARIABLE)), host)
            refuse_unbounded_heads(host, haproxy=settings.http.haproxy)
            os.environ.update(with_defaults(SERVE, os.environ))
            if settings.http.haproxy:
                # A short path: sockets lie below it.
                place = tempfile.TemporaryDirectory(
                    prefix="s-", dir=private_root(), ignore_cleanup_errors=True
                )
                directory = Path(used.enter_context(place))
                os.environ.update(haproxy_environment(os.environ, directory, _free_port(host)))
            _serve(
                config,
                host,
                port or _free_port(host),
                replicas,
                dashboard=settings.cluster.dashboard,
            )
        except HeadraceError as error:
            typer.echo(printable(censored(str(error)), indent=""), err=True)
            raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error


def _serve(config: Path, host: str, port: int, replicas: int, *, dashboard: bool) -> None:
    # Ray and Serve read the environment when they are imported.
    from ray import serve  # noqa: PLC0415

    from cluster.http.serving import Arguments, application  # noqa: PLC0415
    from cluster.ray.session import session  # noqa: PLC0415

    served = application(Arguments(config=str(config), replicas=replicas), host=host)
    # Ray prints the output of workers on stdout, which is for the address alone.
    with contextlib.redirect_stdout(sys.stderr), session("local", dashboard=dashboard) as where:
        typer.echo(f"serving {config} on {where}", err=True)
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):  # after Ray has set its own handler
            signal.signal(number, lambda *_: stop.set())
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": host, "port": port},
            logging_config={"enable_access_log": False},
        )
        serve.run(served, name="headrace", route_prefix="/")
        shown = f"[{host}]" if ":" in host else host
        ready = {"url": f"http://{shown}:{port}", "pid": os.getpid()}
        os.write(1, orjson.dumps(ready) + b"\n")
        stop.wait()
        serve.shutdown()  # type: ignore[no-untyped-call] # Ray's


def _free_port(host: str) -> int:
    """Return a port that is free now: Serve does not accept port 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Outside the range from which the system hands out ports: another process could get the same one.
    for port in (*(20_000 + secrets.randbelow(10_000) for _ in range(_TRIES)), 0):
        with socket.socket(family) as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    raise ConfigError(f"no port can be opened at {host}: name an address of this machine (--host)")


if __name__ == "__main__":
    typer.run(main)

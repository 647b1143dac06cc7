"""Chooses the engine of a run, and runs it for the duration of the run."""

from __future__ import annotations

import contextlib
import enum
import gc
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING

from actors.core.errors import ConfigError
from cluster.ray.environment import resolve
from cluster.ray.job_paths import in_job

if TYPE_CHECKING:
    # These load aiohttp and Ray, which `check` and `schema` do not need.
    from cluster.assembly.topology import Topology
    from cluster.config.model import HeadraceConfig

    Build = Callable[[HeadraceConfig, str], Topology]


class EngineName(enum.StrEnum):
    """The names of the engines. `AUTO` selects one of the others."""

    AUTO = "auto"
    LOCAL = "local"
    RAY = "ray"


def chosen_engine(wanted: EngineName, address: str, env: Mapping[str, str]) -> EngineName:
    """Return the engine that `wanted` selects. Raises `ConfigError` if it contradicts `address`."""
    if wanted is EngineName.LOCAL and address != "auto":
        raise ConfigError(
            f"--address {address} selects Ray, but the engine is local: omit one of the two, "
            "or use --engine ray"
        )
    if wanted is not EngineName.AUTO:
        return wanted
    is_on_ray = address != "auto" or env.get("RAY_ADDRESS") or in_job(env)
    return EngineName.RAY if is_on_ray else EngineName.LOCAL


class LocalEngine:
    """Runs all actors in this process."""

    described = "in this process (the local engine)"

    @contextlib.contextmanager
    def running(self, _: Callable[[str], None]) -> Iterator[Build]:
        """Yield the function that builds the actors."""
        from actors.runtime.startup import settle_in  # noqa: PLC0415 - see above
        from cluster.assembly.local import build  # noqa: PLC0415 - see above

        def settled(config: HeadraceConfig, run_id: str) -> Topology:
            topology = build(config, run_id)
            settle_in()  # else collections take a fifth of a call's processor time
            return topology

        thresholds = gc.get_threshold()
        try:
            yield settled
        finally:  # the process may be a notebook, whose own cycles must be collected
            gc.set_threshold(*thresholds)
            gc.unfreeze()


class RayEngine:
    """Runs the actors on a Ray cluster: that at an address, or one that it starts for this run."""

    def __init__(self, address: str, env: MutableMapping[str, str], *, dashboard: bool) -> None:
        self.address = resolve(address, env)
        self.described = (
            "on a new Ray cluster for this run" if self.address == "local" else f"on Ray at {self.address}"
        )
        self._dashboard = dashboard

    @contextlib.contextmanager
    def running(self, say: Callable[[str], None]) -> Iterator[Build]:
        """Yield the function that builds the actors, while Ray is connected; print its dashboard's URL."""
        # Ray reads the environment when it is imported.
        from cluster.ray.session import session  # noqa: PLC0415

        with session(self.address, dashboard=self._dashboard) as cluster:
            from cluster.assembly.ray import build  # noqa: PLC0415 - see above

            say(f"Ray is up: {cluster}")
            yield lambda config, run_id: build(config, f"headrace-{run_id}", run_id)

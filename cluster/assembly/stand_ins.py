"""Starts the simulators of a configuration that names no real endpoints or sources."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from actors.sources.simulated import SimulatedSettings
from cluster.config.model import HeadraceConfig
from simulators.process import SimulatorProcess


class StandIns:
    """The simulators of a configuration: of a model, of sources, both, or neither."""

    def __init__(
        self, config: HeadraceConfig, llm: SimulatorProcess | None, sources: SimulatorProcess | None
    ) -> None:
        self._config = config
        self._llm = llm
        self._sources = sources

    def addressed(self) -> tuple[HeadraceConfig, tuple[str, ...]]:
        """Return the configuration with the simulators' addresses, and notes for the user.

        Waits until the simulators accept requests. Raises `SimulatorError`.
        """
        config = self._config
        notes: list[str] = []
        if self._llm is not None and config.llm.simulator is not None:
            url = self._llm.announced()
            endpoint = config.llm.simulator.endpoint(url)
            llm = config.llm.model_copy(update={"endpoints": (endpoint,), "simulator": None})
            config = config.model_copy(update={"llm": llm})
            if config.is_map:
                notes.append("answers come from the simulator (model sim)")
            else:
                notes.append(f"no endpoint is configured: answers come from the LLM simulator at {url}")
        if self._sources is not None:
            url = self._sources.announced()
            over_http = _over_http(config)
            sources = tuple(
                source.over_http(url) if source in over_http else source for source in config.sources
            )
            config = config.model_copy(update={"sources": sources})
            names = ", ".join(source.name for source in over_http)
            notes.append(f"simulated sources ({names}) are served from {url}")
        return config, tuple(notes)


@contextlib.contextmanager
def stand_in(config: HeadraceConfig, ports: Mapping[str, int] = {}) -> Iterator[StandIns]:
    """Start the simulators that `config` needs, without waiting until they accept requests.

    `ports` are the ports of the simulators "llm" and "sources"; the default is a free port. The simulators
    are separate processes, and end with this context.
    """
    ports = {"llm": 0, "sources": 0, **ports}
    with contextlib.ExitStack() as running:

        def launched(kind: str, *arguments: str) -> SimulatorProcess:
            simulator = SimulatorProcess(kind, [f"--port={ports[kind]}", *arguments])
            running.callback(simulator.stop)
            simulator.launch()
            return simulator

        simulator = config.llm.simulator
        yield StandIns(
            config,
            None if simulator is None else launched("llm", *simulator.arguments()),
            launched("sources") if _over_http(config) else None,
        )


def _over_http(config: HeadraceConfig) -> list[SimulatedSettings]:
    return [s for s in config.sources if isinstance(s, SimulatedSettings) and s.transport == "http"]

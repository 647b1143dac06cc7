"""Stands simulators in where a configuration names none of the real thing, and says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from actors.sources.simulated import SimulatedSettings
from cluster.config import HeadraceConfig
from simulators.process import SimulatorProcess


@contextlib.contextmanager
def stand_in(
    config: HeadraceConfig, ports: Mapping[str, int] = {}
) -> Iterator[tuple[HeadraceConfig, tuple[str, ...]]]:
    """Start what `config` needs simulated; yield it with real addresses in place, and notes on what was done.

    `ports` gives the simulators of "llm" and "sources" ports to listen on; without one each takes a free one.
    The simulators are processes of their own, and end with this context. Raises `SimulatorError`.
    """
    ports = {"llm": 0, "sources": 0, **ports}
    notes: list[str] = []
    with contextlib.ExitStack() as running:
        simulator = config.llm.simulator
        if simulator is not None:
            url = running.enter_context(
                SimulatorProcess("simulators.llm", [f"--port={ports['llm']}", *simulator.arguments()])
            ).url
            llm = config.llm.model_copy(update={"endpoints": (simulator.endpoint(url),), "simulator": None})
            config = config.model_copy(update={"llm": llm})
            notes.append(f"no endpoint is configured: answers come from the LLM simulator at {url}")
        over_http = [s for s in config.sources if isinstance(s, SimulatedSettings) and s.transport == "http"]
        if over_http:
            url = running.enter_context(
                SimulatorProcess("simulators.sources", [f"--port={ports['sources']}"])
            ).url
            sources = tuple(
                source.over_http(url) if source in over_http else source for source in config.sources
            )
            config = config.model_copy(update={"sources": sources})
            names = ", ".join(source.name for source in over_http)
            notes.append(f"simulated sources ({names}) are served from {url}")
        yield config, tuple(notes)

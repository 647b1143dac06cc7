"""Derives from the configuration which spans the actors export, and what they say about endpoints."""

from __future__ import annotations

import os

from yarl import URL

from actors.core.tracing.spans import TracedEndpoint, TraceRules
from actors.llm.endpoint import EndpointSettings
from actors.runtime.telemetry.logs import log_as_json, log_of_run, wants_json, writes_json
from actors.runtime.telemetry.settings import ActorTelemetry, TraceSettings
from actors.runtime.telemetry.tracer import Tracer
from cluster.assembly.actor_settings import form_name
from cluster.config.kinds.plain import PlainStep
from cluster.config.model import HeadraceConfig

_PROVIDERS = {  # the names of the GenAI semantic conventions, by preset or else by dialect
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "chat": "openai",  # the format of the requests; an own server has no name
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "responses": "openai",
    "vertex": "gcp.vertex_ai",
}


def trace_settings(config: HeadraceConfig, life: str) -> TraceSettings | None:
    """Return what actors need to export spans, None if the configuration wants no traces.

    `life` differs between the lives of a run, and is the same for all actors of one life.
    """
    traces = config.telemetry.traces
    if traces is None:
        return None
    rules = TraceRules(
        life=life,
        sample=traces.sample,
        name=config.name,
        endpoints={one.name: _traced(one) for one in config.llm.endpoints},
        operations={
            form_name(config, step): step.operation
            for step in config.asked_steps
            if isinstance(step, PlainStep)
        },
        content=traces.content,
    )
    return TraceSettings(rules, traces.endpoint, tuple(traces.headers.items()), config.censor())


def actor_telemetry(config: HeadraceConfig, run_id: str, life: str) -> ActorTelemetry:
    """Return what the processes of actors need. Their log has the format of this process."""
    logs_json = writes_json() or wants_json(config.telemetry.log_format, os.environ)
    return ActorTelemetry(trace_settings(config, life), run_id, logs_json)


def set_up(telemetry: ActorTelemetry, instance: str) -> Tracer | None:
    """Set up the log of an actor's process, and return its tracer."""
    log_of_run(telemetry.run_id)
    if telemetry.logs_json:
        log_as_json()
    return open_tracer(telemetry.traces, instance)


def open_tracer(settings: TraceSettings | None, instance: str) -> Tracer | None:
    """Return the tracer of the process or actor `instance`, None without settings."""
    return None if settings is None else Tracer(settings, instance)


def _traced(endpoint: EndpointSettings) -> TracedEndpoint:
    url = URL(endpoint.base_url)
    provider = endpoint.preset or endpoint.dialect
    return TracedEndpoint(endpoint.model, _PROVIDERS.get(provider, provider), url.host or "", url.port or 0)

"""Describes how endpoints are read: what a preset has set, and which files they do not take.

Rule: a key is described by the environment variable that holds it.
"""

from __future__ import annotations

from collections.abc import Iterator

from actors.core.messages.values import Json
from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import EndpointSettings
from actors.llm.presets import presets
from cluster.config.kinds.plain import PlainStep
from cluster.config.model import HeadraceConfig

_QUIRKS = ("max_tokens_as", "system_as", "seed_as", "structured")
_MOST_SHOWN = 3


def recognized(config: HeadraceConfig) -> dict[str, str]:
    """Return the description of each endpoint that has a preset, by the name of the endpoint."""
    stored = config.stored()["llm"]["endpoints"]
    plain = {name: step for step in config.steps if isinstance(step, PlainStep) for name in step.endpoint}
    return {
        endpoint.name: ", ".join(_parts(endpoint, kept, plain.get(endpoint.name)))
        for endpoint, kept in zip(config.llm.endpoints, stored, strict=True)
        if endpoint.preset is not None
    }


def unsent_files(config: HeadraceConfig) -> list[str]:
    """Return a line for each step with `attach` that may use endpoints whose dialect takes only texts."""
    lines = []
    for step in config.asked_steps:
        used = [one for one in config.llm.endpoints if not step.endpoints or one.name in step.endpoints]
        without = [f"{one.name} (dialect {one.dialect})" for one in used if not dialect_of(one).attaches]
        if step.attach and without:
            lines.append(
                f"step {step.name}: an image or a PDF document fails its item at {', '.join(without)}, which "
                "takes only texts; set endpoint of the step to others"
            )
    return lines


def price_in_words(endpoint: EndpointSettings) -> str:
    """Return the price of the endpoint, and whether it is listed by its provider."""
    price = endpoint.known_price
    if price is None or price.is_free:
        return "no price" if price is None else "free"
    source = "" if endpoint.has_own_price else "listed at "
    amounts = f"${price.input_usd_per_mtok:g} in and ${price.output_usd_per_mtok:g} out"
    fee = f", and ${price.request_usd:g} per request" if price.request_usd else ""
    return f"{source}{amounts} per million tokens{fee}"


def _parts(endpoint: EndpointSettings, kept: Json, step: PlainStep | None) -> Iterator[str]:
    preset = presets().get(str(endpoint.preset))
    known = f" of {preset.date}" if preset is not None else ""
    yield f"preset {endpoint.preset}{known}"
    yield f"dialect {endpoint.dialect}"
    dialect = dialect_of(endpoint)
    is_vector = step is not None and step.form(step.name).vector
    plain = dialect.vectors_url() if is_vector else dialect.ranking_url()
    yield f"POST {dialect.url(stream=False) if step is None else plain}"
    if endpoint.credentials is not None:
        yield "key from credentials"
    else:
        key = str(kept.get("api_key", ""))
        yield f"key {key}" if "${" in key else "key written out"
    for name in _QUIRKS:
        if name in kept:
            yield f"{name} {kept[name]}"
    if refused := endpoint.refuses:
        more = f" and {len(refused) - _MOST_SHOWN} more" if len(refused) > _MOST_SHOWN else ""
        yield f"refuses {' '.join(refused[:_MOST_SHOWN])}{more}"

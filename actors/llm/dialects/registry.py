"""Finds the dialect of an endpoint by its name: built in, or of a plug-in."""

from __future__ import annotations

from collections.abc import Mapping

from actors.core.censor import NO_SECRETS, Censor
from actors.llm.dialects.anthropic import AnthropicDialect
from actors.llm.dialects.azure import AzureDialect
from actors.llm.dialects.bedrock import BedrockDialect
from actors.llm.dialects.chat import ChatDialect
from actors.llm.dialects.cohere import CohereDialect
from actors.llm.dialects.dialect import Dialect
from actors.llm.dialects.gemini import GeminiDialect
from actors.llm.dialects.responses import ResponsesDialect
from actors.llm.endpoint import Endpoint, EndpointSettings
from actors.llm.forms import AnswerForm
from actors.llm.http_endpoint import HttpEndpoint
from actors.llm.requests.attachments import AttachmentReader
from actors.runtime.plugins import PluginGroup, plugin_class

_BUILT_IN: dict[str, type[Dialect]] = {
    "anthropic": AnthropicDialect,
    "azure": AzureDialect,
    "bedrock": BedrockDialect,
    "chat": ChatDialect,
    "cohere": CohereDialect,
    "gemini": GeminiDialect,
    "responses": ResponsesDialect,
}


def dialect_names() -> tuple[str, ...]:
    """Return the names of the dialects that are built in."""
    return tuple(_BUILT_IN)


def dialect_class(name: str) -> type[Dialect]:
    """Return the class of the dialect `name`.

    Raises `UnknownPluginError` or `BrokenPluginError` if it is not built in and no package adds it.
    """
    return _BUILT_IN.get(name) or plugin_class(PluginGroup.DIALECTS, name, Dialect)  # type: ignore[type-abstract] # a subclass is made


def dialect_of(settings: EndpointSettings) -> Dialect:
    """Return the dialect of the endpoint with these settings. Raises the errors of `dialect_class`."""
    return dialect_class(settings.dialect)(settings)


def open_endpoint(
    settings: EndpointSettings,
    forms: Mapping[str, AnswerForm],
    censor: Censor = NO_SECRETS,
    attachments: AttachmentReader | None = None,
) -> Endpoint:
    """Return the endpoint with these settings. `forms`: all forms that attempts may name."""
    return HttpEndpoint(dialect_of(settings), forms, censor=censor, attachments=attachments)

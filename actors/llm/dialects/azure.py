"""The dialect `azure`: chat completions of Azure OpenAI, where the model is the name of a deployment.

With ``api-version`` in `query`, the URL names the deployment. Without it, the URL is that of the API v1,
which has no versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote

from msgspec.structs import replace

from actors.core.errors import FailureKind
from actors.llm.dialects.chat import PATH, ChatDialect
from actors.llm.endpoint import JSON
from actors.llm.requests import vectors
from actors.llm.translate import ErrorReport

_V1 = "/openai/v1"
_DEPLOYMENTS = "/openai/deployments/"
_VERSION = "api-version"
_FILTERED = frozenset({"content_filter", "responsibleaipolicyviolation"})


class AzureDialect(ChatDialect):
    """Chat completions of Azure OpenAI. `base_url` may be the resource, or end with a part of the path."""

    lists_model: ClassVar[bool] = False  # the list has models and no deployments

    def url(self, *, stream: bool) -> str:  # noqa: ARG002 - streams have the same URL
        """Return the URL of requests."""
        return self._at(PATH)

    def vectors_url(self) -> str | None:
        """Return the URL of embeddings."""
        return self._at(vectors.PATH)

    def ranking_url(self) -> str | None:
        """Return None: Azure OpenAI has no models that rank."""
        return None

    def _at(self, path: str) -> str:
        base = self._base_url
        if base.endswith(_V1) or _DEPLOYMENTS in base:
            return base + path
        if not self._is_dated:
            return self._resource + _V1 + path
        return f"{self._resource}{_DEPLOYMENTS}{quote(self.settings.model, safe='')}{path}"

    def models_url(self) -> str | None:
        """Return the URL of the list of models of the resource."""
        return f"{self._resource}/openai/models" if self._is_dated else f"{self._resource}{_V1}/models"

    @property
    def sees_schema(self) -> bool:
        """Whether requests carry a schema. Azure shows it to the models of OpenAI."""
        return self.settings.structured != JSON

    def key_header(self, key: str) -> tuple[str, str]:
        """Return the header of the key."""
        return "api-key", key

    def error(self, status: int, headers: Mapping[str, str], body: bytes, wall_now: float) -> ErrorReport:
        """Read an error. A prompt that the content filter blocks is the fault of its item."""
        report = super().error(status, headers, body, wall_now)
        return replace(report, kind=FailureKind.PERMANENT) if _FILTERED & {*report.codes} else report

    @property
    def _resource(self) -> str:
        return self._base_url.partition("/openai")[0]

    @property
    def _is_dated(self) -> bool:
        return _VERSION in self.settings.query and not self._base_url.endswith(_V1)

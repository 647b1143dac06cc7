"""The dialect `cohere`: chat completions by Cohere's Compatibility API, its own embeddings and rankings.

Source: the package cohere 7.3.1; documentation, "Using Cohere models via the OpenAI SDK".
"""

from __future__ import annotations

from typing import ClassVar

from actors.core.messages.values import Json
from actors.llm.dialects.chat import PATH, ChatDialect
from actors.llm.dialects.dialect import ParsedAnswer, PreparedForm
from actors.llm.dialects.reading import loaded, member
from actors.llm.forms import AnswerForm
from actors.llm.requests.vectors import PreparedVector, read_vector

_CHAT, _EMBED, _RERANK = "/compatibility/v1" + PATH, "/v2/embed", "/v2/rerank"
# A vector needs a purpose. As numbers it would be four times as long.
_USUAL: dict[str, Json] = {"input_type": "search_document", "embedding_types": ["base64"]}


class CohereDialect(ChatDialect):
    """Cohere's API. `base_url` is that of all its versions."""

    lists_model: ClassVar[bool] = False  # the list has pages

    def url(self, *, stream: bool) -> str:  # noqa: ARG002 - streams have the same URL
        """Return the URL of requests."""
        return self.settings.base_url + _CHAT

    def vectors_url(self) -> str | None:
        """Return the URL of embeddings."""
        return self.settings.base_url + _EMBED

    def ranking_url(self) -> str | None:
        """Return the URL of rankings."""
        return self.settings.base_url + _RERANK

    def models_url(self) -> str | None:
        """Return the URL of the list of models."""
        return self.settings.base_url + "/v1/models"

    def prepare(self, form: AnswerForm) -> PreparedForm:
        """Prepare requests of `form`."""
        if not form.vector:
            return super().prepare(form)
        given = {**_USUAL, **self.parameters(form), "model": self.settings.model}
        names = {"dimensions": "output_dimension"}
        members = {names.get(name, name): value for name, value in given.items()}
        return PreparedVector.around(form, members, b'"texts":[', b"]")

    def read(self, form: AnswerForm, body: bytes) -> ParsedAnswer:
        """Read an answer."""
        if not form.vector:
            return super().read(form, body)
        document = loaded(body)
        if isinstance(document, ParsedAnswer):
            return document
        vector: Json = None
        match document.get("embeddings"):
            case {"base64": [found, *_]} | {"float": [found, *_]}:
                vector = found
        count = member(document, "meta", "billed_units", "input_tokens")
        # Cohere reports counts as numbers with a fraction.
        whole = int(count) if isinstance(count, float) and count.is_integer() else count
        return read_vector(form, vector, whole, document.get("message"))

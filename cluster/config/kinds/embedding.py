"""The keys of a step that asks a model for a vector of a text."""

from __future__ import annotations

from operator import not_
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from actors.core.messages.values import Json
from actors.llm.fields import ColumnSpec, VectorField
from actors.llm.forms import AnswerForm
from cluster.config.base import FieldName, Prompt
from cluster.config.kinds.plain import PlainStep

EMBEDDING = "embedding"


class EmbeddingStep(PlainStep):
    """A step whose answer is a vector."""

    does: ClassVar[str] = "makes vectors"
    operation: ClassVar[str] = "embeddings"
    kind: Literal["embedding"]
    name: Annotated[FieldName, Field(description="names the step and the column of its vectors")] = EMBEDDING
    input: Annotated[
        Prompt, Field(description="template of the text: {key} {text} {source} {id} {fields}, and params")
    ]
    dimensions: Annotated[
        int | None,
        Field(ge=1, le=65_536, exclude_if=not_, description="length of a vector; none: the model's"),
    ] = None

    @property
    def column(self) -> ColumnSpec:
        """The type of the column."""
        return VectorField(type="vector", dimensions=self.dimensions)

    @property
    def templates(self) -> dict[str, str]:
        """The templates of its texts, by key."""
        return {"input": self.input}

    @property
    def parameters(self) -> dict[str, Json]:
        """The members that are added to the request's body."""
        return {**self.params, **({"dimensions": self.dimensions} if self.dimensions else {})}

    def form(self, name: str) -> AnswerForm:
        """Return the form of its answers, with this name."""
        return AnswerForm(name, {}, self.max_tokens, parameters=self.parameters, vector=self.name)

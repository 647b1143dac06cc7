"""The keys of a step that asks a model for a vector of a text."""

from __future__ import annotations

from collections.abc import Mapping
from operator import not_
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, computed_field, model_validator

from actors.core.messages.values import Json
from actors.llm.fields import VectorField
from cluster.config.answer_fields import STORED
from cluster.config.base import FieldName, Name, Prompt, Section, as_tuple
from cluster.config.kinds.step import When

EMBEDDING = "embedding"


class EmbeddingStep(Section):
    """A step whose answer is a vector, in a column with the name of the step."""

    kind: Literal["embedding"]
    name: Annotated[FieldName, Field(description="names the step and the column of its vectors")] = EMBEDDING
    input: Annotated[
        Prompt, Field(description="template of the text: {key} {text} {source} {id} {fields}, and params")
    ]
    when: When = None
    endpoint: Annotated[
        tuple[Name, ...],
        BeforeValidator(as_tuple, json_schema_input_type=Name | tuple[Name, ...]),
        Field(
            min_length=1,
            max_length=100,
            description="the endpoint that is asked, or a list; no other step asks them",
        ),
    ]
    dimensions: Annotated[
        int | None,
        Field(ge=1, le=65_536, exclude_if=not_, description="length of a vector; none: the model's"),
    ] = None
    params: Annotated[
        dict[str, Json],
        Field(max_length=100, exclude_if=not_, description="members that are added to the request's body"),
    ] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _output_follows(cls, value: Any, info: ValidationInfo) -> Any:
        if info.context == STORED and isinstance(value, Mapping):
            return {key: given for key, given in value.items() if key != "output"}
        return value

    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorated properties
    @property
    def output(self) -> dict[str, VectorField]:
        """The column, as that of a step that asks for fields."""
        return {self.name: VectorField(type="vector", dimensions=self.dimensions)}

    @property
    def prompt(self) -> str:
        """The template of the text."""
        return self.input

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The names of the endpoints that are asked."""
        return self.endpoint

    @property
    def parameters(self) -> dict[str, Json]:
        """The members that are added to the request's body."""
        return {**self.params, **({"dimensions": self.dimensions} if self.dimensions else {})}

    # A step that asks for fields has these as keys.

    @property
    def system(self) -> None:
        """There is no system message."""

    @property
    def attach(self) -> tuple[str, ...]:
        """No files are sent."""
        return ()

    @property
    def reask(self) -> int:
        """A vector that does not fit is asked for once more: the endpoint may have failed."""
        return 1

    @property
    def max_tokens(self) -> int:
        """A vector is no text, and is not billed as output."""
        return 1

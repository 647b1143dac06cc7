"""The keys of steps whose model gets texts without instructions, and answers with numbers."""

from __future__ import annotations

from collections.abc import Mapping
from operator import not_
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, ValidationInfo, computed_field, model_validator

from actors.core.messages.values import Json
from actors.llm.fields import ColumnSpec
from actors.llm.forms import AnswerForm
from cluster.config.answer_fields import STORED
from cluster.config.base import Name, Section, as_tuple
from cluster.config.kinds.step import When


class PlainStep(Section):
    """A step with one column, which has its name. No other step asks its endpoints.

    does: what its endpoints do, for messages. operation: the name of its calls in traces.
    """

    does: ClassVar[str]
    operation: ClassVar[str]
    name: str
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
    def output(self) -> dict[str, ColumnSpec]:
        """The column, as that of a step that asks for fields."""
        return {self.name: self.column}

    @property
    def column(self) -> ColumnSpec:
        """The type of the column."""
        raise NotImplementedError

    @property
    def templates(self) -> dict[str, str]:
        """The templates of its texts, by key."""
        raise NotImplementedError

    def form(self, name: str) -> AnswerForm:
        """Return the form of its answers, with this name."""
        raise NotImplementedError

    @property
    def prompt(self) -> str:
        """The first of the templates."""
        return next(iter(self.templates.values()))

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The names of the endpoints that are asked."""
        return self.endpoint

    @property
    def parameters(self) -> dict[str, Json]:
        """The members that are added to the request's body."""
        return self.params

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
        """An answer that does not fit is asked for once more: the endpoint may have failed."""
        return 1

    @property
    def max_tokens(self) -> int:
        """Numbers are no text, and are not billed as output."""
        return 1

"""The keys of a step that asks a model how relevant documents are to a query."""

from __future__ import annotations

from operator import not_
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from actors.core.messages.values import Json
from actors.core.task.ranking import MOST_DOCUMENTS
from actors.llm.fields import ArrayField, ColumnSpec, NumberField
from actors.llm.forms import AnswerForm
from cluster.config.base import FieldName, Prompt
from cluster.config.kinds.plain import PlainStep

RERANK, RELEVANCE = "rerank", "relevance"
_BOUNDS = ("top_n", "top_k")


class RerankStep(PlainStep):
    """A step whose answer is the relevance of a document, or that of each document in a list."""

    does: ClassVar[str] = "ranks documents"
    operation: ClassVar[str] = "rerank"
    kind: Literal["rerank"]
    name: Annotated[FieldName, Field(description="names the step and its column")] = RELEVANCE
    query: Annotated[
        Prompt, Field(description="template of the query: {key} {text} {source} {id} {fields}, and params")
    ]
    document: Annotated[
        Prompt | None,
        Field(exclude_if=not_, description="template of the document; the column is a number"),
    ] = None
    documents: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=1000,
            exclude_if=not_,
            description="column or field with a list of documents, in place of document; gives a list",
        ),
    ] = None

    @field_validator("params")
    @classmethod
    def _ranks_all(cls, value: dict[str, Json]) -> dict[str, Json]:
        for name in _BOUNDS:
            if name in value:
                raise ValueError(f"must not contain {name}: every document has a relevance")
        return value

    @model_validator(mode="after")
    def _has_documents(self) -> Self:
        if (self.document is None) == (self.documents is None):
            raise ValueError("set either document, a template, or documents, a column with a list")
        return self

    @property
    def column(self) -> ColumnSpec:
        """The type of the column."""
        number = NumberField(type="number")
        if self.documents is None:
            return number
        return ArrayField(type="array", items=number, max_items=MOST_DOCUMENTS)

    @property
    def templates(self) -> dict[str, str]:
        """The templates of its texts, by key."""
        return {"query": self.query, **({} if self.document is None else {"document": self.document})}

    def form(self, name: str) -> AnswerForm:
        """Return the form of its answers, with this name."""
        is_list = self.documents is not None
        return AnswerForm(
            name, {}, self.max_tokens, parameters=self.params, ranking=self.name, is_list=is_list
        )

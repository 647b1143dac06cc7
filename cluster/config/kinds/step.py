"""The keys of a step that computes fields of an item without a model, which plug-ins add."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from operator import not_
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, computed_field, model_validator
from pydantic_core import SchemaValidator

from actors.core.errors import ConfigError, text_of
from actors.core.messages.values import Json
from actors.core.task.columns import parse_entry
from actors.llm.fields import FieldSpec, in_words, object_validator, shown
from cluster.config.base import FieldName, Section

When = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=1000,
        exclude_if=not_,
        description="condition on the fields of earlier steps; if it is false the step is not asked",
    ),
]
_FIELDS: TypeAdapter[dict[str, FieldSpec]] = TypeAdapter(dict[str, FieldSpec])


class ComputedStep(Section):
    """The keys of every kind of computed step.

    A plug-in adds a `kind` literal, its own keys, `columns` and `compute`. An instance is pickled: on a
    cluster, the package of the plug-in is installed on every node.
    """

    name: Annotated[FieldName, Field(description="names the step; later steps use `{name.field}`")]
    kind: str
    when: When = None

    def columns(self) -> Mapping[str, str]:
        """Return the type of each computed field by name, in the column grammar, such as ``int``."""
        raise NotImplementedError

    def compute(self, item: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return the fields of an item. Equal items have equal fields, in every process.

        `item` holds the item's values, and those of earlier steps as ``step.field``. It must not be changed.
        An exception fails the item, with its type and text as the cause.
        """
        raise NotImplementedError

    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorated properties
    @property
    def output(self) -> dict[str, FieldSpec]:
        """The fields, as those of a step that asks a model."""
        return _FIELDS.validate_python(dict(parse_entry(name, text) for name, text in self.columns().items()))

    @model_validator(mode="after")
    def _has_columns(self) -> ComputedStep:
        try:
            named = self.output
        except Exception as error:
            kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
            raise ValueError(f"columns of the kind {self.kind}: {kind}{text_of(error)}") from error
        if not named:
            raise ValueError(f"the kind {self.kind} names no columns")
        return self

    def values_of(self, item: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return the fields of an item. Raises `ConfigError` for a field that is not as it is declared."""
        found = self.compute(item)
        try:
            values: Mapping[str, Json] = self.validator.validate_python(found, strict=True)
        except ValidationError as error:
            name = str(next(iter(error.errors()[0]["loc"]), ""))
            if name not in self.output:
                raise ConfigError(f"compute returned {found!r:.200}, no mapping of fields") from None
            value = f"is {shown(found[name])}" if name in found else "is missing"
            raise ConfigError(f"field {name} {value}; it must be {in_words(self.output[name])}") from None
        return values

    @cached_property
    def validator(self) -> SchemaValidator:
        """The check of the fields, which is made once a process."""
        return SchemaValidator(object_validator(self.output))

    def __getstate__(self) -> dict[Any, Any]:
        """Leave out the validator, which cannot be pickled."""
        state = super().__getstate__()
        own = {name: value for name, value in state["__dict__"].items() if name in type(self).model_fields}
        return {**state, "__dict__": own}

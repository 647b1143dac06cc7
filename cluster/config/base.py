"""Base class, shared types and shared checks of the sections of the configuration.

Rule 1: a check between two keys belongs to the later one, and runs if the earlier one is valid by itself.
Rule 2: a check names the place of every problem that it finds, not only of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

NOT_HERE = "not_here"  # the kind of a problem that lies in other keys than the one that it names


class Section(BaseModel):
    """A mapping of the configuration: it is frozen, refuses unknown keys and shows no value in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def problem_at(message: str, *loc: str | int, shows_value: bool = True) -> InitErrorDetails:
    """Return a problem at `loc`, relative to the key whose validator finds it.

    Without `shows_value` the message does not repeat the value, which is right: another one is missing.
    """
    # pydantic would replace braces in the message itself.
    return InitErrorDetails(
        type=PydanticCustomError("cross_check" if shows_value else NOT_HERE, "{m}", {"m": message}),
        loc=loc,
        input=None,
    )


def raise_all(problems: Sequence[InitErrorDetails]) -> None:
    """Raise `problems` from a validator, if there are any."""
    # A ValidationError keeps the locations of all problems. A ValueError has one message and no location.
    if problems:
        raise ValidationError.from_exception_data("config", [*problems])


def repeated(keys: Iterable[str], what: str, *within: str) -> list[InitErrorDetails]:
    """Return a problem for each repeated entry of `keys`, at its index and the key `within` it."""
    listed = list(keys)
    first = {key: index for index, key in reversed(list(enumerate(listed)))}
    return [
        problem_at(f"{what} {key!r} is taken by entry {first[key]} already", index, *within)
        for index, key in enumerate(listed)
        if first[key] != index
    ]


def as_tuple(value: Any) -> Any:
    """Return a text or a list as a tuple, which is all that strict mode accepts from a validator."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
LocalPath = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
Prompt = Annotated[str, Field(min_length=1, max_length=100_000)]
Rate = Annotated[int, Field(ge=1, le=1_000_000_000)]

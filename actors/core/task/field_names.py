"""Finds the field of an answer that a condition, a dimension or a prompt names."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

UNNAMED_STEP = "evaluate"  # the name of a single step that the configuration does not name
MOST_NAMED = 20  # names in a message
Fields: TypeAlias = Mapping[str, Collection[str]]  # the names of the fields of each step, by its name


def find_field(name: str, fields: Fields) -> tuple[str, str]:
    """Return the step and the field that `name` means: ``step.field``, or ``field`` if one step has it.

    Raises ValueError, with the nearest name, if no step or several steps have the field.
    """
    step, _, field = name.rpartition(".")
    if field in fields.get(step, ()):
        return step, field
    found = [step for step in fields if name in fields[step]]
    if len(found) == 1:
        return found[0], name
    if found:
        raise ValueError(
            f"several steps have a field {name}; write {' or '.join(f'{s}.{name}' for s in found)}"
        )
    known = [*dict.fromkeys(field for each in fields.values() for field in each), *dotted(fields)]
    raise ValueError(f"{name} is no field of an earlier step{suggestion(name, known)}")


def dotted(fields: Fields) -> tuple[str, ...]:
    """Return ``step.field`` for all fields."""
    return tuple(f"{step}.{field}" for step, names in fields.items() for field in names)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return words about the name that may have been meant, or about all of them, to follow a message."""
    listed = sorted(known)
    plain = {other.rpartition(".")[2].casefold(): other for other in reversed(listed)}
    plain |= {other.casefold(): other for other in reversed(listed)}
    meant = plain.get(name.strip().casefold()) or next(iter(difflib.get_close_matches(name, listed, 1)), None)
    if meant is not None:
        return f"; did you mean {meant}?"
    rest = len(listed) - MOST_NAMED
    return f"; known: {', '.join(listed[:MOST_NAMED]) or 'nothing'}{f' and {rest} more' if rest > 0 else ''}"

"""Compares values of a stored configuration with those of the present one."""

from __future__ import annotations

import re

from actors.core.messages.values import Json

_MASK = "**********"
# A reference to an environment variable, or the mask of a secret.
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}|" + re.escape(_MASK))


def is_reference(value: Json) -> bool:
    """Return whether `value` is a text with a reference to the environment or a masked secret."""
    return isinstance(value, str) and _PLACEHOLDER.search(value) is not None


def is_same_value(before: Json, after: Json, *, in_clear: bool) -> bool:
    """Return whether `after` is equivalent to `before`.

    `in_clear`: `before` was stored in the first format, which contains the values of environment variables
    instead of references. Then the values are the same if the rest of the text is. Otherwise a reference is
    the same only as a masked secret: the comparison would miss, for example, another model.
    """
    if before == after:
        return True
    if not (isinstance(before, str) and isinstance(after, str)) or "${" in before or not is_reference(after):
        return False
    if before == _MASK or not in_clear:
        return before == _MASK
    fixed = map(re.escape, _PLACEHOLDER.split(after))
    return re.fullmatch(".*".join(fixed), before, re.DOTALL) is not None

"""When two values of a stored configuration say the same."""

from __future__ import annotations

import re

from actors.core.messages.values import Json

_MASK = "**********"
# What stands for something else: a reference to the environment, and the mask of a secret.
_STANDS_IN = re.compile(r"\$\{[^}]*\}|" + re.escape(_MASK))


def is_reference(value: Json) -> bool:
    """Return whether `value` is a text that refers to the environment, or hides a secret."""
    return isinstance(value, str) and _STANDS_IN.search(value) is not None


def is_same_value(before: Json, after: Json, *, in_clear: bool) -> bool:
    """Return whether `after` says what `before` says.

    `in_clear`: `before` was stored by the first edition, with the values of environment variables where a
    reference stands now. Such a value is the same where the rest of its text is. Otherwise only a hidden
    secret is the same as a reference: another model would be accepted silently.
    """
    if before == after:
        return True
    if not (isinstance(before, str) and isinstance(after, str)) or "${" in before or not is_reference(after):
        return False
    if before == _MASK or not in_clear:
        return before == _MASK
    fixed = map(re.escape, _STANDS_IN.split(after))
    return re.fullmatch(".*".join(fixed), before, re.DOTALL) is not None

"""Pickles messages without asking each whether it has a way of its own to be pickled.

That question costs as much as the pickling: a message of two structs takes 1.4 us this way, 2.2 us by
`pickle.dumps`. What comes out is read by plain `pickle.loads`.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

from msgspec import Struct


class _Reducers(dict[type, Callable[[Any], str | tuple[Any, ...]]]):
    """How each class of struct is taken apart, found out when the first of its objects comes by."""

    def __missing__(self, cls: type) -> Callable[[Any], str | tuple[Any, ...]]:
        if not issubclass(cls, Struct):
            raise KeyError(cls)  # pickle then asks the object itself
        self[cls] = cls.__reduce__
        return self[cls]


_reducers = _Reducers()


def dumps(message: object) -> bytes:
    """Return `message` pickled, by protocol 5. Raises whatever keeps it from being pickled."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 5)
    pickler.dispatch_table = _reducers
    pickler.dump(message)
    return buffer.getvalue()

"""Computes the keys of calls, under which their answers are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from actors.core.messages.values import Json
from actors.core.task.templates import as_json


class CallKeys:
    """Computes the keys of calls. The part that is common to all calls of a run is hashed once.

    A key is the SHA-256 of the call's canonical form: every part, preceded by its length. The lengths make
    the form unambiguous: no text in a part can imitate the beginning of the next one. `parameters` are
    written as JSON with sorted keys. Raises ValueError if they are not JSON.
    """

    __slots__ = ("_prefix",)

    def __init__(self, run_id: str, model: str, parameters: Mapping[str, Json]) -> None:
        # The first part is the version of the form: a later form must not produce the keys of this one.
        common = _measured("headrace-call-1", run_id, model, as_json("parameters", dict(parameters)))
        self._prefix = hashlib.sha256(common)

    def key(  # noqa: PLR0917 - the order of the parts is that of the canonical form
        self, task: str, item: str, stage: str, dimension: str, prompt: str, attachments: Sequence[str] = ()
    ) -> str:
        """Return the call's key: 64 hexadecimal digits. A call without an item or a dimension passes ''."""
        digest = self._prefix.copy()
        digest.update(_measured(task, item, stage, dimension, prompt, *attachments))
        return digest.hexdigest()


def content_keys(model: str, parameters: Mapping[str, Json], served_at: str) -> CallKeys:
    """Return the keys that equal calls of all runs share. `served_at` says where they are answered."""
    return CallKeys(served_at, model, parameters)


def _measured(*parts: str) -> bytes:
    # A lone surrogate is not valid UTF-8. Replacing it would give different texts the same key.
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join([b"%d:%b" % (len(part), part) for part in encoded])

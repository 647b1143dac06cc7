"""Messages between a pipeline and the dispatcher: a question to a model, and its answer."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from actors.core.errors import Failure
from actors.core.messages.values import CallCounts, Json, Priority, Usage


class Call(Struct, frozen=True):
    """Pipeline to dispatcher: one question to the model.

    `form` names the shape of the answer (known to the clients by their settings). `tokens` is an estimate of
    input plus output, and `output_tokens` the part of it that the answer may take. `content` names equal
    calls of all tasks and runs, and is empty where each is to have an answer of its own.
    """

    key: str
    form: str
    prompt: str
    tokens: int
    task: str
    tenant: str = ""
    priority: Priority = Priority.BATCH
    expires_in_s: float = 600.0
    run_id: str = ""
    content: str = ""
    output_tokens: int = 0


class Correction(Struct, frozen=True):
    """An answer that did not fit, and what was wrong with it: asked again with both."""

    answer: str
    problem: str


class Completion(Struct, frozen=True):
    """Dispatcher to pipeline: the end of a call. Either `values` (the fitting answer) or `error` is set."""

    key: str
    values: Mapping[str, Json] | None
    error: Failure | None
    usage: Usage
    counts: CallCounts

"""Messages between a pipeline and the dispatcher: a question to a model, and its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from actors.core.errors import Failure
from actors.core.messages.values import CallCounts, Json, Priority, Usage

_OVERHEAD = 256  # bytes of a message besides its texts


class Call(Struct, frozen=True):
    """Pipeline to dispatcher: one question to the model.

    `form` names the required form of the answer; the clients' settings define it. `tokens` is an estimate of
    input and output, and `output_tokens` is the part for the answer. `content` identifies equal calls across
    tasks and runs; it is empty if answers must not be shared. `endpoints` names the endpoints that may answer
    the call; if it is empty, every endpoint may. `attachments` are the paths and URLs of files that are sent
    with the prompt; the client reads them.
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
    endpoints: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The approximate number of bytes of the message."""
        return question_size(self.prompt, self.attachments)


def question_size(prompt: str, attachments: Sequence[str]) -> int:
    """Return the approximate number of bytes of a message with a question."""
    return len(prompt) + sum(map(len, attachments)) + _OVERHEAD


class Drain(Struct, frozen=True):
    """Driver to dispatcher: begin no more attempts. Answered by `Done` once no attempt is in flight."""


class SaveHistory(Struct, frozen=True):
    """Driver to dispatcher: store the history of the run. Answered by `Done`, after 2 s at most."""


class Correction(Struct, frozen=True):
    """An unusable answer and the problem with it. The next attempt sends both to the model."""

    answer: str
    problem: str


class Completion(Struct, frozen=True):
    """Dispatcher to pipeline: the end of a call. Either `values` (the answer) or `error` is set."""

    key: str
    values: Mapping[str, Json] | None
    error: Failure | None
    usage: Usage
    counts: CallCounts

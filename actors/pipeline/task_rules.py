"""The rules by which tasks are run, and the state of a running task."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from actors.core.messages.calls import Completion
from actors.core.messages.journal import Accepted
from actors.core.messages.tasks import Submit, Task
from actors.core.messages.values import CallCounts, Json, Usage
from actors.core.task.attachments import AttachmentRules
from actors.core.task.dimensions import DimensionSettings
from actors.core.task_names import given_name
from actors.core.tracing.task_trace import TaskTrace
from actors.pipeline.steps import Computation

EVALUATE, SYNTHESIZE = "evaluate", "synthesize"  # the forms of a single unnamed step and of findings


class StepRules(Struct, frozen=True):
    """One question about every item, or a step that computes its fields without a model: `computation`.

    form: the name of the form of its answer. fields: the names of the answer's fields.
    model, parameters: what determines the answer besides the form and the prompt. They are part of the keys
    of its calls.
    when: the condition over earlier fields under which the step is asked, None for always.
    endpoints: the names of the endpoints that may answer, empty for all.
    served_at: their addresses; see `content_keys`.
    attach: the fields of an item whose values are locations of files to send with the prompt.
    files: the rules for these files.
    is_plain: whether the text of an item is used in full and without quotes.
    document, documents: of a ranking, whose query is `prompt`: the template of the only document, or the name
    of the column with a list of them. Empty for other steps.
    """

    name: str
    form: str
    prompt: str
    max_tokens: int
    model: str = ""
    parameters: Mapping[str, Json] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    when: str | None = None
    endpoints: tuple[str, ...] = ()
    served_at: str = ""
    computation: Computation | None = None
    attach: tuple[str, ...] = ()
    is_plain: bool = False
    files: AttachmentRules = AttachmentRules()
    document: str = ""
    documents: str = ""


class TaskRules(Struct, frozen=True):
    """The part of the configuration that tasks are run by.

    model, call_parameters: part of the keys of the calls about findings.
    served_at: the addresses of all endpoints; see `content_keys`.
    is_map: whether each task is its own single item, because there are no sources.
    keeps_text: whether reports hold the texts of the items.
    share_answers: whether equal calls of all tasks and runs share an answer (``llm.cache``).
    form_tokens: approximate tokens that a question takes besides its prompt, by the name of its form.
    finding_endpoints: the names of the endpoints that may write findings, empty for all.
    """

    dimensions: tuple[DimensionSettings, ...]
    steps: tuple[StepRules, ...]
    synthesize_tokens: int
    model: str
    call_parameters: Mapping[str, Json]
    required_sources: frozenset[str]
    task_deadline_s: float
    is_map: bool = False
    keeps_text: bool = False
    share_answers: bool = False
    served_at: str = ""
    form_tokens: Mapping[str, int] = field(default_factory=dict)
    max_collected_bytes: int = 2**25
    finding_endpoints: tuple[str, ...] = ()


class TaskJob(Struct):
    """A running task, with the totals of its calls. `deadline` is a time on the clock of this process.

    `trace` follows it if its trace is exported.
    """

    submit: Submit
    known: Accepted
    deadline: float
    counts: CallCounts = field(default_factory=CallCounts)
    usage: Usage = field(default_factory=Usage)
    trace: TaskTrace | None = None

    @property
    def key(self) -> str:
        """The task's key."""
        return self.submit.task.key

    @property
    def asked(self) -> Task:
        """The task under the name that its caller gave it, which sources and prompts use."""
        task = self.submit.task
        return replace(task, key=given_name(task.key))

    def add(self, completion: Completion) -> None:
        """Add the counts and the usage of a call."""
        self.counts += completion.counts
        self.usage += completion.usage

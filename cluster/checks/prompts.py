"""Renders the prompts of tasks without a call, for people who check them.

Rule: a prompt is rendered by the code that renders it in a run. Angle brackets stand for values that only a
run can know: the answer to an earlier step, and the text of an item that a source returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from actors.core.messages.tasks import Item, Task
from actors.core.messages.values import Json
from actors.core.task.prompts import EVALUATE_NAMES, own_item
from actors.core.task.templates import NullValueError, compile_template
from actors.llm.requests.attachments import shown
from actors.pipeline.step_question import StepQuestion, step_questions
from cluster.assembly.actor_settings import asked_forms, task_rules
from cluster.config.kinds.rerank import RerankStep
from cluster.config.kinds.step import ComputedStep
from cluster.config.model import HeadraceConfig
from cluster.config.steps import AskedStep

_FETCHED = EVALUATE_NAMES - {"key"}


@dataclass(frozen=True, slots=True)
class ShownPrompt:
    """A prompt. `text` is None for a row that is not asked; `notes` say why, and what is not known yet.

    attachments: the locations of the files to send, as errors show them.
    """

    task: str
    step: str
    system: str | None
    text: str | None
    notes: tuple[str, ...]
    attachments: tuple[str, ...] = ()


def prompts_of(config: HeadraceConfig, task: Task) -> Iterator[ShownPrompt]:
    """Yield the prompts about a task: of each step, in order. Raises ValueError as `Template.fill` does."""
    forms = iter(asked_forms(config))
    for step, question in zip(config.steps, step_questions(task_rules(config)), strict=True):
        if isinstance(step, ComputedStep):
            continue
        form = next(forms)
        answers: dict[str, dict[str, Json]] = {}
        for name, (of_step, field) in question.fields.items():
            answers.setdefault(of_step, {})[field] = f"<{name}>"
        notes = list(_notes(config, step, question))
        text: str | None = None
        files = tuple(f"<{name}>" for name in step.attach)
        item = own_item(task) if config.is_map else _some_item(config, step)
        try:
            text = form.preface + question.prompt(task, item, answers)
            files = question.attachments(task, item) if config.is_map else files
        except NullValueError as error:
            notes.append(f"skipped, without a call: {error}")
        attached = tuple(map(shown, files))
        yield ShownPrompt(task.key, step.name, form.instructions, text, tuple(notes), attached)


def _some_item(config: HeadraceConfig, step: AskedStep) -> Item:
    names = " or ".join(source.name for source in config.sources)
    fields: dict[str, Json] = {"<name>": "<value>"}
    if isinstance(step, RerankStep) and step.documents is not None:
        fields = {step.documents: [f"<a document of {step.documents}>"]}
    return Item("<id>", f"<{names}>", f"<the text of an item from {names}>", fields)


def _notes(config: HeadraceConfig, step: AskedStep, question: StepQuestion) -> Iterator[str]:
    if step.when is not None:
        yield f"asked if {step.when}"
    if question.fields:
        yield f"answers of earlier steps: {', '.join(question.fields)}"
    texts = () if config.is_map else step.templates.values()
    fetched = dict.fromkeys(name for text in texts for name in compile_template(text).used(_FETCHED))
    if fetched:
        yield f"fetched from the sources: {', '.join(fetched)}"

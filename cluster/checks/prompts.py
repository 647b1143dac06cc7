"""Renders the prompts of tasks without a call, for people who check them.

Rule: a prompt is rendered by the code that renders it in a run. Angle brackets stand for values that only a
run can know: the answer to an earlier step, and the text of an item that a source returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from actors.core.messages.tasks import Item, Task
from actors.core.messages.values import Json
from actors.core.task.field_names import dotted
from actors.core.task.prompts import EVALUATE_NAMES, evaluate_prompt, row_prompt
from actors.core.task.templates import NullValueError, Template, compile_template
from actors.llm.requests.attachments import shown
from actors.pipeline.step_question import locations_in
from cluster.assembly.actor_settings import asked_forms
from cluster.config.kinds.embedding import EmbeddingStep
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
    earlier: dict[str, tuple[str, ...]] = {}
    forms = iter(asked_forms(config))
    for step in config.steps:
        if isinstance(step, ComputedStep):
            earlier[step.name] = tuple(step.output)
            continue
        form = next(forms)
        template = compile_template(step.prompt)
        answers: dict[str, Json] = {name: f"<{name}>" for name in template.used(dotted(earlier))}
        notes = list(_notes(config, step, template, answers))
        text: str | None = None
        files = tuple(f"<{name}>" for name in step.attach)
        try:
            if config.is_map:
                text = row_prompt(template, task, answers)
                files = locations_in(task.params, step.attach)
            else:
                is_plain = isinstance(step, EmbeddingStep)
                text = evaluate_prompt(template, task, _some_item(config), answers, is_plain=is_plain)
        except NullValueError as error:
            notes.append(f"skipped, without a call: {error}")
        text = None if text is None else form.preface + text
        attached = tuple(map(shown, files))
        yield ShownPrompt(task.key, step.name, form.instructions, text, tuple(notes), attached)
        earlier[step.name] = tuple(step.output)


def _some_item(config: HeadraceConfig) -> Item:
    names = " or ".join(source.name for source in config.sources)
    return Item("<id>", f"<{names}>", f"<the text of an item from {names}>", {"<name>": "<value>"})


def _notes(
    config: HeadraceConfig, step: AskedStep, template: Template, answers: dict[str, Json]
) -> Iterator[str]:
    if step.when is not None:
        yield f"asked if {step.when}"
    if answers:
        yield f"answers of earlier steps: {', '.join(answers)}"
    fetched = () if config.is_map else template.used(_FETCHED)
    if fetched:
        yield f"fetched from the sources: {', '.join(fetched)}"

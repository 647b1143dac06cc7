"""The questions that a job asks about a row: their tokens, and the answers to them that are stored.

Rule 1: a prompt is rendered by the code that renders it in the run, so that its key finds the answer that the
    run would find.
Rule 2: a prompt that uses an answer which is not known yet is counted without it. What the answer may add has
    a bound of its own, `StepFacts.inserted`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b

from msgspec import Struct
from msgspec.structs import replace

from actors.core.limits.token_estimate import text_tokens
from actors.core.messages.tasks import Task
from actors.core.messages.values import Json
from actors.core.task.call_keys import CallKeys
from actors.core.task.prompts import row_prompt
from actors.core.task.templates import Template, compile_template
from actors.pipeline.task_rules import StepRules
from cluster.assembly.actor_settings import answer_forms, pipeline_settings
from cluster.config.model import HeadraceConfig
from cluster.estimate.answer_floor import fewest_tokens

Find = Callable[[str], Mapping[str, Json] | None]  # returns the stored answer to a content

_DIGEST_BYTES = 8


class StepFacts(Struct, frozen=True):
    """What is the same for all questions of a step.

    is_certain: the step is asked about every row. form_tokens: of a question besides its prompt. inserted:
    the most tokens that earlier answers add to its prompt. floor, ceiling: of the tokens of its answer.
    """

    name: str
    is_certain: bool
    form_tokens: int
    inserted: int
    floor: int
    ceiling: int
    endpoints: tuple[str, ...]


class OpenQuestion(Struct, frozen=True):
    """A question without a stored answer: the position of its step, its tokens without earlier answers."""

    step: int
    tokens: int


class RowQuestions(Struct, frozen=True):
    """The questions about one row.

    digest: equal for rows about which the same is asked. counted: the tokens of the questions that are asked
    about every row, whether or not they are answered. open: the questions whose answers are not stored.
    """

    digest: int
    counted: int
    open: tuple[OpenQuestion, ...]


class JobQuestions:
    """Renders the questions of a job whose tasks are their own items."""

    def __init__(self, config: HeadraceConfig) -> None:
        rules = pipeline_settings(config, began_at=0.0).rules
        floors = {form.name: fewest_tokens(form.response_format) for form in answer_forms(config)}
        bounds = {step.name: step.max_tokens for step in rules.steps}
        self._shared = rules.share_answers
        self._steps = [_StepPrompts(step) for step in rules.steps]
        self.facts = tuple(
            StepFacts(
                name=step.rules.name,
                is_certain=step.rules.when is None,
                form_tokens=rules.form_tokens.get(step.rules.form, 0),
                inserted=sum(bounds[name.partition(".")[0]] for name in step.earlier),
                floor=min(floors[step.rules.form], step.rules.max_tokens),
                ceiling=step.rules.max_tokens,
                endpoints=step.rules.endpoints,
            )
            for step in self._steps
        )

    def about(self, task: Task, find: Find) -> RowQuestions | None:
        """Return the questions about a row; None if nothing is asked because a value that is needed is null.

        Raises ValueError if a prompt cannot be rendered.
        """
        digest, counted = blake2b(digest_size=_DIGEST_BYTES), 0
        answers: dict[str, Json] = {}
        left = []
        for number, step in enumerate(self._steps):
            if any(task.params.get(name, "") is None for name in step.required):
                return None
            blank = step.prompt(task, step.blanks)
            digest.update(b"%d:" % len(blank) + blank.encode("utf-8", "surrogatepass"))
            tokens = text_tokens(blank) + self.facts[number].form_tokens
            if self.facts[number].is_certain:
                counted += tokens
            answer = None
            if self._shared and step.earlier <= answers.keys():
                answer = find(step.content(step.prompt(task, answers) if step.earlier else blank))
            if answer is None:
                left.append(OpenQuestion(number, tokens))
            else:
                answers |= {f"{step.rules.name}.{name}": value for name, value in answer.items()}
        return RowQuestions(int.from_bytes(digest.digest()), counted, tuple(left))


class _StepPrompts:
    """A step, compiled once. `earlier` are the placeholders that stand for answers of earlier steps."""

    __slots__ = ("_keys", "blanks", "earlier", "required", "rules", "template")

    def __init__(self, rules: StepRules) -> None:
        self.rules = rules
        self.template: Template = compile_template(rules.prompt)
        self.required = frozenset(self.template.names) - self.template.optional()
        self.earlier = frozenset(name for name in self.template.names if "." in name)
        self.blanks = dict.fromkeys(self.earlier, "")
        self._keys = CallKeys("", rules.model, rules.parameters)

    def prompt(self, task: Task, earlier: Mapping[str, Json]) -> str:
        """Return the prompt about a row, with `earlier` as the answers of earlier steps."""
        return row_prompt(
            self.template, replace(task, params={**task.params, **earlier}) if self.earlier else task
        )

    def content(self, prompt: str) -> str:
        """Return the key under which a store holds the answer to `prompt`."""
        return self._keys.key("", "", self.rules.form, "", prompt)

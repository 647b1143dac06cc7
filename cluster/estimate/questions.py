"""The questions that a job asks about a row: their tokens, and the answers to them that are stored.

Rule 1: a prompt is rendered by the code that renders it in the run, so that its key finds the answer that the
    run would find.
Rule 2: a prompt that uses an answer which is not known yet is counted without it. `StepFacts.inserted` bounds
    what the answer may add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

from msgspec import Struct, field

from actors.core.limits.token_estimate import text_tokens
from actors.core.messages.tasks import Item, Task
from actors.core.messages.values import Json
from actors.core.task.call_keys import content_keys
from actors.core.task.prompts import own_item
from actors.core.task.templates import NullValueError
from actors.pipeline.step_question import StepQuestion, step_questions
from actors.pipeline.steps import Computation
from actors.pipeline.task_rules import StepRules
from cluster.assembly.actor_settings import answer_forms, task_rules
from cluster.config.model import HeadraceConfig
from cluster.estimate.answer_floor import fewest_tokens

Find = Callable[[str], Mapping[str, Json] | None]  # returns the stored answer to a content

_DIGEST_BYTES = 8


class StepFacts(Struct, frozen=True):
    """The facts that are the same for all questions of a step.

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


class _Known(Struct):
    """The known part of a row: `answers` of steps, `blanks` in their places. `is_all`: no answer is open."""

    blanks: dict[str, Mapping[str, Json]]
    answers: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    is_all: bool = True

    def compute(self, step: StepQuestion, computation: Computation, task: Task, item: Item) -> bool:
        """Compute a step, which is free. Return False if the run would fail the item."""
        if self.is_all and not step.is_asked(self.answers):
            return True
        known = self.answers if self.is_all else self.blanks
        try:
            values = computation.values_of(step.item_values(task, item, known))
        except Exception:  # noqa: BLE001 - code of a plug-in, which may not like blanks
            return not self.is_all
        self.blanks[computation.name] = values
        if self.is_all:
            self.answers[computation.name] = values
        return True


class JobQuestions:
    """Renders the questions of a job whose tasks are their own items."""

    def __init__(self, config: HeadraceConfig) -> None:
        rules = task_rules(config)
        floors = {form.name: fewest_tokens(form.response_format) for form in answer_forms(config)}
        bounds = {step.name: step.max_tokens for step in rules.steps}
        self._shared = rules.share_answers
        self._steps = step_questions(rules)
        asked = [step.rules for step in self._steps if step.rules.computation is None]
        self._keys = [content_keys(step.model, step.parameters, step.served_at) for step in asked]
        # Stand-ins for answers: empty texts, so that a prompt is counted without them.
        self._blanks = {step.name: dict.fromkeys(step.fields, "") for step in rules.steps}
        self.facts = tuple(
            StepFacts(
                name=step.rules.name,
                is_certain=step.rules.when is None,
                form_tokens=rules.form_tokens.get(step.rules.form, 0),
                inserted=sum(bounds[name] for name, _ in step.fields.values()),
                floor=min(floors[step.rules.form], step.rules.max_tokens),
                ceiling=step.rules.max_tokens,
                endpoints=step.rules.endpoints,
            )
            for step in self._steps
            if step.rules.computation is None
        )

    def about(self, task: Task, find: Find) -> RowQuestions | None:
        """Return the questions about a row; None if its first question needs a value that is null.

        Raises ValueError if a prompt cannot be made.
        """
        item = own_item(task)
        digest, counted = blake2b(digest_size=_DIGEST_BYTES), 0
        known = _Known(dict(self._blanks))
        left = []
        facts = iter(enumerate(self.facts))
        for step in self._steps:
            if step.rules.computation is not None:
                if not known.compute(step, step.rules.computation, task, item):
                    break  # the run fails the item here
                continue
            number, fact = next(facts)
            try:
                blank = step.prompt(task, item, known.blanks)
                asked = step.prompt(task, item, known.answers) if known.is_all and step.fields else blank
                files = step.attachments(task, item)
            except NullValueError:
                if number == 0:
                    return None
                break  # the run skips the item here
            for text in (blank, *files):
                digest.update(b"%d:" % len(text) + text.encode("utf-8", "surrogatepass"))
            tokens = text_tokens(blank) + fact.form_tokens + step.rules.files.tokens(files)
            if fact.is_certain:
                counted += tokens
            if known.is_all and not step.is_asked(known.answers):
                continue
            answer = self._stored(number, step.rules, asked, files, find) if known.is_all else None
            if answer is None:
                known.is_all = False
                left.append(OpenQuestion(number, tokens))
            else:
                known.answers[fact.name] = answer
        return RowQuestions(int.from_bytes(digest.digest()), counted, tuple(left))

    def _stored(
        self, number: int, rules: StepRules, prompt: str, files: Sequence[str], find: Find
    ) -> Mapping[str, Json] | None:
        """Return the stored answer to a prompt, if answers are shared between runs."""
        if not self._shared:
            return None
        places = rules.files.places(files)
        return find(self._keys[number].key("", "", rules.form, "", prompt, places))

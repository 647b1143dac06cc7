"""The questions that a job asks about a row: their tokens, and the answers to them that are stored.

Rule 1: a prompt is rendered by the code that renders it in the run, so that its key finds the answer that the
    run would find.
Rule 2: a prompt that uses an answer which is not known yet is counted without it. `StepFacts.inserted` bounds
    what the answer may add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b

from msgspec import Struct

from actors.core.limits.token_estimate import text_tokens
from actors.core.messages.tasks import Task
from actors.core.messages.values import Json
from actors.core.task.call_keys import content_keys
from actors.core.task.prompts import own_item
from actors.core.task.templates import NullValueError
from actors.pipeline.step_question import step_questions
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


class JobQuestions:
    """Renders the questions of a job whose tasks are their own items."""

    def __init__(self, config: HeadraceConfig) -> None:
        rules = task_rules(config)
        floors = {form.name: fewest_tokens(form.response_format) for form in answer_forms(config)}
        bounds = {step.name: step.max_tokens for step in rules.steps}
        self._shared = rules.share_answers
        self._steps = step_questions(rules)
        self._keys = [content_keys(step.model, step.parameters, step.served_at) for step in rules.steps]
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
        )

    def about(self, task: Task, find: Find) -> RowQuestions | None:
        """Return the questions about a row; None if its first question needs a value that is null.

        Raises ValueError if a prompt cannot be made.
        """
        item = own_item(task)
        digest, counted = blake2b(digest_size=_DIGEST_BYTES), 0
        answers: dict[str, Mapping[str, Json]] = {}
        is_known = True  # whether all earlier answers are
        left = []
        for number, (step, fact) in enumerate(zip(self._steps, self.facts, strict=True)):
            try:
                blank = step.prompt(task, item, self._blanks)
                asked = step.prompt(task, item, answers) if is_known and step.fields else blank
            except NullValueError:
                if number == 0:
                    return None
                break  # the run skips the item here
            digest.update(b"%d:" % len(blank) + blank.encode("utf-8", "surrogatepass"))
            tokens = text_tokens(blank) + fact.form_tokens
            if fact.is_certain:
                counted += tokens
            if is_known and not step.is_asked(answers):
                continue
            answer = self._stored(number, asked, find) if is_known else None
            if answer is None:
                is_known = False
                left.append(OpenQuestion(number, tokens))
            else:
                answers[fact.name] = answer
        return RowQuestions(int.from_bytes(digest.digest()), counted, tuple(left))

    def _stored(self, number: int, prompt: str, find: Find) -> Mapping[str, Json] | None:
        """Return the stored answer to a prompt, if answers are shared between runs."""
        if not self._shared:
            return None
        return find(self._keys[number].key("", "", self._steps[number].rules.form, "", prompt))

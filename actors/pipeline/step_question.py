"""Decides whether a step is asked about an item, and what it is asked: from the answers of earlier steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actors.core.messages.tasks import Item, Task
from actors.core.messages.values import Json
from actors.core.task.attachments import MOST_FILES
from actors.core.task.conditions import compile_condition
from actors.core.task.field_names import Fields, dotted, find_field
from actors.core.task.prompts import evaluate_prompt, row_prompt
from actors.core.task.ranking import documents_in, ranking_prompt
from actors.core.task.templates import NullValueError, Template, compile_template
from actors.pipeline.task_rules import StepRules, TaskRules

Answers = Mapping[str, Mapping[str, Json]]  # by step

_NO_FIELDS: Mapping[str, Json] = {}


class StepQuestion:
    """The question of a step, compiled once. `earlier` are the fields of the steps before it, by step.

    fields: the fields of earlier steps that the prompt uses, by their names in it, as step and field.
    """

    __slots__ = ("_document", "_is_map", "_known", "_operands", "_template", "_when", "fields", "rules")

    def __init__(self, rules: StepRules, earlier: Fields, *, is_map: bool) -> None:
        self.rules = rules
        self._is_map = is_map
        self._template = compile_template(rules.prompt)
        self._document = compile_template(rules.document)
        self._when = None if rules.when is None else compile_condition(rules.when)
        names = () if self._when is None else self._when.names()
        self._operands = {name: find_field(name, earlier) for name in names}
        known = dotted(earlier)
        used = (*self._template.used(known), *self._document.used(known))
        self.fields = {name: find_field(name, earlier) for name in used}
        given = known if rules.computation is not None else ()
        self._known = {name: find_field(name, earlier) for name in given}

    def is_asked(self, answers: Answers) -> bool:
        """Return whether the step is asked after these answers. Never raises."""
        return self._when is None or self._when.holds(_values(self._operands, answers))

    def prompt(self, task: Task, item: Item, answers: Answers) -> str:
        """Return the prompt about an item.

        Raises NullValueError if a value is null, and ValueError if the prompt cannot be made.
        """
        fields = _values(self.fields, answers) if self.fields else _NO_FIELDS
        asked = self._filled(self._template, task, item, fields)
        if self.rules.document:
            return ranking_prompt(asked, [self._filled(self._document, task, item, fields)])
        if name := self.rules.documents:
            values = task.params if self._is_map else {**task.params, **item.fields}
            return ranking_prompt(asked, documents_in(name, values.get(name)))
        return asked

    def _filled(self, template: Template, task: Task, item: Item, fields: Mapping[str, Json]) -> str:
        if self._is_map:
            return row_prompt(template, task, fields)
        for name in template.used(fields) if fields else ():
            if fields[name] is None and name not in template.optional():
                raise NullValueError(f"null in {name}")
        return evaluate_prompt(template, task, item, fields, is_plain=self.rules.is_plain)

    def item_values(self, task: Task, item: Item, answers: Answers) -> dict[str, Json]:
        """Return what a computed step receives: the values of the item, and those of earlier steps.

        These are ``step.field``. Without sources the values are the row's, and ``key``.
        """
        earlier = _values(self._known, answers)
        if self._is_map:
            return {"key": task.key, **task.params, **earlier}
        own = {"key": task.key, "text": item.text, "source": item.source, "id": item.id}
        return {**task.params, **item.fields, **own, **earlier}

    def attachments(self, task: Task, item: Item) -> tuple[str, ...]:
        """Return the locations of the files to send with the prompt. Raises ValueError as `locations_in`."""
        return locations_in(task.params if self._is_map else item.fields, self.rules.attach)


def step_questions(rules: TaskRules) -> tuple[StepQuestion, ...]:
    """Return the questions of all steps, in order."""
    questions = []
    earlier: dict[str, tuple[str, ...]] = {}
    for step in rules.steps:
        questions.append(StepQuestion(step, earlier, is_map=rules.is_map))
        earlier[step.name] = step.fields
    return tuple(questions)


def locations_in(fields: Mapping[str, Json], names: Sequence[str]) -> tuple[str, ...]:
    """Return the locations of files in the fields `names`. A field that is null has none.

    Raises ValueError for a field that is missing or no text.
    """
    return tuple(place for name in names for place in _locations(name, fields))


def _locations(name: str, fields: Mapping[str, Json]) -> Sequence[str]:
    if name not in fields:
        raise ValueError(f"attach: there is no field {name!r}")
    value = fields[name]
    found = value if isinstance(value, list | tuple) else [] if value in (None, "") else [value]
    if not all(isinstance(each, str) and each for each in found):
        raise ValueError(f"attach: the field {name!r} is no path or URL, and no list of them")
    if len(found) > MOST_FILES:
        raise ValueError(
            f"attach: the field {name!r} has {len(found)} files; a call has at most {MOST_FILES}"
        )
    return found


def _values(places: Mapping[str, tuple[str, str]], answers: Answers) -> dict[str, Json]:
    """Return the values of the fields at `places` by name. A step that was not asked has null fields."""
    return {name: answers.get(step, _NO_FIELDS).get(field) for name, (step, field) in places.items()}

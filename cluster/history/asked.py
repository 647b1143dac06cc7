"""Makes the prompts of a stored task again, since a store holds no prompts, and finds the answers to them.

Rule: a prompt is shown as the one that was sent only if its call key, which is a hash of it, has an attempt.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from pydantic import ValidationError

from actors.core.errors import ConfigError
from actors.core.journal import keys
from actors.core.journal.attempts import load_attempt
from actors.core.journal.batch import range_of, scan_all
from actors.core.journal.rows import load_fetched
from actors.core.messages.journal import RunView
from actors.core.messages.tasks import Item, ItemResult, Task
from actors.core.messages.values import Json
from actors.core.task.call_keys import CallKeys
from actors.core.task.prompts import own_item
from actors.core.task_names import given_name
from actors.journal.stores.base import Store
from actors.pipeline.step_question import StepQuestion, step_questions
from cluster.assembly.actor_settings import task_rules
from cluster.config.model import HeadraceConfig
from cluster.records.records import CODEC
from cluster.report.task_history import AskedItem, AskedStep, TaskHistory

_NO_TEXT = (
    "the prompt cannot be made again: the item's text is kept after the end only with store.keep: calls"
)
_NOT_ASKED = "not asked: its condition does not hold"
_OTHER_KEY = "no attempt has the key of this prompt: the configuration may have been changed during the run"


def with_questions(
    store: Store, run: RunView, history: TaskHistory, item_id: str | None = None
) -> TaskHistory:
    """Return `history` with what was asked about its items, or about one.

    Raises `ConfigError` if the task has no item with the id `item_id`.
    """
    asked = _TaskQuestions(store, run, history)
    ids = asked.item_ids
    if item_id is not None:
        if item_id not in ids:
            some = ", ".join(list(ids)[:5]) or "none that is stored"
            raise ConfigError(f"task {history.task.key} has no item {item_id!r}; its items: {some}")
        ids = (item_id,)
    return replace(history, items=tuple(asked.about(each) for each in ids))


class _TaskQuestions:
    """The questions about the items of one task."""

    def __init__(self, store: Store, run: RunView, history: TaskHistory) -> None:
        self._history = history
        self._run_id = run.run_id
        key = history.task.key
        self._task = Task(given_name(key), history.task.params)
        self._answers = _stored_answers(store, run.run_id, key)
        self._results = {} if history.report is None else {one.item_id: one for one in history.report.items}
        self._questions: tuple[StepQuestion, ...] = ()
        self._systems: Mapping[str, str | None] = {}
        self._unread = ""  # why the run's configuration cannot be used
        self._items: Mapping[str, Item] = {}
        try:
            config = HeadraceConfig.model_validate_json(json.dumps(run.config))
        except ValidationError as error:
            first = error.errors()[0]
            self._unread = (
                f"the prompt cannot be made again from the configuration of the run: {first['msg']}"
            )
            return
        self._questions = step_questions(task_rules(config))
        self._systems = {step.name: step.system for step in config.steps}
        items = (own_item(self._task),) if config.is_map else _fetched_items(store, run.run_id, key)
        self._items = {item.id: item for item in items}

    @property
    def item_ids(self) -> Collection[str]:
        """The ids of all items that are known."""
        return dict.fromkeys([*self._results, *self._items])

    def about(self, item_id: str) -> AskedItem:
        """Return what was asked about an item."""
        result = self._results.get(item_id)
        if self._unread:
            values = {} if result is None else result.values
            steps = [AskedStep(name, note=self._unread, answer=answer) for name, answer in values.items()]
            return AskedItem(item_id, result, steps)
        return AskedItem(item_id, result, tuple(self._steps(item_id, result)))

    def _steps(self, item_id: str, result: ItemResult | None) -> Iterator[AskedStep]:
        answers: dict[str, Mapping[str, Json]] = {}
        sent = {attempt.call_key for attempt in self._history.attempts}
        for question in self._questions:
            name = question.rules.name
            system = self._systems.get(name)
            if not question.is_asked(answers):
                yield AskedStep(name, system, note=_NOT_ASKED)
                continue
            prompt, call_key, note = self._prompt(question, item_id, answers)
            is_sent = call_key in sent
            answer = self._answers.get(call_key) if result is None else result.values.get(name)
            if answer is None and not is_sent and (result is None or result.step != name):
                return
            if prompt is not None and not is_sent and answer is not None:
                note = _OTHER_KEY
            yield AskedStep(name, system, prompt, note, call_key if is_sent else "", answer)
            if answer is None:
                return
            answers[name] = answer

    def _prompt(
        self, question: StepQuestion, item_id: str, answers: Mapping[str, Mapping[str, Json]]
    ) -> tuple[str | None, str, str]:
        """Return the prompt of a step, the key of its call, and why it cannot be made."""
        item = self._items.get(item_id)
        if item is None:
            return None, "", _NO_TEXT
        try:
            prompt = question.prompt(self._task, item, answers)
        except ValueError as error:
            return None, "", str(error)
        rules = question.rules
        made = CallKeys(self._run_id, rules.model, rules.parameters)
        return prompt, made.key(self._history.task.key, item_id, rules.form, "", prompt), ""


def _stored_answers(store: Store, run_id: str, key: str) -> dict[str, Mapping[str, Json]]:
    """Return the answers to the calls of a task by call key, as far as the store keeps them."""
    calls_at = keys.calls(run_id, key)
    found = {}
    for at, data in scan_all(store, *range_of(calls_at)):
        _, values = load_attempt(CODEC, data)
        if values is not None:
            found[keys.attempt_of(calls_at, at)[0]] = values
    return found


def _fetched_items(store: Store, run_id: str, key: str) -> tuple[Item, ...]:
    data = store.get(keys.fetched(run_id, key))
    return () if data is None else tuple(item for one in load_fetched(CODEC, data) for item in one.items)

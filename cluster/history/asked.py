"""Makes the prompts of a stored task again, since a store holds no prompts, and finds the answers to them.

Rule: a prompt is shown as the one that was sent only if its call key, which is a hash of it, has an attempt.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from msgspec.structs import replace as replace_struct
from pydantic import ValidationError

from actors.core.errors import ConfigError
from actors.core.journal import keys
from actors.core.journal.attempts import load_attempt
from actors.core.journal.batch import range_of, scan_all
from actors.core.journal.rows import load_fetched
from actors.core.messages.journal import RunView
from actors.core.messages.tasks import Item, ItemResult, Task
from actors.core.messages.values import Json
from actors.core.task.aggregation import aggregate
from actors.core.task.call_keys import CallKeys
from actors.core.task.dimensions import observe, seed_of
from actors.core.task.prompts import own_item, synthesize_prompt
from actors.core.task.templates import compile_template
from actors.core.task_names import given_name
from actors.core.vectors import dimensions_of
from actors.journal.stores.base import Store
from actors.llm.requests.attachments import shown
from actors.pipeline.step_question import StepQuestion, step_questions
from actors.pipeline.task_rules import SYNTHESIZE, TaskRules
from cluster.assembly.actor_settings import task_rules
from cluster.config.answer_fields import STORED
from cluster.config.kinds.embedding import EmbeddingStep
from cluster.config.model import HeadraceConfig
from cluster.records.records import CODEC
from cluster.report.task_history import AskedItem, AskedStep, TaskHistory

_NO_TEXT = (
    "the prompt cannot be made again: the item's text is kept after the end only with store.keep: calls"
)
HIDDEN_VALUE = "[redacted]"
_AN_ADDRESS = "http://stored.invalid"
_NOT_SHOWN = "[redacted: it holds hidden values]"
_NOT_ASKED = "not asked: its condition does not hold"
_OTHER_KEY = "no attempt has the key of this prompt: the configuration may have been changed during the run"


def with_questions(
    store: Store, run: RunView, history: TaskHistory, item: str | None = None, dimension: str | None = None
) -> TaskHistory:
    """Return `history` with what was asked about its items and dimensions, or only about one of them.

    Raises `ConfigError` if the task has no such item or dimension.
    """
    return RunQuestions(run).of(store, history, item, dimension)


class RunQuestions:
    """The questions of a run, compiled once for all of its tasks.

    In prompts and answers, the values of the columns and fields `hidden` are replaced.
    """

    def __init__(self, run: RunView, hidden: Collection[str] = ()) -> None:
        self.run_id = run.run_id
        self.hidden = frozenset(hidden)
        self.is_map = False
        self.rules: TaskRules | None = None
        self.questions: tuple[StepQuestion, ...] = ()
        self.systems: Mapping[str, str | None] = {}
        self.of_vectors: Collection[str] = ()
        self.unread = ""  # why the run's configuration cannot be used
        try:
            config = HeadraceConfig.model_validate_json(json.dumps(_readable(run.config)), context=STORED)
        except ValidationError as error:
            cause = _kinds_of_packages(run.config) or error.errors()[0]["msg"]
            self.unread = f"the prompt cannot be made again from the configuration of the run: {cause}"
            return
        self.is_map = config.is_map
        self.rules = task_rules(config)
        self.questions = step_questions(self.rules)
        self.systems = {step.name: step.system for step in config.asked_steps}
        self.of_vectors = {step.name for step in config.asked_steps if isinstance(step, EmbeddingStep)}

    def of(
        self, store: Store, history: TaskHistory, item: str | None = None, dimension: str | None = None
    ) -> TaskHistory:
        """Return `history` with what was asked about its items and dimensions, or only about one of them.

        Raises `ConfigError` if the task has no such item or dimension.
        """
        asked = _TaskQuestions(store, self, history)
        items = _chosen(item, "item", asked.item_ids, history) if dimension is None else ()
        findings = {finding.step: finding for finding in asked.findings()} if item is None else {}
        names = _chosen(dimension, "finding of dimension", findings, history)
        return replace(
            history,
            items=tuple(asked.about(each) for each in items),
            findings=tuple(findings[name] for name in names),
        )

    def shown(self, values: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return `values` with those hidden replaced."""
        if self.hidden.isdisjoint(values):
            return values
        return {name: HIDDEN_VALUE if name in self.hidden else value for name, value in values.items()}


def _readable(config: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a stored configuration without the addresses that are references: no prompt depends on them.

    A reference in place of a URL does not pass the checks of a configuration.
    """
    llm = config.get("llm", {})
    endpoints = [
        {
            **one,
            "base_url": _AN_ADDRESS if "${" in str(one.get("base_url")) else one.get("base_url"),
            "proxy": None,
        }
        for one in llm.get("endpoints", ())
    ]
    return {**config, "llm": {**llm, "endpoints": endpoints}}


def _chosen(name: str | None, what: str, known: Collection[str], history: TaskHistory) -> Collection[str]:
    """Return all of `known`, or only `name`. Raises `ConfigError` if it is unknown."""
    if name is None:
        return known
    if name not in known:
        some = ", ".join(list(known)[:5]) or "none that is stored"
        raise ConfigError(f"task {history.task.key} has no {what} {name!r}; known: {some}")
    return (name,)


class _TaskQuestions:
    """The questions about the items of one task."""

    def __init__(self, store: Store, run: RunQuestions, history: TaskHistory) -> None:
        self._history = history
        self._run = run
        key = history.task.key
        self._task = Task(given_name(key), history.task.params)
        self._answers = _stored_answers(store, run.run_id, key)
        self._results = {} if history.report is None else {one.item_id: one for one in history.report.items}
        self._items: Mapping[str, Item] = {}
        if not run.unread:
            items = (own_item(self._task),) if run.is_map else _fetched_items(store, run.run_id, key)
            self._items = {item.id: item for item in items}

    @property
    def item_ids(self) -> Collection[str]:
        """The ids of all items that are known."""
        return dict.fromkeys([*self._results, *self._items])

    def about(self, item_id: str) -> AskedItem:
        """Return what was asked about an item."""
        result = self._results.get(item_id)
        if self._run.unread:
            values = {} if result is None else result.values
            steps = [AskedStep(name, note=self._run.unread, answer=answer) for name, answer in values.items()]
            return AskedItem(item_id, result, steps)
        return AskedItem(item_id, result, tuple(self._steps(item_id, result)))

    def findings(self) -> Iterator[AskedStep]:
        """Yield what was asked about each dimension of a task that has ended."""
        report = self._history.report
        if self._run.rules is None or report is None or not any(item.values for item in report.items):
            return
        results = {result.name: result for result in report.dimensions}
        made = CallKeys(self._run.run_id, self._run.rules.model, self._run.rules.call_parameters)
        sent = {attempt.call_key for attempt in self._history.attempts}
        key = self._history.task.key
        for settings in self._run.rules.dimensions:
            if settings.synthesize is None:
                continue
            try:
                observations = observe(settings, report.items)
                aggregated = aggregate(settings, observations, seed_of(key))
                template = compile_template(settings.synthesize)
                prompt = synthesize_prompt(template, self._task, settings, aggregated, observations)
            except ValueError as error:
                yield AskedStep(settings.name, note=str(error))
                continue
            call_key = made.key(key, "", SYNTHESIZE, settings.name, prompt)
            prompt = _NOT_SHOWN if self._run.hidden else prompt  # it quotes the answers
            result = results.get(settings.name)
            shown = {} if result is None else {"finding": result.finding, "evidence": list(result.evidence)}
            answer = self._answers.get(call_key) or shown or None
            is_sent = call_key in sent
            note = "" if is_sent else _OTHER_KEY
            yield AskedStep(settings.name, None, prompt, note, call_key if is_sent else "", answer)

    def _steps(self, item_id: str, result: ItemResult | None) -> Iterator[AskedStep]:
        answers: dict[str, Mapping[str, Json]] = {}
        sent = {attempt.call_key for attempt in self._history.attempts}
        for question in self._run.questions:
            name = question.rules.name
            system = self._run.systems.get(name)
            if not question.is_asked(answers):
                yield AskedStep(name, system, note=_NOT_ASKED)
                continue
            prompt, files, call_key, note = self._prompt(question, item_id, answers)
            is_sent = call_key in sent
            answer = self._answers.get(call_key) if result is None else result.values.get(name)
            if answer is None and not is_sent and (result is None or result.step != name):
                return
            if prompt is not None and not is_sent and answer is not None:
                note = _OTHER_KEY
            seen = _in_words(answer) if answer is not None and name in self._run.of_vectors else answer
            seen = None if seen is None else self._run.shown(seen)
            yield AskedStep(name, system, prompt, note, call_key if is_sent else "", seen, files)
            if answer is None:
                return
            answers[name] = answer

    def _prompt(
        self, question: StepQuestion, item_id: str, answers: Mapping[str, Mapping[str, Json]]
    ) -> tuple[str | None, Sequence[str], str, str]:
        """Return the prompt of a step, its files, the key of its call, and why it cannot be made."""
        item = self._items.get(item_id)
        if item is None:
            return None, (), "", _NO_TEXT
        try:
            prompt = question.prompt(self._task, item, answers)
            files = question.attachments(self._task, item)
        except ValueError as error:
            return None, (), "", str(error)
        rules = question.rules
        made = CallKeys(self._run.run_id, rules.model, rules.parameters)
        call_key = made.key(self._history.task.key, item_id, rules.form, "", prompt, files)
        if self._run.hidden:
            return self._redacted(question, item, answers), (), call_key, ""
        return prompt, [*map(shown, files)], call_key, ""

    def _redacted(self, question: StepQuestion, item: Item, answers: Mapping[str, Mapping[str, Json]]) -> str:
        """Return the prompt of a step as it would be with other values in the hidden columns."""
        hide = self._run.shown
        task = replace_struct(self._task, params=hide(self._task.params))
        text = HIDDEN_VALUE if "text" in self._run.hidden else item.text
        item = replace_struct(item, fields=hide(item.fields), text=text)
        try:
            return question.prompt(task, item, {step: hide(values) for step, values in answers.items()})
        except ValueError:  # a value that must be a number
            return _NOT_SHOWN


def _in_words(vectors: Mapping[str, Json]) -> dict[str, Json]:
    """Return the sizes of vectors. Their numbers are in the results."""
    return {name: f"a vector of {dimensions_of(str(text)):,} dimensions" for name, text in vectors.items()}


def _kinds_of_packages(config: Mapping[str, Json]) -> str:
    """Return that a stored configuration has steps of packages, whose code is not loaded; empty if not."""
    steps = config.get("evaluate")
    kinds = [str(step["kind"]) for step in steps if "kind" in step] if isinstance(steps, list) else []
    return f"it has a step of the kind {kinds[0]}, which a package adds" if kinds else ""


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

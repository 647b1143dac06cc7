"""A stored run of a job in map form, whose questions are answered at once."""

from __future__ import annotations

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.journal import Accept, AttemptOutcome, CloseRun, Finish, Intent, OpenRun
from actors.core.messages.tasks import ItemResult, ItemState, Report, TaskState
from actors.core.messages.values import CallCounts, Usage
from actors.core.task.call_keys import CallKeys, content_keys
from actors.core.task.prompts import own_item
from actors.pipeline.step_question import step_questions
from cluster.assembly.actor_settings import task_rules
from tests.unit.support.journal_desk import Desk


class StoredRun:
    """The run `run_id` of the configuration `job`."""

    def __init__(self, job, run_id="map-1", origin=None, **settings):
        self.run_id = run_id
        self.desk = Desk(**settings)
        self.rules = task_rules(job)
        self._numbers = iter(range(1, 10**6))
        self.desk.tell(OpenRun(run_id, "map", job.stored(), origin or {}))

    @property
    def store(self):
        return self.desk.store

    def ask(self, task, step, answers, usage, answer):
        """Have the run ask one step; without an answer the endpoint rejects the request."""
        prompt = step.prompt(task, own_item(task), answers)
        files = step.attachments(task, own_item(task))
        rules = step.rules
        call, content = (
            made.key(key, item, rules.form, "", prompt, places)
            for made, key, item, places in (
                (CallKeys(self.run_id, rules.model, rules.parameters), task.key, f"rows:{task.key}", files),
                (
                    content_keys(rules.model, rules.parameters, rules.served_at),
                    "",
                    "",
                    rules.files.places(files),
                ),
            )
        )
        number = next(self._numbers)
        self.desk.tell(Intent(self.run_id, task.key, call, number, "e", 1, content))
        error = None if answer is not None else Failure(FailureKind.PERMANENT, Blame.TASK, "HTTP 400: no")
        ended = AttemptEnded(number, values=answer, error=error, usage=usage, took_s=0.5)
        self.desk.tell(AttemptOutcome(self.run_id, task.key, call, ended, content))
        return error

    def answer(self, task, *usages, state=TaskState.SUCCEEDED, ends=True):
        """Have the run ask and end a task, whose n-th step costs the n-th usage. Each answer is "bad"."""
        self.desk.tell(Accept(self.run_id, task))
        values, spent = {}, Usage()
        for step, usage in zip(step_questions(self.rules), usages, strict=False):
            answer = dict.fromkeys(step.rules.fields, "bad")
            self.ask(task, step, values, usage, answer)
            values[step.rules.name] = answer
            spent += usage
        if ends:
            self.finish(
                task, state, ItemResult(f"rows:{task.key}", "rows", ItemState.SUCCEEDED, values), spent
            )

    def reject(self, task):
        """Have the first step of a task rejected, so that it fails."""
        self.desk.tell(Accept(self.run_id, task))
        step = step_questions(self.rules)[0]
        error = self.ask(task, step, {}, Usage(), None)
        item = ItemResult(f"rows:{task.key}", "rows", ItemState.FAILED, {}, error, step.rules.name)
        self.finish(task, TaskState.FAILED, item, Usage())

    def finish(self, task, state, item, spent):
        """End a task with one item."""
        self.end(self.report(task, state, (item,), spent))

    def end(self, report):
        """End a task with a report."""
        self.desk.tell(Finish(self.run_id, report))

    def report(self, task, state, items, spent):
        """Return the report of a task with these items."""
        errors = tuple(str(item.error) for item in items if item.error is not None)
        counts = CallCounts(planned=sum(len(item.values) for item in items))
        return Report(task.key, state, None, (), {}, counts, spent, 1.0, errors, items=items)

    def close(self):
        self.desk.tell(CloseRun(self.run_id, "succeeded"))

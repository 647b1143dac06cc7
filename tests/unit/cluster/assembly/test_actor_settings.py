"""The settings of a pipeline: what determines an answer is part of the key under which it is stored."""

from __future__ import annotations

import hashlib

from actors.core.messages.tasks import Submit, Task
from actors.pipeline.calls import CallMaker
from actors.pipeline.task_rules import TaskJob
from cluster.assembly.actor_settings import pipeline_settings
from cluster.config.model import HeadraceConfig

OUTPUT = {
    "score": {"type": "number", "min": 0, "max": 1},
    "label": {"type": "string", "choices": ["a", "b"]},
    "tags": {"type": "array", "items": {"type": "string"}},
    "count": {"type": "integer"},
    "sound": {"type": "boolean"},
}
# The parameters of the calls as earlier versions wrote them.
PARAMETERS = (
    '{"max_tokens": 200, "output": {"count": {"max": null, "min": null, "type": "integer"}, '
    '"label": {"choices": ["a", "b"], "max_length": 10000, "type": "string"}, '
    '"score": {"max": 1.0, "min": 0.0, "type": "number"}, "sound": {"type": "boolean"}, '
    '"tags": {"items": {"choices": null, "max_length": 10000, "type": "string"}, "max_items": 100, '
    '"type": "array"}}}'
)


def config(**changes):
    return HeadraceConfig.model_validate(
        {
            "sources": ({"kind": "simulated", "name": "wire"},),
            "llm": {"endpoints": ({"name": "e", "base_url": "http://127.0.0.1:1/v1", "model": "m"},)},
            "evaluate": {"prompt": "Rate {text}", "output": OUTPUT},
            "dimensions": ({"name": "score", "field": "score"},),
            **changes,
        }
    )


def hashed(run_id, task, item):
    form = f"15:headrace-call-1{len(run_id)}:{run_id}1:m{len(PARAMETERS)}:{PARAMETERS}"
    return hashlib.sha256(
        f"{form}{len(task)}:{task}{len(item)}:{item}8:evaluate0:6:Rate x".encode()
    ).hexdigest()


def test_a_single_unnamed_step_has_the_keys_under_which_earlier_versions_stored_its_answers():
    (step,) = pipeline_settings(config(), began_at=0.0).rules.steps
    maker = CallMaker(step.form, step.max_tokens, step.model, step.parameters, share=True)
    call = maker.call(TaskJob(Submit("r1", Task("t1")), None, 1.0), "Rate x", 1.0, item="wire:1")
    assert (call.key, call.content) == (hashed("r1", "t1", "wire:1"), hashed("", "", ""))

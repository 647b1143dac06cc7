"""The prompts of a stored task are made again, and stand beside their answers and attempts."""

from __future__ import annotations

import msgspec
import pytest

from actors.core.errors import ConfigError
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.journal import Accept, AttemptOutcome, Collected, Finish, Intent
from actors.core.messages.tasks import Fetched, Item, ItemResult, ItemState, Task, TaskState
from actors.core.messages.values import Usage
from actors.core.task.call_keys import CallKeys
from actors.core.vectors import packed
from actors.pipeline.step_question import step_questions
from cluster.config.model import HeadraceConfig
from cluster.history.asked import with_questions
from cluster.records.reading import history_of
from cluster.records.records import found_run
from cluster.report.task_history import history_document, history_lines
from tests.unit.support.stored_run import StoredRun

ENDPOINT = {"name": "e", "base_url": "http://127.0.0.1:1/v1", "model": "m"}
LABEL = {"label": {"type": "string"}}
STEPS = (
    {"name": "triage", "system": "Be brief.", "prompt": "Rate this:\n{text}", "output": LABEL},
    {"name": "praise", "prompt": "Thank for {text}", "when": "triage.label == 'good'", "output": LABEL},
    {"name": "verdict", "prompt": "{text} is {triage.label}. Why?", "output": {"why": {"type": "string"}}},
)
TASK = Task("r1", {"text": "A mug.\x1b[2J"})


def config(**changes):
    return HeadraceConfig.model_validate(
        {"llm": {"endpoints": (ENDPOINT,), "cache": True}, "evaluate": STEPS, **changes}
    )


def history(run, item=None, key="r1", dimension=None):
    known = history_of(run.store, run.run_id, key)
    return with_questions(run.store, found_run(run.store, run.run_id), known, item, dimension)


def run_of(*, ends=True):
    """Return a run in which the step `praise` was not asked."""
    run = StoredRun(config())
    run.desk.tell(Accept(run.run_id, TASK))
    triage, _, verdict = step_questions(run.rules)
    values = {"triage": {"label": "bad"}}
    run.ask(TASK, triage, {}, Usage(20, 5, 0.01), values["triage"])
    if ends:
        run.ask(TASK, verdict, values, Usage(30, 9, 0.02), {"why": "broken"})
        values["verdict"] = {"why": "broken"}
        item = ItemResult("rows:r1", "rows", ItemState.SUCCEEDED, values)
        run.finish(TASK, TaskState.SUCCEEDED, item, Usage(50, 14, 0.03))
    return run


def test_each_step_has_its_prompt_with_the_answers_before_it():
    (item,) = history(run_of()).items
    triage, praise, verdict = item.steps
    assert (triage.system, triage.prompt) == ("Be brief.", "Rate this:\nA mug.\x1b[2J")
    assert triage.answer == {"label": "bad"}
    assert verdict.prompt == "A mug.\x1b[2J is bad. Why?"
    assert verdict.answer == {"why": "broken"}
    assert (praise.prompt, praise.note) == (None, "not asked: its condition does not hold")


def test_a_prompt_has_the_call_key_of_its_attempts():
    found = history(run_of())
    keys = [step.call_key for step in found.items[0].steps if step.call_key]
    assert keys == [attempt.call_key for attempt in found.attempts]


def test_prompts_are_made_again_although_the_address_of_the_endpoint_is_a_reference():
    run = run_of()
    row = found_run(run.store, run.run_id)
    endpoint = {**row.config["llm"]["endpoints"][0], "base_url": "${URL}", "proxy": "${PROXY}"}
    stored = msgspec.structs.replace(
        row, config={**row.config, "llm": {**row.config["llm"], "endpoints": [endpoint]}}
    )
    known = history_of(run.store, run.run_id, "r1")
    (item,) = with_questions(run.store, stored, known).items
    assert item.steps[0].prompt == "Rate this:\nA mug.\x1b[2J"
    assert item.steps[0].call_key == known.attempts[0].call_key


def test_a_prompt_has_its_files_without_what_may_be_secret():
    step = {"name": "look", "prompt": "What is it? {n}", "attach": ("photo", "more"), "output": LABEL}
    run = StoredRun(config(evaluate=step))
    more = ["https://h/a.png?sig=secret", "data:image/png;base64,secret"]
    task = Task("r1", {"n": 1, "photo": "in/a.png", "more": more})
    run.answer(task, Usage(20, 5, 0.01))

    found = history(run)

    (asked,) = found.items[0].steps
    assert asked.call_key == found.attempts[0].call_key
    assert asked.attachments == ["in/a.png", "https://h/a.png", "data:image/png;base64"]
    assert history_document(found)["items"][0]["steps"][0]["attachments"] == asked.attachments
    text = "\n".join(history_lines(found))
    assert "  file   in/a.png\n  file   https://h/a.png\n" in text
    assert "secret" not in text


def test_a_vector_is_shown_by_its_size():
    step = {"name": "v", "kind": "embedding", "input": "{text}", "endpoint": "e"}
    run = StoredRun(config(evaluate=step))
    run.desk.tell(Accept(run.run_id, TASK))
    (question,) = step_questions(run.rules)
    values = {"v": packed([0.5] * 1536)}
    run.ask(TASK, question, {}, Usage(20, 0, 0.01), values)
    run.finish(
        TASK, TaskState.SUCCEEDED, ItemResult("rows:r1", "rows", ItemState.SUCCEEDED, {"v": values}), Usage()
    )
    (asked,) = history(run).items[0].steps
    assert (asked.prompt, asked.answer) == ("A mug.\x1b[2J", {"v": "a vector of 1,536 dimensions"})


def test_the_lines_show_prompts_answers_times_and_costs_and_obey_no_escape_sequence():
    lines = list(history_lines(history(run_of())))
    text = "\n".join(lines)
    for part in (
        "item     rows:r1: succeeded, $0.00",
        "  system Be brief.",
        "  prompt Rate this:\n         A mug.",
        '"why": "broken"',
        "UTC, call ",
        "answered in 1.0 s, billed 20 + 5 tokens, $0.0100",
    ):
        assert part in text
    assert "\x1b" not in text


def test_the_document_holds_the_same():
    (item,) = history_document(history(run_of()))["items"]
    assert (item["id"], item["state"]) == ("rows:r1", "succeeded")
    assert item["steps"][0]["prompt"] == "Rate this:\nA mug.\x1b[2J"
    assert item["steps"][2]["answer"] == {"why": "broken"}


def test_a_task_that_has_not_ended_shows_what_is_answered_so_far():
    (item,) = history(run_of(ends=False)).items
    assert [(step.step, step.answer) for step in item.steps] == [
        ("triage", {"label": "bad"}),
        ("praise", None),
    ]


def test_a_failed_step_shows_the_prompt_that_was_rejected_and_the_cause_in_full():
    run = StoredRun(config())
    run.reject(TASK)
    found = history(run)
    (step,) = found.items[0].steps
    assert step.prompt == "Rate this:\nA mug.\x1b[2J"
    assert step.call_key == found.attempts[0].call_key
    assert "  cause  step triage: permanent: HTTP 400: no" in "\n".join(history_lines(found))


def test_a_prompt_that_no_attempt_has_is_not_shown_as_the_one_that_was_sent():
    run = run_of()
    other = config(evaluate=({**STEPS[0], "prompt": "Judge: {text}"}, *STEPS[1:]))
    run.desk.open(run.run_id, config=other.stored(), accept_config=True)
    triage = history(run).items[0].steps[0]
    assert triage.call_key == ""
    assert "the configuration may have been changed" in triage.note


SOURCES = {
    "sources": ({"kind": "simulated", "name": "wire"},),
    "evaluate": {"prompt": "Rate {text}", "output": {"score": {"type": "number", "min": 0, "max": 1}}},
    "dimensions": ({"name": "score", "field": "score", "synthesize": "Why? {evidence}"},),
}


def with_items(*, asks_finding=False, **settings):
    run = StoredRun(config(**SOURCES), **settings)
    run.desk.tell(Accept(run.run_id, Task("t1")))
    items = tuple(Item(f"wire:{number}", "wire", f"text {number}") for number in (1, 2))
    run.desk.tell(Collected(run.run_id, "t1", (Fetched("wire", items),)))
    results = tuple(
        ItemResult(item.id, "wire", ItemState.SUCCEEDED, {"evaluate": {"score": 0.5}}) for item in items
    )
    if asks_finding:
        prompt = 'Why? \n"""\n[wire:1] 0.5\n[wire:2] 0.5\n"""\n'
        made = CallKeys(run.run_id, "m", run.rules.call_parameters)
        call = made.key("t1", "", "synthesize", "score", prompt)
        run.desk.tell(Intent(run.run_id, "t1", call, 1, "e", 1))
        ended = AttemptEnded(1, values={"finding": "It is fine."}, usage=Usage(9, 9, 0.0), took_s=0.1)
        run.desk.tell(AttemptOutcome(run.run_id, "t1", call, ended))
    report = run.report(Task("t1"), TaskState.SUCCEEDED, results, Usage())
    run.desk.tell(Finish(run.run_id, report))
    return run


def test_of_many_items_one_line_each_is_shown_and_one_of_them_in_full_on_request():
    run = with_items(keep="calls")
    text = "\n".join(history_lines(history(run, key="t1")))
    assert "item     wire:1: succeeded" in text
    assert "--item wire:1" in text
    assert "prompt" not in text.partition("the prompts and answers")[0]
    text = "\n".join(history_lines(history(run, "wire:2", key="t1")))
    assert 'Rate \n         """\n         text 2' in text


def test_without_the_items_text_the_answer_is_shown_and_why_the_prompt_is_not():
    (item,) = history(with_items(keep="reports"), "wire:1", key="t1").items
    (step,) = item.steps
    assert step.prompt is None
    assert "store.keep: calls" in step.note
    assert step.answer == {"score": 0.5}


def test_an_unknown_item_is_named_with_those_that_there_are():
    with pytest.raises(ConfigError, match="no item 'wire:9'; known: wire:1, wire:2"):
        history(with_items(), "wire:9", key="t1")


def test_the_prompt_of_a_finding_is_made_again_from_the_answers_about_the_items():
    run = with_items(keep="calls")
    found = history(run, key="t1", dimension="score")
    (finding,) = found.findings
    assert found.items == ()
    assert finding.prompt.startswith("Why? ")
    assert "[wire:1] 0.5" in finding.prompt
    assert "no attempt has the key" in finding.note
    assert history_document(found)["findings"][0]["dimension"] == "score"
    with pytest.raises(ConfigError, match="no finding of dimension 'x'; known: score"):
        history(run, key="t1", dimension="x")


def test_a_finding_has_the_key_of_its_call():
    run = with_items(keep="calls", asks_finding=True)
    found = history(run, key="t1", dimension="score")
    assert [attempt.call_key for attempt in found.attempts] == [found.findings[0].call_key]
    assert found.findings[0].answer == {"finding": "It is fine."}
    assert "finding  score (call " in "\n".join(history_lines(found))


@pytest.mark.parametrize("output", ["history_evil:M", {"json_schema": "/etc/passwd"}])
def test_a_module_or_a_file_that_a_store_names_is_not_opened(tmp_path, monkeypatch, output):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "history_evil.py").write_text("raise SystemExit")
    run = run_of()
    known = found_run(run.store, run.run_id)
    forged = {**known.config, "evaluate": {"prompt": "{text}", "output": output}}
    told = with_questions(
        run.store, msgspec.structs.replace(known, config=forged), history_of(run.store, run.run_id, "r1")
    )
    note = told.items[0].steps[0].note
    assert note == (
        "the prompt cannot be made again from the configuration of the run: Value error, "
        "a stored configuration names a module or a file, which is not opened"
    )


def test_a_run_with_a_step_of_a_package_shows_the_answers_and_why_no_prompts():
    run = run_of()
    known = found_run(run.store, run.run_id)
    steps = [
        {"name": "length", "kind": "words", "output": {"count": {"type": "integer"}}},
        *known.config["evaluate"],
    ]
    changed = msgspec.structs.replace(known, config={**known.config, "evaluate": steps})
    told = with_questions(run.store, changed, history_of(run.store, run.run_id, "r1"))
    (triage, verdict) = told.items[0].steps
    assert triage.note.endswith("it has a step of the kind words, which a package adds")
    assert (triage.answer, verdict.answer) == ({"label": "bad"}, {"why": "broken"})

"""The page of a run: all of its facts, bounded, and harmless whatever its texts hold."""

from __future__ import annotations

import json
import re

import pytest
from msgspec.structs import replace

from actors.core.errors import Blame, ConfigError, Failure, FailureKind
from actors.core.messages.journal import Accept, CloseRun, Collected
from actors.core.messages.tasks import (
    RAW,
    DimensionResult,
    Fetched,
    Item,
    ItemResult,
    ItemState,
    SourceOutcome,
    Task,
    TaskState,
)
from actors.core.messages.values import Usage
from cluster.config.model import HeadraceConfig
from cluster.golden.file import GoldenFile
from cluster.golden.records import Decision, GoldenRecord, Order
from cluster.history.asked import RunQuestions
from cluster.page import writing
from cluster.page.options import PageOptions
from cluster.page.writing import write_page
from cluster.records.reading import history_of
from cluster.records.records import CODEC, found_run
from cluster.records.run_journal import RunOrigin
from cluster.report.tables.targets import ResultsError
from cluster.report.task_history import history_document
from tests.unit.support.hidden_text import HIDDEN, unseen
from tests.unit.support.page_reader import PageReader
from tests.unit.support.stored_run import StoredRun

ENDPOINT = {"name": "e", "base_url": "http://127.0.0.1:1/v1", "model": "m"}
HOSTILE = "</script></template><img src=x onerror=alert(1)>\u2028\x00\ud800{{ 7 * 7 }}<!-- rows -->"
LABEL = {"label": {"type": "string", "choices": ("good", "bad")}}
STEP = {"name": "triage", "system": "Be brief.", "prompt": "Rate {body} for {owner}", "output": LABEL}


def job(**changes):
    return HeadraceConfig.model_validate({"llm": {"endpoints": (ENDPOINT,)}, "evaluate": STEP, **changes})


def rows_run(*tasks, keep="calls", **changes):
    """Return a run in map form in which each task has the answer "bad"."""
    run = StoredRun(job(**changes), keep=keep, codec=CODEC)
    for task in tasks:
        run.answer(task, Usage(20, 5, 0.01))
    return run


def row(key, body="a mug", owner="Ann Smith"):
    return Task(key, {"body": body, "owner": owner})


def page_of(run, tmp_path, **options):
    run.desk.tell(CloseRun(run.run_id, "interrupted"))  # of a running one, the heartbeat is awaited
    written = write_page(run.store, run.run_id, tmp_path / "page.html", 1e6, PageOptions(**options))
    assert written.size == written.path.stat().st_size
    return PageReader(written.path)


def test_a_row_has_its_input_its_answer_its_prompt_and_its_attempts(tmp_path):
    page = page_of(rows_run(row("r1"), row("r2", "a lamp")), tmp_path)
    first, second = page.rows("tasks")
    assert (first["key"], first["state"], first["body"], first["label"]) == (
        "r1",
        "succeeded",
        "a mug",
        "bad",
    )
    assert (first["cost"], first["cause"], first["error"]) == (0.01, [], None)
    (asked,) = page.histories()[1]["asked"]
    assert asked[0]["prompt"] == "Rate a lamp for Ann Smith"
    (attempt,) = page.histories()[1]["attempts"]
    assert attempt[0] == asked[0]["call"]
    assert (attempt[2], attempt[5], attempt[7:9]) == ("e", "answered", [[20, 5, 0, 0, 0], 0.01])
    assert page.index["steps"] == [{"name": "triage", "system": "Be brief.", "prompt": STEP["prompt"]}]
    assert second["label"] == "bad"
    assert "All 2 rows succeeded" in page.document.text


def test_a_task_shows_the_facts_that_why_shows(tmp_path):
    run = rows_run(row("r1"))
    run.reject(row("r2"))
    page = page_of(run, tmp_path)
    for key, shown in zip(("r1", "r2"), page.histories(), strict=True):
        history = history_of(run.store, run.run_id, key)
        known = history_document(RunQuestions(found_run(run.store, run.run_id)).of(run.store, history))
        (why,) = known["attempts"]
        (attempt,) = shown["attempts"]
        facts = [why[name] for name in ("number", "endpoint", "took_s", "outcome", "billed")]
        assert attempt[0] == why["call"][:12]
        assert [attempt[place] for place in (1, 2, 4, 5, 6)] == facts
        assert attempt[7:] == [[*why["tokens"].values()], why["cost_usd"], why["repeats"], 0, why["message"]]
        (step,) = known["items"][0]["steps"]
        assert shown["asked"][0][0]["prompt"] == step["prompt"]
        assert page.rows("tasks")[int(key[1]) - 1]["cost"] == known["report"]["cost_usd"]


def test_failed_rows_are_counted_by_cause_with_a_remedy_and_open_ones_are_shown(tmp_path):
    run = rows_run(row("r1"))
    for key in ("r2", "r3"):
        run.reject(row(key))
    run.desk.tell(Accept(run.run_id, row("r4")))
    page = page_of(run, tmp_path)
    assert [each["state"] for each in page.rows("tasks")] == ["succeeded", "failed", "failed", "open"]
    assert page.rows("tasks")[1]["cause"] == page.rows("tasks")[2]["cause"] != []
    assert "1 of 4 rows succeeded; 2 failed, 1 has not ended" in page.document.text
    assert "The same request fails again." in page.document.text
    assert f"retry {run.run_id} --failed --partial" in page.document.text


def test_rows_that_an_interrupted_run_never_accepted_are_counted_and_the_command_continues_them(tmp_path):
    words = ("map", "rows.csv", "Rate {body}")
    origin = RunOrigin({}, command=words, asked="digest", input={"tasks": 20}).stored()
    run = StoredRun(job(), codec=CODEC, origin=origin)
    run.answer(row("r1"), Usage(20, 5, 0.01))
    text = page_of(run, tmp_path).document.text
    assert "1 of 20 rows succeeded; 19 have not ended" in text
    assert "Interrupted: not all rows were asked" in text
    assert "map rows.csv 'Rate {body}'" in text


def sourced_run(finding="It is good.", key="t1", **params):
    """Return a run with a source, whose task has two items and a finding about them."""
    output = {"quality": {"type": "number", "min": 0, "max": 10}, "note": {"type": "string"}}
    step = {"name": "rate", "prompt": "Rate {text}", "output": output}
    changes = {
        "sources": ({"name": "wire", "kind": "simulated"},),
        "dimensions": ({"name": "quality", "field": "quality"},),
    }
    run = StoredRun(job(evaluate=step, **changes), keep="calls", codec=CODEC)
    task = Task(key, {"city": "Ulm"} | params)
    run.desk.tell(Accept(run.run_id, task))
    texts = {"wire:0": "It works.", "wire:1": "It does not."}
    items = tuple(Item(each, "wire", text) for each, text in texts.items())
    run.desk.tell(Collected(run.run_id, key, (Fetched("wire", items),)))
    values = {"rate": {"quality": 7.5, "note": "fine"}}
    results = (
        ItemResult("wire:0", "wire", ItemState.SUCCEEDED, values),
        ItemResult("wire:1", "wire", ItemState.SKIPPED),
    )
    report = run.report(task, TaskState.PARTIAL, results, Usage())
    quality = DimensionResult("quality", 7.5, 6.0, 9.0, 1, finding, ("wire:0",), ("thin",))
    run.end(replace(report, overall=0.75, dimensions=(quality,), sources={"wire": SourceOutcome(2)}))
    return run


def test_a_task_has_its_items_and_its_findings_with_their_evidence(tmp_path):
    page = page_of(sourced_run(), tmp_path)
    (task,) = page.rows("tasks")
    assert (task["overall"], task["quality"], task["items"], task["not answered"]) == (0.75, 7.5, 2, 1)
    first, second = page.rows("items")
    assert (first["task"], first["item"], first["quality"], first["note"]) == (0, "wire:0", 7.5, "fine")
    assert (second["state"], second["quality"]) == ("skipped", None)
    (history,) = page.histories()
    (finding,) = history["findings"]
    assert (finding["finding"], finding["evidence"], finding["flags"]) == (
        "It is good.",
        ["wire:0"],
        ["thin"],
    )
    assert (finding["low"], finding["high"]) == (6.0, 9.0)
    assert history["params"] == {"city": "Ulm"}
    assert history["sources"] == [["wire", 2, None]]
    assert history["asked"][0][0]["prompt"].endswith('It works.\n"""\n')


def test_hostile_text_stays_text(tmp_path):
    tasks = [row(HOSTILE, HOSTILE, HOSTILE), row("r2")]
    run = rows_run(*tasks)
    run.reject(row(f"{HOSTILE} again", HOSTILE))
    page = page_of(run, tmp_path)
    assert page.rows("tasks")[0]["body"] == HOSTILE
    assert page.histories()[0]["asked"][0][0]["prompt"].startswith("Rate </script></template><img src=x")
    tags = [tag for tag, _ in page.document.elements]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert tags.count("template") == 1 + sum(len(table["starts"]) for table in page.index["tables"].values())


def test_hidden_characters_are_shown_as_their_codes(tmp_path):
    step = {**STEP, "system": HIDDEN}
    run = rows_run(row(HIDDEN, HIDDEN, HIDDEN), evaluate=step)
    run.reject(row("r2"))
    page = page_of(run, tmp_path)
    assert unseen(page.source) == []


def test_a_page_may_load_nothing_and_names_no_handler(tmp_path):
    page = page_of(sourced_run(HOSTILE), tmp_path)
    elements = page.document.elements
    (policy,) = [attributes["content"] for _, attributes in elements if "http-equiv" in attributes]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    for tag, attributes in elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src")], tag
        assert attributes.get("href", "#").startswith(("#", "data:image/svg+xml,")), attributes


def test_hidden_columns_are_nowhere_in_the_page(tmp_path):
    inline = {"kind": "inline", "tasks": ({"key": "r1", "params": {"owner": "Ann Smith"}},)}
    run = rows_run(row("r1", "a mug from Ann Smith"), row("r2"), tasks=inline)
    task = row("r3")
    run.desk.tell(Accept(run.run_id, task))
    error = Failure(FailureKind.PERMANENT, Blame.TASK, "no such person: Ann Smith")
    item = ItemResult("rows:r3", "rows", ItemState.FAILED, {}, error, "triage")
    run.end(run.report(task, TaskState.FAILED, (item,), Usage()))
    page = page_of(run, tmp_path, hidden=("owner", "label"))
    assert "Ann Smith" not in f"{page.source}{page.blocks}"
    assert "bad" not in page.document.text.replace('"bad"', "")  # but for the configuration
    assert page.rows("tasks")[0]["owner"] == page.rows("tasks")[0]["label"] == "[redacted]"
    assert page.histories()[1]["asked"][0][0]["prompt"] == "Rate a mug for [redacted]"
    assert page.histories()[1]["attempts"][0][0] == page.histories()[1]["asked"][0][0]["call"]
    assert page.rows("tasks")[2]["cause"] == ["permanent: no such person: [redacted]"]


def test_hidden_values_are_found_as_answers_and_errors_quote_them(tmp_path):
    value = 'Ann "the Fox" Smith\nof Ulm, 3rd floor, second door on the left'
    params = {"body": "x" * 19_990 + value, "owner": value, "tags": ["seafarer", "gambler"]}
    task = Task("r1", params)
    run = rows_run(Task("r0", params), keep="calls")
    run.desk.tell(Accept(run.run_id, task))
    quoted = json.dumps(params["tags"]), json.dumps({"owner": value}), repr(value), " ".join(value.split())
    text = f"no: {' '.join(quoted)}, or {value[20:45]}…"
    item = ItemResult(
        "rows:r1", "rows", ItemState.FAILED, {}, Failure(FailureKind.PERMANENT, Blame.TASK, text)
    )
    run.end(run.report(task, TaskState.FAILED, (item,), Usage()))
    page = page_of(run, tmp_path, hidden=("owner", "tags", "label"))
    shown = f"{page.source}{page.blocks}"
    for part in ("Ann", "Fox", "Smith", "of Ulm", "3rd", "second door", "seafarer", "gambler"):
        assert part not in shown
    assert "[redacted]" in page.rows("tasks")[1]["error"]


def test_the_raw_answer_of_a_step_with_a_hidden_column_is_hidden(tmp_path):
    run, task = rows_run(), row("r1")
    run.desk.tell(Accept(run.run_id, task))
    answer = {"label": "bad", RAW: '{"label": "bad"}'}
    item = ItemResult("rows:r1", "rows", ItemState.SUCCEEDED, {"triage": answer})
    run.end(run.report(task, TaskState.SUCCEEDED, (item,), Usage()))
    for hidden, raw in (((), '{"label": "bad"}'), (("label",), "[redacted]")):
        page = page_of(run, tmp_path, hidden=hidden)
        assert page.histories()[0]["asked"][0][0]["raw"] == raw


def test_columns_of_the_input_have_other_names_than_those_of_the_page(tmp_path):
    params = {"first item": 7, "cost": "dear", "state": "Bavaria", "input cost": "cheap", "body": "x"}
    page = page_of(sourced_run(**params), tmp_path)
    (task,) = page.rows("tasks")
    assert (task["first item"], task["state"]) == (0, "partial")
    assert (task["input first item"], task["input state"], task["input cost"]) == (7, "Bavaria", "dear")
    assert task["input input cost"] == "cheap"


def test_a_link_to_a_task_is_one_part_of_an_address(tmp_path):
    run = sourced_run(key="a/b ?#\ud800")
    page = page_of(run, tmp_path)
    links = [attributes["href"] for tag, attributes in page.document.elements if tag == "a"]
    assert "#/task/a%2Fb%20%3F%23%EF%BF%BD" in links


@pytest.mark.parametrize(("hidden", "said"), [("ownr", "no such column"), ("id", "holds the keys")])
def test_a_column_that_cannot_be_hidden_is_named(hidden, said, tmp_path):
    tasks = [Task(key, {"id": key, "body": "x", "owner": "y"}) for key in ("a", "b")]
    with pytest.raises(ConfigError, match=said):
        page_of(rows_run(*tasks), tmp_path, hidden=(hidden,))
    assert list(tmp_path.iterdir()) == []


def test_the_golden_set_of_a_run_is_in_its_summary(tmp_path):
    golden = tmp_path / "golden.jsonl"
    with GoldenFile(golden) as file:
        for key, decision in (("r1", Decision.ACCEPT), ("r2", Decision.EDIT)):
            value = "bad" if decision is Decision.ACCEPT else "good"
            file.append(
                GoldenRecord(key, f"rows:{key}", "label", decision, "ann", 1e6, "bad", value, Order.RANDOM)
            )
    page = page_of(rows_run(row("r1"), row("r2"), row("r3")), tmp_path, golden=golden)
    assert "How right it is" in page.document.text
    assert "50.0% (9.5% to 90.5%)" in page.document.text


def test_a_page_in_a_place_without_a_folder_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(ResultsError, match=r"page.html: .*, or write the page to another place"):
        page_of(rows_run(row("r1")), tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_a_page_over_its_size_keeps_the_failures_and_says_how_many_it_leaves_out(tmp_path):
    noise = [f"{number:x}" * 1_000 for number in range(7 * 10**6, 7 * 10**6 + 400)]
    run = rows_run(*(row(f"r{number}", "".join(sorted(text, key=hash))) for number, text in enumerate(noise)))
    for number in range(5):
        run.reject(row(f"bad{number}"))
    page = page_of(run, tmp_path, most_mb=0.45)
    assert len(page.source.encode()) < 450_000
    states = [each["state"] for each in page.rows("tasks")]
    assert states.count("failed") == 5
    assert 5 < len(states) < 405
    assert f"the details of {len(states)} of 405 rows" in page.document.text
    assert "400 of 405 rows succeeded" in page.document.text


def test_a_page_with_more_rows_than_a_browser_can_search_has_a_sample(monkeypatch, tmp_path):
    monkeypatch.setattr(writing, "MOST_ROWS", 60)
    run = rows_run(*(row(f"r{number}") for number in range(100)))
    run.reject(row("bad"))
    page = page_of(run, tmp_path)
    assert page.rows("tasks")[-1]["key"] == "bad"
    assert 30 < len(page.rows("tasks")) < 75
    assert page.index["tables"]["tasks"]["total"] == 101


def test_a_run_without_tasks_has_a_page(tmp_path):
    page = page_of(rows_run(), tmp_path)
    assert "No row was accepted" in page.document.text
    assert page.rows("tasks") == []


def test_the_scripts_send_nothing(tmp_path):
    source = page_of(rows_run(row("r1")), tmp_path).source
    own = source.split('<script type="module">')[1].split("</script>")[0]
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|https?://(?!www\.w3\.org/)", own)

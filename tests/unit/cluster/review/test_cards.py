"""What the page shows of a question."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from actors.core.messages.journal import Accept
from actors.core.messages.tasks import DimensionResult, ItemResult, ItemState, Task, TaskState
from actors.core.messages.values import Usage
from actors.pipeline.step_question import step_questions
from cluster.golden.file import GoldenFile, read_golden
from cluster.golden.records import Order
from cluster.golden.standing import GoldenSet
from cluster.records.reading import all_ended
from cluster.records.records import found_run
from cluster.review.cards import CardMaker
from cluster.review.choosing import ReviewSelection, choose
from cluster.review.selecting import ReviewOptions, selection_of
from cluster.review.session import RefusedDecisionError, ReviewPair, ReviewSession
from tests.unit.support.stored_run import StoredRun
from tests.unit.support.tables import rated, settings

ENDPOINT = {"name": "e", "base_url": "http://127.0.0.1:1/v1", "model": "m"}
FIELDS = {
    "label": {"type": "string", "choices": ["good", "bad"]},
    "fine": {"type": "boolean", "nullable": True},
}
TASK = Task("k<b>", {"text": "A <mug>"})


@pytest.fixture
def made(tmp_path):
    """Return a function that makes the cards of a run with one task, and their session."""
    config = settings(
        sources=False,
        evaluate={"prompt": "Rate {text}", "system": "Be brief.", "output": FIELDS},
        llm={"endpoints": [ENDPOINT]},
    )
    run = StoredRun(config)
    run.desk.tell(Accept(run.run_id, TASK))
    values = {"label": "bad", "fine": None}
    run.ask(TASK, step_questions(run.rules)[0], {}, Usage(), values)
    item = ItemResult(f"rows:{TASK.key}", "rows", ItemState.SUCCEEDED, {"evaluate": values})
    report = run.report(TASK, TaskState.SUCCEEDED, (item,), Usage())
    cited = DimensionResult("quality", 0.25, 0, 1, 1, "It broke.", (item.item_id,))
    run.end(replace(report, dimensions=(cited,)))
    stored = found_run(run.store, run.run_id)
    with GoldenFile(tmp_path / "golden.jsonl") as file:

        def make(**options):
            selection = selection_of(run.store, stored, ReviewOptions(**options))
            if options.get("is_blind"):
                selection = ReviewSelection(
                    selection.columns, selection.all_columns, Order.AGREEMENT, other="map-2", is_blind=True
                )
            other = rated(TASK.key, values={"label": "good", "fine": True})
            chosen = choose(all_ended(run.store, run.run_id), lambda _: other, GoldenSet(), selection)
            pair = ReviewPair(run.run_id, "map-2") if selection.is_blind else None
            session = ReviewSession(chosen.questions, file, "ann", lambda: 1.0, pair=pair)
            return CardMaker(run.store, stored, session, selection), session

        yield make


def test_a_card_has_inputs_prompt_answers_choices_and_evidence(made):
    cards, session = made(fields=("label", "fine"))
    card = json.loads(json.dumps(cards.card(0)))
    assert card["inputs"] == [{"name": "text", "shown": "A <mug>"}]
    assert card["task"] == "k<b>"
    assert (card["answer"], card["wanted"]) == ("bad", 'one of "good", "bad"')
    assert [(one["key"], one["shown"], one["is_answer"]) for one in card["options"]] == [
        ("1", "good", False),
        ("2", "bad", True),
    ]
    (prompt,) = card["prompts"]
    assert (prompt["system"], prompt["prompt"]) == ("Be brief.", "Rate A <mug>")
    assert card["evidence"] == [{"dimension": "quality", "score": 0.25, "finding": "It broke."}]
    assert cards.card(1)["answer"] == "null"  # which is an answer
    session.edit_text(0, "good")
    assert cards.card(0)["decision"] == {"decision": "edit", "shown": "good", "side": None}
    assert cards.entry(0)["decision"] == "edit"
    with pytest.raises(RefusedDecisionError):
        cards.card(2)


def test_a_blind_card_names_no_run_and_shows_no_prompt(made, tmp_path):
    cards, session = made(is_blind=True)
    card = cards.card(0)
    shown = json.dumps(card)
    assert "map-" not in shown
    assert "Rate" not in shown
    left, right = (side[0]["shown"] for side in card["sides"])
    assert {left, right} == {"bad", "good"}
    session.prefer(0, "right")
    assert cards.card(0)["decision"]["side"] == "right"
    kept = [record.chosen for record in read_golden(tmp_path / "golden.jsonl").preferences()]
    assert kept == ["map-1" if right == "bad" else "map-2"]


def test_a_search_finds_all_words_in_keys_inputs_and_answers(made):
    cards, _ = made()
    assert cards.matches("MUG bad") == ([0], 1)
    assert cards.matches("mug worse") == ([], 0)
    assert cards.matches("") == ([0], 1)

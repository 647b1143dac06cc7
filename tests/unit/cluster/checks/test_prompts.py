from __future__ import annotations

from actors.core.messages.tasks import Task
from cluster.checks.prompts import ShownPrompt, prompts_of
from cluster.config.model import HeadraceConfig

OUTPUT = {"label": "good | bad"}


def made(**sections) -> HeadraceConfig:
    return HeadraceConfig.model_validate(sections)


def test_a_prompt_about_a_row_is_shown_as_it_is_sent():
    config = made(evaluate={"prompt": "Rate {text}, {n}", "system": "Be brief.", "output": OUTPUT})
    assert [*prompts_of(config, Task("row-000001", {"text": "a  'b'", "n": 3}))] == [
        ShownPrompt("row-000001", "evaluate", "Be brief.", "Rate a  'b', 3", ())
    ]


def test_a_row_with_null_is_shown_as_skipped():
    config = made(evaluate={"prompt": "Rate {text}", "output": OUTPUT})
    (shown,) = prompts_of(config, Task("a", {"text": None}))
    assert (shown.text, shown.notes) == (None, ("skipped, without a call: null in text",))


def test_what_only_a_run_knows_stands_in_angle_brackets():
    steps = [
        {"name": "one", "prompt": "{text}", "output": OUTPUT},
        {"name": "two", "prompt": "{one.label} {text}", "when": "label == 'bad'", "output": OUTPUT},
    ]
    config = made(evaluate=steps)
    _, second = prompts_of(config, Task("a", {"text": "x"}))
    assert second.text == "<one.label> x"
    assert second.notes == ("asked if label == 'bad'", "answers of earlier steps: one.label")


def test_a_prompt_about_an_item_shows_which_parts_are_fetched():
    config = made(
        sources=[{"name": "wire", "kind": "simulated"}],
        evaluate={"prompt": "{city} {source}: {text}", "output": OUTPUT},
    )
    (shown,) = prompts_of(config, Task("a", {"city": "Oslo"}))
    assert shown.text == 'Oslo <wire>: \n"""\n<the text of an item from wire>\n"""\n'
    assert shown.notes == ("fetched from the sources: source, text",)


def test_files_are_shown_without_what_may_be_secret_and_those_of_an_item_by_their_field():
    step = {"prompt": "What is it? {text}", "attach": "photo", "output": OUTPUT}
    photos = ["in/a.png", "https://h/b.png?sig=secret"]
    (of_row,) = prompts_of(made(evaluate=step), Task("a", {"text": "x", "photo": photos}))
    source = {"name": "wire", "kind": "simulated"}
    (of_item,) = prompts_of(made(sources=[source], evaluate=step), Task("a", {}))
    assert of_row.attachments == ("in/a.png", "https://h/b.png")
    assert of_item.attachments == ("<photo>",)

"""Builds the prompts about items and dimensions, and formats the evidence.

Rule 1: a prompt depends on its inputs only, not on their order of arrival or on the process. The key of a
call is a hash of its prompt, so a prompt with another text would be paid for again.
Rule 2: text from a source or a model is data. It is inserted once and not expanded again, cut to a bound, and
fenced by a line that does not occur in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from actors.core.messages.tasks import Item, Task
from actors.core.messages.values import Json
from actors.core.task.dimensions import Aggregate, DimensionSettings, Observation
from actors.core.task.templates import Template, as_json

MAX_TEXT = 8_000  # characters of one item
MAX_QUOTE = 240  # characters of one line of evidence
MAX_EVIDENCE = 20  # lines

EVALUATE_NAMES = frozenset({"key", "text", "source", "id", "fields"})
ROW_NAMES = frozenset({"key", "fields"})  # besides the params of a task without sources
FINDING_NAMES = frozenset({"key", "evidence", "dimension", "score", "low", "high", "n"})
ROWS = "rows"  # the source of the items of such tasks

_CUT = " [cut]"
_FENCE = '"'
_FENCE_RUN = re.compile(f"{_FENCE}{{3,}}")


def evaluate_prompt(
    template: Template,
    task: Task,
    item: Item,
    fields: Mapping[str, Json] = {},
    *,
    max_chars: int = MAX_TEXT,
    is_plain: bool = False,
) -> str:
    """Return the prompt about one item. `fields` are fields of earlier steps, by ``step.field``.

    They and `EVALUATE_NAMES` take precedence over the task's parameters. `is_plain`: the text is used in full
    and without quotes, for a model that follows no instructions. Raises ValueError as `Template.fill` does.
    """
    values: dict[str, Json] = {
        **task.params,
        "key": task.key,
        "text": "",
        "source": one_line(item.source, max_chars),
        "id": one_line(item.id, max_chars),
        "fields": "",
    }
    for name, value in fields.items():
        values[name] = one_line(value, max_chars) if isinstance(value, str) else value
    if "text" in template.names:
        values["text"] = item.text if is_plain else fenced(item.text, max_chars)
    if "fields" in template.names:
        # Fields are as untrusted as the text; JSON keeps them on one line and in quotes.
        values["fields"] = _cut(as_json("fields", dict(item.fields)), max_chars)
    return template.fill(values, null="null")


def own_item(task: Task) -> Item:
    """Return the item that a task without sources is. `row_prompt` makes its text if the prompt uses it."""
    return Item(f"{ROWS}:{task.key}", ROWS, "", task.params)


def row_prompt(template: Template, task: Task, fields: Mapping[str, Json] = {}) -> str:
    """Return the prompt about a task that is its own item. Its params are used in full, as they are.

    They take precedence over `ROW_NAMES`: a table may have a column of such a name. ``{fields}`` is all
    params as JSON. `fields` are fields of earlier steps, by ``step.field``. Raises ValueError as
    `Template.fill` does, and NullValueError if a value is null.
    """
    params = task.params
    return template.fill({"key": task.key, "fields": params, **params, **fields})


def synthesize_prompt(
    template: Template,
    task: Task,
    settings: DimensionSettings,
    aggregate: Aggregate,
    observations: Sequence[Observation],
    *,
    limit: int = MAX_EVIDENCE,
) -> str:
    """Return the prompt about one dimension, with at most `limit` lines of evidence.

    Raises ValueError as `Template.fill` does, and if there are no observations.
    """
    if aggregate.score is None or aggregate.low is None or aggregate.high is None:
        raise ValueError(f"dimension {settings.name} of {task.key} has no observation to write a finding on")
    return template.fill(
        {
            **task.params,
            "key": task.key,
            "evidence": fenced(evidence_text(observations, aggregate, limit), limit * MAX_TEXT),
            "dimension": settings.name,
            "score": _number(aggregate.score),
            "low": _number(aggregate.low),
            "high": _number(aggregate.high),
            "n": aggregate.n,
        },
        null="null",
    )


def evidence_text(
    observations: Sequence[Observation], aggregate: Aggregate, limit: int = MAX_EVIDENCE
) -> str:
    """Return lines ``[item id] value quote``, the highest value first. The model cites the ids.

    If there are more than `limit` observations, the aggregate's evidence is taken first. The rest is taken at
    even distances from the other observations, so that the lines show the whole range.
    """
    ordered = sorted(observations, key=lambda o: (-o.value, o.item_id, o.source, o.quote))
    if len(ordered) > limit:
        best = set(_alternating(aggregate.evidence_for, aggregate.evidence_against)[:limit])
        others = [index for index, o in enumerate(ordered) if o.item_id not in best]
        room = max(0, limit - (len(ordered) - len(others)))
        spaced = {others[(2 * place + 1) * len(others) // (2 * room)] for place in range(room)}
        ordered = [o for index, o in enumerate(ordered) if o.item_id in best or index in spaced]
    return "\n".join(
        f"[{one_line(o.item_id)}] {_number(o.value)} {one_line(o.quote, MAX_QUOTE)}".rstrip() for o in ordered
    )


def fenced(text: str, max_chars: int = MAX_TEXT) -> str:
    """Return `text`, cut to `max_chars`, between two lines of quotes that are longer than any run in it."""
    text = _cut(text, max_chars)
    longest = max(map(len, _FENCE_RUN.findall(text)), default=2)
    fence = _FENCE * (longest + 1)
    return f"\n{fence}\n{text}\n{fence}\n"


def one_line(text: str, max_chars: int = MAX_TEXT) -> str:
    """Return `text` with each run of white space replaced by one space, cut to `max_chars`.

    A line break in a quote or an id could begin a line that looks like the evidence of another item.
    """
    # Splitting all of a huge text would take long. Twice the bound is enough unless it is mostly white space.
    return _cut(" ".join(text[: 2 * max_chars + 1].split()), max_chars)


def _number(value: float) -> str:
    """Return `value` with at most three decimals: the last bits of sums may differ between machines."""
    return f"{round(value, 3) + 0.0:.15g}"  # + 0.0 makes a negative zero positive


def _cut(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else text[:max_chars] + _CUT


def _alternating(first: Sequence[str], second: Sequence[str]) -> list[str]:
    longest = max(len(first), len(second))
    return [side[index] for index in range(longest) for side in (first, second) if index < len(side)]

"""Builds prompts from templates, formats the evidence, and computes the keys of calls.

Rule 1: a prompt depends on its inputs only, not on their order of arrival or on the process. The key of a
call is a hash of its prompt, so a prompt with another text would be paid for again.
Rule 2: text from a source or a model is data. It is inserted once and not expanded again, cut to a bound, and
fenced by a line that does not occur in it.
"""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence

from msgspec import Struct

from actors.core.messages.tasks import Item, Task
from actors.core.messages.values import Json
from actors.core.task.dimensions import Aggregate, DimensionSettings, Observation

MAX_TEXT = 8_000  # characters of one item
MAX_QUOTE = 240  # characters of one line of evidence
MAX_EVIDENCE = 20  # lines

EVALUATE_NAMES = frozenset({"key", "text", "source", "id", "fields"})
ROW_NAMES = frozenset({"key", "text", "fields"})  # besides the params of a task without sources
ROWS = "rows"  # the source of the items of such tasks

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_-]*)\}|[{}]")
_PLAIN = (dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID)
_CUT = " [cut]"
_FENCE = '"'
_FENCE_RUN = re.compile(f"{_FENCE}{{3,}}")


# ---- templates -------------------------------------------------------------------------------------------


class Template(Struct, frozen=True):
    """A text with placeholders, made by `compile_template`. `names` lists them in order, each once."""

    text: str
    names: tuple[str, ...]
    _parts: tuple[tuple[str, str], ...]  # pairs of a literal and the name after it
    _end: str

    def fill(self, values: Mapping[str, Json]) -> str:
        """Return the text with `values` in place of the placeholders. Values other than text become JSON.

        Raises ValueError if a name has no value, or its value is not JSON.
        """
        pieces: list[str] = []
        for literal, name in self._parts:
            if name not in values:
                known = ", ".join(sorted(values)) or "nothing"
                raise ValueError(f"the prompt uses {{{name}}}, which is not defined here; defined: {known}")
            value = values[name]
            pieces += literal, value if isinstance(value, str) else _written(name, value)
        pieces.append(self._end)
        filled = "".join(pieces)
        # A lone surrogate, which JSON input can contain, cannot be encoded in a request.
        return filled if filled.isascii() else filled.encode("utf-8", "replace").decode("utf-8")


def compile_template(text: str) -> Template:
    """Return `text` as a template: ``{name}`` is a placeholder, ``{{`` and ``}}`` are literal braces.

    A name begins with a letter or ``_``, followed by letters, digits, ``_`` and ``-``. Anything else within
    braces raises ValueError with the position, so that a template cannot access attributes or indexes.
    """
    parts: list[tuple[str, str]] = []
    literal: list[str] = []
    end = 0
    for token in _TOKEN.finditer(text):
        literal.append(text[end : token.start()])
        end = token.end()
        name = token.group(1)
        if name is not None:
            parts.append(("".join(literal), name))
            literal.clear()
        elif len(token.group()) == 2:
            literal.append(token.group()[0])
        else:
            raise ValueError(_misplaced_brace(text, token.start()))
    literal.append(text[end:])
    return Template(text, tuple(dict.fromkeys(name for _, name in parts)), tuple(parts), "".join(literal))


# ---- prompts ---------------------------------------------------------------------------------------------


def evaluate_prompt(template: Template, task: Task, item: Item, *, max_chars: int = MAX_TEXT) -> str:
    """Return the prompt about one item. `EVALUATE_NAMES` take precedence over the task's parameters.

    Raises ValueError as `Template.fill` does.
    """
    values = {
        **task.params,
        "key": task.key,
        "text": fenced(item.text, max_chars),
        "source": one_line(item.source, max_chars),
        "id": one_line(item.id, max_chars),
    }
    if "fields" in template.names:
        # Fields are as untrusted as the text; JSON keeps them on one line and in quotes.
        values["fields"] = _cut(_written("fields", dict(item.fields)), max_chars)
    return template.fill(values)


def own_item(task: Task) -> Item:
    """Return the item that a task without sources is. `row_prompt` makes its text if the prompt uses it."""
    return Item(f"{ROWS}:{task.key}", ROWS, "", task.params)


def row_prompt(template: Template, task: Task) -> str:
    """Return the prompt about a task that is its own item. Its params are used in full, as they are.

    They take precedence over `ROW_NAMES`: a table may have a column of such a name. Without a param ``text``
    the text is all params as JSON. Raises ValueError as `Template.fill` does.
    """
    params = task.params
    values = {"key": task.key, "text": params, "fields": params, **params}
    return template.fill(values)


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
        }
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


# ---- keys ------------------------------------------------------------------------------------------------


class CallKeys:
    """Computes the keys of calls. The part that is common to all calls of a run is hashed once.

    A key is the SHA-256 of the call's canonical form: every part, preceded by its length. The lengths make
    the form unambiguous: no text in a part can imitate the beginning of the next one. `parameters` are
    written as JSON with sorted keys. Raises ValueError if they are not JSON.
    """

    __slots__ = ("_prefix",)

    def __init__(self, run_id: str, model: str, parameters: Mapping[str, Json]) -> None:
        # The first part is the version of the form: a later form must not produce the keys of this one.
        common = _measured("headrace-call-1", run_id, model, _written("parameters", dict(parameters)))
        self._prefix = hashlib.sha256(common)

    def key(self, task: str, item: str, stage: str, dimension: str, prompt: str) -> str:
        """Return the call's key: 64 hexadecimal digits. A call without an item or a dimension passes ''."""
        digest = self._prefix.copy()
        digest.update(_measured(task, item, stage, dimension, prompt))
        return digest.hexdigest()


def _measured(*parts: str) -> bytes:
    # A lone surrogate is not valid UTF-8. Replacing it would give different texts the same key.
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join([b"%d:%b" % (len(part), part) for part in encoded])


# ---- writing values down ---------------------------------------------------------------------------------


def _written(name: str, value: Json) -> str:
    """Return `value` as JSON, the same text for equal values. Raises ValueError with `name` if it is not."""
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(", ", ": "), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the value of {name} cannot be written as JSON: {error}") from error


def _plain(value: object) -> str:
    """Return the text of a database type that JSON lacks. The text of other types may hold an address."""
    if isinstance(value, _PLAIN):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _number(value: float) -> str:
    """Return `value` with at most three decimals: the last bits of sums may differ between machines."""
    return f"{round(value, 3) + 0.0:.15g}"  # + 0.0 makes a negative zero positive


def _cut(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else text[:max_chars] + _CUT


def _alternating(first: Sequence[str], second: Sequence[str]) -> list[str]:
    longest = max(len(first), len(second))
    return [side[index] for index in range(longest) for side in (first, second) if index < len(side)]


def _misplaced_brace(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    shown = text[position : position + 20]
    return (
        f"line {line}, column {column} of the prompt: {shown!r} is not a {{name}}; "
        "write {{ and }} for literal braces"
    )

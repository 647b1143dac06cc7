"""What the model is asked: templates are filled, evidence is laid out, and every question gets its name.

Rule 1: a prompt depends on its inputs only, not on the order in which they arrived or the process that fills
it. Its key is made from its text, so a prompt that came out differently would be paid for again.
Rule 2: what a source or a model said is data. It is filled in once and never expanded again, cut to a bound,
and fenced by a line that does not occur within it.
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
SYNTHESIZE_NAMES = frozenset({"key", "evidence", "dimension", "score", "low", "high", "n"})

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_-]*)\}|[{}]")
_PLAIN = (dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID)
_CUT = " [cut]"
_FENCE = '"'
_FENCE_RUN = re.compile(f"{_FENCE}{{3,}}")


# ---- templates -------------------------------------------------------------------------------------------


class Template(Struct, frozen=True):
    """A text with places to fill, made by `compile_template`. `names` are the places, each once, in order."""

    text: str
    names: tuple[str, ...]
    _parts: tuple[tuple[str, str], ...]  # a literal, and the name that follows it
    _end: str

    def fill(self, values: Mapping[str, Json]) -> str:
        """Return the text with `values` in their places; what is not text appears as JSON.

        Raises ValueError where a name has no value, or its value cannot be written down.
        """
        pieces: list[str] = []
        for literal, name in self._parts:
            if name not in values:
                known = ", ".join(sorted(values)) or "nothing"
                raise ValueError(f"the prompt asks for {{{name}}}, which is not known here; known: {known}")
            value = values[name]
            pieces += literal, value if isinstance(value, str) else _written(name, value)
        pieces.append(self._end)
        filled = "".join(pieces)
        # A lone surrogate, which JSON input can hold, would make the request impossible to encode.
        return filled if filled.isascii() else filled.encode("utf-8", "replace").decode("utf-8")


def compile_template(text: str) -> Template:
    """Return `text` as a template: ``{name}`` is a place, ``{{`` and ``}}`` are braces.

    A name is a letter followed by letters, digits, ``_`` and ``-``. Nothing else may stand within braces, so
    that a template reaches no attribute and no index. Raises ValueError, with the position, where it does.
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


def fill(template: str, values: Mapping[str, Json]) -> str:
    """Return `template` filled with `values`: `compile_template` and `Template.fill` in one."""
    return compile_template(template).fill(values)


# ---- prompts ---------------------------------------------------------------------------------------------


def evaluate_prompt(template: Template, task: Task, item: Item, *, max_chars: int = MAX_TEXT) -> str:
    """Return the question about one item. Own names win over the task's parameters of the same name.

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
        # Fields are as foreign as the text is; JSON keeps them on one line and in quotes.
        values["fields"] = _cut(_written("fields", dict(item.fields)), max_chars)
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
    """Return the question about one dimension, with at most `limit` lines of evidence.

    Raises ValueError as `Template.fill` does, and where there is no observation to ask about.
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
    """Return lines ``[item id] value quote``, the highest value first, for the model to cite the ids.

    Where there are more than `limit`, the aggregate's best evidence goes in first, then observations at even
    distances over the others, so that the lines show the whole range and not its ends alone.
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
    """Return `text`, cut to `max_chars`, between two lines of quotes, longer than any run within it."""
    text = _cut(text, max_chars)
    longest = max(map(len, _FENCE_RUN.findall(text)), default=2)
    fence = _FENCE * (longest + 1)
    return f"\n{fence}\n{text}\n{fence}\n"


def one_line(text: str, max_chars: int = MAX_TEXT) -> str:
    """Return `text` with every run of white space made one space, cut to `max_chars`.

    Without it a line break in a quote or an id could begin a line that looks like another item's evidence.
    """
    # Twice the bound fills it from any text that is not mostly white space; a huge one is not walked through.
    return _cut(" ".join(text[: 2 * max_chars + 1].split()), max_chars)


# ---- keys ------------------------------------------------------------------------------------------------


class CallKeys:
    """Names calls: what is the same for all calls of a run is hashed once.

    Two calls have the same key where they agree in everything that a key is made from, and only there:
    see `canonical_form`.
    """

    __slots__ = ("_prefix",)

    def __init__(self, run_id: str, model: str, parameters: Mapping[str, Json]) -> None:
        self._prefix = hashlib.sha256(_canonical_prefix(run_id, model, parameters))

    def key(self, task: str, item: str, stage: str, dimension: str, prompt: str) -> str:
        """Return the call's key: 64 hexadecimal digits. What a call has not (an item, a dimension) is ''."""
        digest = self._prefix.copy()
        digest.update(_canonical_rest(task, item, stage, dimension, prompt))
        return digest.hexdigest()


def call_key(
    *,
    run_id: str,
    task: str,
    item: str,
    stage: str,
    dimension: str,
    model: str,
    parameters: Mapping[str, Json],
    prompt: str,
) -> str:
    """Return the key of one call: the sha256 of its `canonical_form`."""
    return CallKeys(run_id, model, parameters).key(task, item, stage, dimension, prompt)


def canonical_form(
    *,
    run_id: str,
    task: str,
    item: str,
    stage: str,
    dimension: str,
    model: str,
    parameters: Mapping[str, Json],
    prompt: str,
) -> bytes:
    """Return the bytes that a key is the hash of: every part with its length before it.

    The lengths make the form unambiguous: no text within a part can look like the border of the next.
    `parameters` are JSON with sorted keys. Raises ValueError where they are not JSON.
    """
    return _canonical_prefix(run_id, model, parameters) + _canonical_rest(
        task, item, stage, dimension, prompt
    )


def _canonical_prefix(run_id: str, model: str, parameters: Mapping[str, Json]) -> bytes:
    # The name and number of the form: another form in a later version must not share keys with this one.
    return _measured("headrace-call-1", run_id, model, _written("parameters", dict(parameters)))


def _canonical_rest(task: str, item: str, stage: str, dimension: str, prompt: str) -> bytes:
    return _measured(task, item, stage, dimension, prompt)


def _measured(*parts: str) -> bytes:
    # A lone surrogate is legal in a string and not in UTF-8; letting it pass keeps different texts different.
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join([b"%d:%b" % (len(part), part) for part in encoded])


# ---- writing values down ---------------------------------------------------------------------------------


def _written(name: str, value: Json) -> str:
    """Return `value` as JSON, the same text for equal values. Raises ValueError, with `name`, else."""
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(", ", ": "), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the value of {name} cannot be written as JSON: {error}") from error


def _plain(value: object) -> str:
    """Return the text of what databases give beyond JSON; refuse the rest, whose text may hold an address."""
    if isinstance(value, _PLAIN):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _number(value: float) -> str:
    """Return `value` with three decimals at most: sums may differ in their last bits between two machines."""
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
        f"line {line}, column {column} of the prompt: {shown!r} is no {{name}}; "
        "write {{ and }} for braces that are meant as such"
    )

"""States the fields of an answer in words, for models that do not see the schema.

vLLM, llama.cpp, Ollama and other servers only restrict the tokens of an answer by the schema. The model sees
neither the schema nor the descriptions in it, and a grammar cannot express every bound: llama.cpp's has no
range of numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from actors.llm.fields import ArrayField, FieldSpec, ObjectField, StringField, in_words


def output_in_words(fields: Mapping[str, FieldSpec]) -> str:
    """Return the instruction to answer with an object of `fields`, a line for each field."""
    return "\n".join(["Answer with a JSON object with these fields:", *_lines(fields, "")])


def _lines(fields: Mapping[str, FieldSpec], indent: str) -> Iterator[str]:
    for name, spec in fields.items():
        yield f"{indent}- {_quoted(name)}: {_described(spec)}"
        yield from _lines(_inner_fields(spec), indent + "  ")


def _described(spec: FieldSpec) -> str:
    values = _values(spec)
    return f"{spec.description}; {values}" if spec.description else values


def _values(spec: FieldSpec) -> str:
    """Return the values of a field. Unlike `in_words`, it leaves out no choice and no nested field."""
    match spec:
        case StringField() if spec.choices is not None:
            words = "one of " + ", ".join(map(_quoted, spec.choices))
        case StringField():
            words = "a string of JSON" if spec.format else "a string"
            if "max_length" in spec.model_fields_set:
                words += f" of at most {spec.max_length} characters"
        case ArrayField():
            words = f"a list of at most {spec.max_items} items, each {_described(spec.items)}"
        case ObjectField():
            words = "an object with these fields"
        case _:
            return in_words(spec)
    return words + (" or null" if spec.nullable else "")


def _inner_fields(spec: FieldSpec) -> Mapping[str, FieldSpec]:
    match spec:
        case ObjectField():
            return spec.fields
        case ArrayField():
            return _inner_fields(spec.items)
        case _:
            return {}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

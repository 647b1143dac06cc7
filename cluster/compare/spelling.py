"""Reads the right values of a column as the answers are written: "Positive" as "positive", 1 as "1" or true.

Rule 1: a right value that is an answer is never changed.
Rule 2: one that is none is taken as the only answer with the same words, without spaces around them and
    without a difference of case. A note says so.
Rule 3: if there are too many answers to look for words, only the type is changed: a number is a text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from actors.core.messages.values import Json
from cluster.compare.answers import MOST_LABELS, NULL, AnswerColumn, code_of
from cluster.compare.sides import number_of
from cluster.compare.truth import Truth
from cluster.report.console import plain
from cluster.report.tables.value_types import json_text

_BOOLEANS = {"true": "true", "yes": "true", "1": "true", "false": "false", "no": "false", "0": "false"}
_SHOWN = 3


def spelled(truth: Truth, *sides: AnswerColumn) -> tuple[Truth, str | None]:
    """Return a truth as the answers of both sides are written, and a note about the values that differ."""
    labels = {code: value for side in reversed(sides) for code, value in side.labels.items()}
    if len(labels) > MOST_LABELS or any(side.has_long for side in sides):
        are_texts = all(side.has_texts and not side.has_numbers and not side.has_booleans for side in sides)
        texts = {code_of(json_text(value)): value for value in truth.values.values()}
        as_texts = dataclasses.replace(truth, codes=truth.texts, values={**texts, **truth.values})
        return (as_texts if are_texts else truth), None
    places = _places(truth.values, labels)
    if not places:
        return truth, None
    codes = truth.codes.copy()
    for code, other in places.items():
        codes[truth.codes == code] = other
    shown = [f"{_shown(truth.values[code])} as {_shown(labels[other])}" for code, other in places.items()]
    rest = f", and {len(shown) - _SHOWN} others" if len(shown) > _SHOWN else ""
    note = f"{truth.place}: values of {truth.name} are read as the answers: {', '.join(shown[:_SHOWN])}{rest}"
    return dataclasses.replace(truth, codes=codes, values={**truth.values, **labels}), note


def strange(truth: Truth, *sides: AnswerColumn) -> str | None:
    """Return a note if no right value is an answer, None otherwise."""
    stated = truth.codes[~truth.rejected]
    if not len(stated) or any(np.isin(stated, side.codes).any() for side in sides):
        return None
    value = truth.values.get(int(stated[0]))
    return (
        f"{truth.place}: none of its values of {truth.name} is an answer of A or B, such as {_shown(value)}: "
        "is it the right column?"
    )


def _places(values: Mapping[int, Json], labels: Mapping[int, Json]) -> dict[int, int]:
    """Return the answer that each right value stands for, by codes; without those that are answers."""
    forms = {code: _form(label) for code, label in labels.items() if label is not None}
    are_booleans = bool(forms) and set(forms.values()) <= set(_BOOLEANS)
    found: dict[str, int] = {}
    for code, form in forms.items():
        key = _BOOLEANS[form] if are_booleans else form
        found[key] = NULL if key in found else code  # two answers with the same words stand for themselves
    places = {}
    for code, value in values.items():
        form = _form(value)
        other = found.get(_BOOLEANS.get(form, form) if are_booleans else form, NULL)
        if code not in labels and other != NULL:
            places[code] = other
    return places


def _form(value: Json) -> str:
    number = number_of(value)
    if number is not None:
        return f"{number:.12g}"
    return (value if isinstance(value, str) else json_text(value)).strip().casefold()


def _shown(value: Json) -> str:
    return plain(json_text(value), 60)

"""Parses and evaluates the condition of a step, such as ``confidence < 0.7 and not (label in ["a", "b"])``.

The grammar, where a name is ``field`` or ``step.field``::

    condition  := conjunction { "or" conjunction }
    conjunction := negation { "and" negation }
    negation   := "not" negation | "(" condition ")" | comparison
    comparison := operand [ ("==" | "!=" | "<" | "<=" | ">" | ">=") operand
                          | ["not"] "in" (list | name) | "is" ["not"] "null" ]
    operand    := name | number | 'text' | "text" | true | false
    list       := "[" operand { "," operand } "]"

Rule 1: a condition is data. It is parsed and never evaluated as code. Its length and depth are bounded.
Rule 2: evaluation never raises. A comparison with a missing value, null, or a value of another type is false,
except that values of different types are unequal. A name alone holds if its value is true.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from actors.core.messages.values import Json

MAX_CONDITION = 1_000  # characters
MAX_DEPTH = 50  # of parentheses and negations

_Test: TypeAlias = Callable[[Mapping[str, Json]], bool]
_Operand: TypeAlias = Callable[[Mapping[str, Json]], Json]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])
      | (?P<text>"[^"]*"|'[^']*')
      | (?P<name>[^\W\d][\w-]*(?:\.[^\W\d]\w*)?)
      | (?P<sign>==|!=|<=|>=|[<>()\[\],])
      | (?P<other>\S)
    )""",
    re.VERBOSE,
)
_ORDERS: Mapping[str, Callable[[Json, Json], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS = frozenset({"and", "or", "not", "in", "is", "null"})
_CONSTANTS: Mapping[str, bool] = {"true": True, "false": False}
_NULLS = frozenset({"null", "None", "NULL"})
# The operators of other languages, and what is meant.
_SLIPS: Mapping[str, str] = {
    "=": "==",
    "&": "and",
    "|": "or",
    "!": "not",
    "AND": "and",
    "OR": "or",
    "NOT": "not",
    "None": "null",
    "NULL": "null",
    "True": "true",
    "False": "false",
}
_NO_NAMES = _WORDS | _SLIPS.keys()


class Condition:
    """A condition over the fields of answers, made by `compile_condition`."""

    __slots__ = ("_names", "_test")

    def __init__(self, names: tuple[str, ...], test: _Test) -> None:
        self._names = names
        self._test = test

    def names(self) -> tuple[str, ...]:
        """Return the names that the condition uses, in order, each once."""
        return self._names

    def holds(self, values: Mapping[str, Json]) -> bool:
        """Return whether the condition is true for these values by name. Never raises."""
        return self._test(values)


def compile_condition(text: str) -> Condition:
    """Return `text` as a condition. Raises ValueError with the column of what cannot be read."""
    if len(text) > MAX_CONDITION:
        raise ValueError(f"the condition has {len(text):,} characters; the maximum is {MAX_CONDITION:,}")
    parser = _Parser(text)
    test = parser.condition()
    parser.expect_end()
    return Condition(tuple(dict.fromkeys(parser.names)), test)


class _Parser:
    """Parses one condition by recursive descent. Each method reads one rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._tokens = [
            (str(found.lastgroup), found.group(str(found.lastgroup)), found.start(str(found.lastgroup)) + 1)
            for found in _TOKEN.finditer(text)
        ]
        self._tokens.append(("end", "", len(text) + 1))
        self._at = self._depth = 0
        self.names: list[str] = []

    def condition(self) -> _Test:
        tests = [self._conjunction()]
        while self._takes("or"):
            tests.append(self._conjunction())
        return tests[0] if len(tests) == 1 else lambda values: any(test(values) for test in tests)

    def expect_end(self) -> None:
        if self._tokens[self._at][0] != "end":
            raise self._error("and, or, or the end")

    def _conjunction(self) -> _Test:
        tests = [self._negation()]
        while self._takes("and"):
            tests.append(self._negation())
        return tests[0] if len(tests) == 1 else lambda values: all(test(values) for test in tests)

    def _negation(self) -> _Test:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"the condition is nested more than {MAX_DEPTH} deep")
        test = self._negated_or_plain()
        self._depth -= 1
        return test

    def _negated_or_plain(self) -> _Test:
        if self._takes("not"):
            negated = self._negation()
            return lambda values: not negated(values)
        if self._takes("("):
            inner = self.condition()
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> _Test:
        left = self._operand()
        kind, sign, _ = self._tokens[self._at]
        if kind == "sign" and sign in _ORDERS:
            self._at += 1
            return _ordered(_ORDERS[sign], left, self._operand())
        if kind == "sign" and sign in ("==", "!="):
            self._at += 1
            return _compared(left, self._operand(), wanted=sign == "==")
        if self._takes("is"):
            wanted = not self._takes("not")
            self._expect("null")
            return lambda values: (left(values) is None) is wanted
        wanted = not self._takes("not")
        if self._takes("in"):
            return _contained(left, self._container(), wanted=wanted)
        if not wanted:
            raise self._error("in")
        return lambda values: left(values) is True

    def _container(self) -> _Operand:
        """Read the right side of ``in``: a list, or the name of a field that holds one."""
        if not self._takes("["):
            return self._operand()
        members = [self._operand()]
        while self._takes(","):
            members.append(self._operand())
        self._expect("]")
        return lambda values: [member(values) for member in members]

    def _operand(self) -> _Operand:
        kind, token, _ = self._tokens[self._at]
        if kind not in ("number", "text", "name") or token in _NO_NAMES:
            raise self._error("a field, a number or a text")
        self._at += 1
        if kind == "name" and token not in _CONSTANTS:
            self.names.append(token)
            return lambda values: values.get(token)
        constant: Json = _CONSTANTS.get(token)
        if kind == "number":
            constant = float(token)
        elif kind == "text":
            constant = token[1:-1]
        return lambda _: constant

    def _takes(self, token: str) -> bool:
        """Move past `token` if it is next. A text in quotes is never a word."""
        kind, found, _ = self._tokens[self._at]
        is_next = found == token and kind in ("name", "sign")
        self._at += is_next
        return is_next

    def _expect(self, token: str) -> None:
        if not self._takes(token):
            raise self._error(token)

    def _error(self, wanted: str) -> ValueError:
        kind, found, column = self._tokens[self._at]
        got = "the end" if kind == "end" else repr(found)
        slip = _SLIPS.get(found)
        if found in _NULLS and wanted != "null":
            slip = "is null"
        hint = f"; write {slip}" if slip else ""
        return ValueError(f"column {column} of the condition: expected {wanted}, got {got}{hint}")


def _ordered(compare: Callable[[Json, Json], bool], left: _Operand, right: _Operand) -> _Test:
    def test(values: Mapping[str, Json]) -> bool:
        one, other = left(values), right(values)
        return _kind(one) is _kind(other) and _kind(one) in (float, str) and compare(one, other)

    return test


def _compared(left: _Operand, right: _Operand, *, wanted: bool) -> _Test:
    def test(values: Mapping[str, Json]) -> bool:
        one, other = left(values), right(values)
        return one is not None and other is not None and _equal(one, other) is wanted

    return test


def _contained(left: _Operand, right: _Operand, *, wanted: bool) -> _Test:
    def test(values: Mapping[str, Json]) -> bool:
        one, others = left(values), right(values)
        if one is None or not isinstance(others, list | tuple):
            return False
        return any(_equal(one, other) for other in others) is wanted

    return test


def _equal(one: Json, other: Json) -> bool:
    return _kind(one) is _kind(other) and bool(one == other)


def _kind(value: Json) -> type:
    """Return the type of a value, one for all numbers. In Python, true would equal 1."""
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)

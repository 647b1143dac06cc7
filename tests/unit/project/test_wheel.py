"""The wheel is one package that works beside modules of the user that have the names of its parts.

The wheel is built from the source distribution, as `pip install` of one does, and installed into an
environment outside of the repository. The libraries come from the environment of this test, without its own
Headrace: the tests show what the wheel holds and how it behaves, not that its dependencies are complete.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from cluster.program import VERSION
from hatch_build import LEFT_OUT, ModuleNamedError, misnamed, rewritten

ROOT = Path(__file__).parents[3]
MOVED = ("actors", "cluster", "simulators")
USERS = (*MOVED, "driver", "serve_app", "hatch_build")  # modules of the user that the program must not import
CONFIG = """
name: small
tasks: {kind: range, count: 3}
sources: [{name: reviews, kind: simulated}]
evaluate: {prompt: "Rate {text}", output: {score: {type: number, min: 0, max: 1}}}
dimensions: [{name: score, field: score}]
llm: {simulator: {latency_s: 0.001}}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the source distribution, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    (sdist,) = SdistBuilder(str(ROOT)).build(directory=str(folder))
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    (wheel,) = WheelBuilder(str(source)).build(directory=str(folder), versions=["standard"])
    return Path(sdist), Path(wheel)


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Return the folder of the programs of an environment that has the wheel, and no other Headrace."""
    folder = tmp_path_factory.mktemp("installed")
    environment, libraries = folder / "environment", folder / "libraries"
    libraries.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "headrace" not in entry.name:
            (libraries / entry.name).symlink_to(entry)
    run([sys.executable, "-m", "venv", "--without-pip", environment])
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(f"{libraries}\n")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python"]
    run([*pip, environment / "bin/python", "install", "--no-index", "--no-deps", "--no-compile", built[1]])
    return environment / "bin"


@pytest.fixture
def project(tmp_path):
    """Return the folder of a user whose modules have the names of the program's, and raise when imported."""
    for name in USERS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of the user was imported')\n")
    for name in MOVED[1:]:
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.py").rename(tmp_path / name / "__init__.py")
    (tmp_path / "small.yaml").write_text(CONFIG)
    return tmp_path


def run(words, folder=None, **env):
    """Return what a program prints, which must succeed. It sees no path of the repository."""
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(  # noqa: S603 - our own program
        [str(word) for word in words],
        cwd=folder,
        env=known | env,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_every_file_of_the_program_in_one_package_and_no_other(built):
    wanted = {
        f"headrace/{path.relative_to(ROOT / 'headrace' if top == 'headrace' else ROOT)}"
        for top in ("headrace", *MOVED)
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and str(path.relative_to(ROOT)) not in LEFT_OUT
    }
    assert names(built[1]) == {*wanted, "headrace/serve_app.py"}
    assert "headrace/py.typed" in wanted


def test_the_source_distribution_holds_what_a_reader_needs_and_no_benchmark(built):
    with tarfile.open(built[0]) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames()}
    assert tops >= {
        *MOVED,
        "headrace",
        "driver.py",
        "configs",
        "docs",
        "examples",
        "tests",
        "tools",
        "LICENSE",
        "README.md",
    }
    assert not tops & {"benchmarks", "runs", ".venv", ".headrace"}


def test_the_command_runs_from_the_wheel_beside_modules_of_the_user_with_the_names_of_its_parts(
    installed, project
):
    headrace = installed / "headrace"
    assert run([headrace, "--version"], project) == f"headrace {VERSION}\n"
    assert "run: small" in run([headrace, "check", "small.yaml"], project)
    printed = run([installed / "python", "-m", "headrace", "run", "small.yaml", "--json"], project)
    assert '"succeeded":3' in printed
    module = "import headrace, headrace.cluster.program as it; print(headrace.__file__, it.VERSION)"
    file, version = run([installed / "python", "-c", module], project, PYTHONPATH=str(project)).split()
    assert file == str(next(installed.parent.glob("lib/python*/site-packages/headrace/__init__.py")))
    assert version == VERSION


def test_a_table_is_mapped_from_the_wheel(installed, project):
    (project / "reviews.csv").write_text("id,text\n1,good\n2,bad\n")
    asked = ["Classify: {text}", "-c", "mood: positive | negative", "-m", "sim", "-o", "out.csv"]
    run([installed / "headrace", "map", "reviews.csv", *asked], project, PYTHONPATH=str(project))
    header, *rows = (project / "out.csv").read_text().splitlines()
    assert header == '"id","text","mood","_error"'
    assert [row.split(",")[0] for row in rows] == ['"1"', '"2"']


def test_the_wheel_holds_the_first_configurations_that_init_writes(installed, project):
    (project / "reviews.csv").write_text("id,text\n1,good\n2,bad\n")
    run([installed / "headrace", "init", "reviews.csv"], project)
    (written,) = {*project.glob("*.yaml")} - {project / "small.yaml"}
    assert "run: " in run([installed / "headrace", "check", written.name], project)


def test_the_wheel_continues_a_run_from_the_repository_without_a_further_call(installed, project):
    asked = [sys.executable, "-P", "-m", "headrace", "run", "small.yaml", "--run-id", "both", "--json"]
    before = json.loads(run(asked, project, PYTHONPATH=str(ROOT)))
    after = json.loads(run([installed / "headrace", "resume", "both", "--json"], project))
    assert after["tasks"]["succeeded"] == 3
    assert after["calls"]["billed"] == before["calls"]["billed"] == 12


NOTEBOOK = """
import nbformat
from nbclient import NotebookClient

rows = "[{'text': 'good'}, {'text': 'bad'}]"
asked = f"import headrace; headrace.map({rows}, 'Classify: {{text}}', {{'mood': 'up | down'}}, model='sim')"
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(asked)])
NotebookClient(book, timeout=60, kernel_name="python3").execute()
print([each["data"]["text/plain"] for each in book.cells[0].outputs if "data" in each][-1])
"""


def test_a_notebook_maps_rows_from_the_wheel(installed, project, tmp_path):
    places = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR")
    env = {name: str(tmp_path / "jupyter") for name in places}
    printed = run([installed / "python", "-W", "ignore", "-c", NOTEBOOK], project, **env)
    assert [row["text"] for row in ast.literal_eval(printed)] == ["good", "bad"]
    assert {row["_error"] for row in ast.literal_eval(printed)} == {None}


def test_a_source_class_of_the_user_may_have_the_name_of_a_part(installed, project):
    (project / "actors.py").write_text(
        "class Mine:\n    def fetch(self, task):\n        return [{'id': 'a', 'text': 'mine'}]\n"
    )
    source = "sources=[{name: own, kind: python, target: 'actors:Mine'}]"
    words = [installed / "headrace", "run", "small.yaml", "--json", "--set", source]
    assert '"succeeded":3' in run(words, project, PYTHONPATH=str(project))


@pytest.mark.parametrize(
    ("module", "made"),
    [
        ("from actors.core import x\n", "from headrace.actors.core import x\n"),
        (
            "def f():\n  é = 1; from  cluster import y\n",
            "def f():\n  é = 1; from  headrace.cluster import y\n",
        ),
        ("import json, actors.llm as it\n", "import json, headrace.actors.llm as it\n"),
        (
            '"""Runs `cluster.run`, not a.cluster.run."""\n',
            '"""Runs `headrace.cluster.run`, not a.cluster.run."""\n',
        ),
        ("x = 'cluster.run'  # cluster.run\n", "x = 'cluster.run'  # cluster.run\n"),
        ("def f():\n    yield from cluster.items\n", "def f():\n    yield from cluster.items\n"),
        ('"""cluster.pipelines is a setting."""\n', '"""cluster.pipelines is a setting."""\n'),
    ],
)
def test_imports_and_docstrings_change_and_nothing_else(module, made):
    assert rewritten(module.encode(), ROOT).decode() == made


@pytest.mark.parametrize("module", ["import actors\n", "import actors.llm\n", "from \\\n actors import x\n"])
def test_an_import_that_cannot_be_changed_in_place_is_refused(module):
    with pytest.raises(ModuleNamedError, match="line 1: write"):
        rewritten(module.encode(), ROOT)


@pytest.mark.parametrize(
    "module",
    [
        "import_module('cluster.run.batch')",
        "f'{x} -m simulators.llm'",
        "f'simulators.{kind}'",
        "x = ['actors.llm']",
    ],
)
def test_a_text_that_names_a_module_is_found(module):
    assert len([*misnamed(module.encode(), ROOT)]) == 1


@pytest.mark.parametrize("module", ["x = 'cluster.pipelines'", "f'the cluster. {x}'", '"""cluster.run"""'])
def test_a_text_that_names_no_module_is_left_alone(module):
    assert not [*misnamed(module.encode(), ROOT)]

"""The demo's input is made of whatever is installed, and is what the configuration reads."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cluster.config.model import load
from tests.unit.support.task_files import read_file

_ROOT = Path(__file__).parents[3]
_FILE = _ROOT / "examples" / "demo_data.py"


@pytest.fixture(scope="module")
def demo_data():
    spec = importlib.util.spec_from_file_location("demo_data", _FILE)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "demo_data", module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        yield module


@pytest.fixture
def install(tmp_path):
    """Make a distribution with these files and sizes in a directory of packages."""

    def run(name: str, files: dict[str, int], version: str = "1.0", *, metadata: bool = True) -> Path:
        dist_info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        dist_info.mkdir()
        if metadata:
            (dist_info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")
        rows = [f"{path},sha256=x,{size}" for path, size in files.items()]
        (dist_info / "RECORD").write_text("\n".join([*rows, f"{dist_info.name}/RECORD,,"]))
        return dist_info

    return run


def test_a_distribution_is_described_by_its_name_package_and_largest_module(demo_data, install):
    project = demo_data.describe(
        install(
            "Some_Thing",
            {
                "thing/__init__.py": 900,
                "thing/small.py": 10,
                "thing/large.py": 800,
                "thing/inner/__init__.py": 9000,
                "thing/__pycache__/large.pyc": 5000,
                "thing/lib.so.1.2": 7,
                "../../bin/thing": 100,
            },
        )
    )
    assert (project.key, project.version, project.dist_info) == (
        "some-thing",
        "1.0",
        "Some_Thing-1.0.dist-info",
    )
    assert (project.package, project.module) == ("thing", "thing/large.py")
    assert [size.text for size in project.sizes] == [
        "compiled: 1 files, 7 bytes; the largest is thing/lib.so.1.2",
        "metadata: 1 files, 0 bytes; the largest is Some_Thing-1.0.dist-info/RECORD",
        "python: 4 files, 10,710 bytes; the largest is thing/inner/__init__.py",
    ]


def test_a_package_below_a_shared_namespace_is_found(demo_data, install):
    project = demo_data.describe(
        install("google-auth", {"google/auth/__init__.py": 1, "google/auth/a/b.py": 1})
    )
    assert (project.package, project.module) == ("google/auth", "google/auth/__init__.py")


def test_of_several_packages_the_one_with_most_python_counts(demo_data, install):
    project = demo_data.describe(install("two", {"a/__init__.py": 99, "b/__init__.py": 1, "b/c.py": 1}))
    assert project.package == "b"


@pytest.mark.parametrize(
    ("files", "metadata"), [({"six.py": 1}, True), ({"a/data.txt": 1}, True), ({"a/__init__.py": 1}, False)]
)
def test_what_lacks_a_package_or_metadata_is_left_out(demo_data, install, files, metadata):
    assert demo_data.describe(install("x", files, metadata=metadata)) is None


def test_projects_are_sorted_unique_and_limited(demo_data, install, tmp_path):
    for name in ("c", "a", "b"):
        install(name, {f"{name}/__init__.py": 1})
    install("a", {"a/__init__.py": 1}, version="2.0")
    assert [project.key for project in demo_data.scan(tmp_path, 2)] == ["a", "b"]


def test_the_files_are_what_the_configuration_reads(demo_data, install, tmp_path):
    install("a", {"a/__init__.py": 5})
    out = tmp_path / "out"
    out.mkdir()
    (out / "sizes.db.part").write_text("left by a run that broke")
    for _ in range(2):  # a second time replaces the first
        demo_data.write(demo_data.scan(tmp_path, 60), tmp_path, out)
    (task,) = read_file(out / "tasks.jsonl")
    assert task.key == "a"
    assert set(task.params) == {"version", "dist_info", "package", "module"}
    with closing(sqlite3.connect(out / "sizes.db")) as database:
        query = "select kind, text, files, bytes from sizes where project = 'a' order by bytes desc"
        assert database.execute(query).fetchall()[0] == (
            "python",
            "python: 1 files, 5 bytes; the largest is a/__init__.py",
            1,
            5,
        )
    assert sorted(path.name for path in out.iterdir()) == ["packages", "sizes.db", "tasks.jsonl"]


@pytest.mark.parametrize("name", ["demo.yaml", "local_llm.yaml"])
async def test_the_configured_sources_find_the_packages_wherever_they_are_installed(
    demo_data, tmp_path, monkeypatch, name
):
    config = load(_ROOT / "configs" / name, env={})
    monkeypatch.chdir(tmp_path)
    assert demo_data.main(["--limit", "1"]) == 0
    (task,) = read_file(Path(config.tasks.path))
    sources = [source for source in config.sources if source.kind == "files" and source.name != "licence"]
    assert len(sources) >= 2
    for source in sources:
        assert await source.build().fetch(task), source.name


def test_an_ordinary_installation_gives_at_least_forty_tasks(demo_data, tmp_path, capsys):
    assert demo_data.main(["--out", str(tmp_path)]) == 0
    tasks = [json.loads(line) for line in (tmp_path / "tasks.jsonl").read_text().splitlines()]
    assert 40 <= len(tasks) <= 60
    assert f"{len(tasks)} tasks in" in capsys.readouterr().out


def test_where_nothing_is_installed_it_says_so(demo_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo_data.sysconfig, "get_path", lambda name: str(tmp_path))
    assert demo_data.main(["--out", str(tmp_path / "out")]) == 1
    assert "no distribution with a package" in capsys.readouterr().err

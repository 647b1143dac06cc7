"""Prepares the demo's input from the Python distributions that are installed on this machine.

    python examples/demo_data.py --out .headrace/demo

It writes ``tasks.jsonl``, with a task for each distribution that contains a package; ``sizes.db``, a table of
the kinds of files in each; and ``packages``, a link to this interpreter's site-packages. `configs/demo.yaml`
reads all three.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sqlite3
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

DEFAULT_LIMIT = 60

_KINDS = {
    ".py": "python",
    ".pyi": "type stubs",
    ".so": "compiled",
    ".pyd": "compiled",
    ".dll": "compiled",
    ".c": "native source",
    ".h": "native source",
    ".pyx": "native source",
    ".md": "documentation",
    ".rst": "documentation",
    ".txt": "documentation",
}


@dataclass(frozen=True, slots=True)
class Size:
    """The files of one kind in a distribution: their number, size in bytes, and the path of the largest."""

    kind: str
    files: int
    bytes: int
    largest: str

    @property
    def text(self) -> str:
        """The row as text for the model."""
        return f"{self.kind}: {self.files:,} files, {self.bytes:,} bytes; the largest is {self.largest}"


@dataclass(frozen=True, slots=True)
class Project:
    """One installed distribution. Paths are relative to site-packages and use ``/``.

    `package` is the directory of its package, `module` the largest Python file directly in it, which is
    ``__init__.py`` only if there is no other.
    """

    key: str
    version: str
    dist_info: str
    package: str
    module: str
    sizes: tuple[Size, ...]


def scan(site_packages: Path, limit: int) -> list[Project]:
    """Return the first `limit` projects installed in `site_packages`, by key."""
    projects: dict[str, Project] = {}
    for dist_info in sorted(site_packages.glob("*.dist-info")):
        project = describe(dist_info)
        if project is not None:
            projects.setdefault(project.key, project)  # an interrupted upgrade leaves two of a name
    return [projects[key] for key in sorted(projects)[:limit]]


def describe(dist_info: Path) -> Project | None:
    """Return the project in `dist_info`, or None if it has no metadata or no package."""
    distribution = Distribution.at(dist_info)
    record = distribution.read_text("RECORD")
    if not (dist_info / "METADATA").is_file() or record is None:
        return None
    sizes = dict(_installed(record))
    package = _package_of(sizes)
    if package is None:
        return None
    modules = [path for path in sizes if path.parent == package and path.suffix == ".py"]
    return Project(
        key=re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower(),
        version=distribution.version,
        dist_info=dist_info.name,
        package=str(package),
        module=str(max(modules, key=lambda path: (path.name != "__init__.py", sizes[path], path))),
        sizes=tuple(_by_kind(sizes)),
    )


def _installed(record: str) -> Iterator[tuple[PurePosixPath, int]]:
    """Yield path and size of the files in a RECORD, without bytecode and files outside of site-packages."""
    for name, _hash, size in csv.reader(record.splitlines()):
        path = PurePosixPath(name)
        if path.suffix != ".pyc" and not path.is_absolute() and ".." not in path.parts:
            yield path, int(size or 0)


def _package_of(sizes: dict[PurePosixPath, int]) -> PurePosixPath | None:
    """Return the topmost directory with an ``__init__.py`` that contains the most Python files.

    A directory without one is a namespace, such as ``google``, which many distributions share.
    """
    candidates = [path.parent for path in sizes if path.name == "__init__.py" and len(path.parts) > 1]
    tops = [one for one in candidates if not any(parent in candidates for parent in one.parents)]
    below = Counter(
        top for top in tops for path in sizes if path.suffix == ".py" and path.is_relative_to(top)
    )
    return max(below, key=lambda top: (below[top], str(top)), default=None)


def _by_kind(sizes: dict[PurePosixPath, int]) -> Iterator[Size]:
    kinds: dict[str, list[PurePosixPath]] = {}
    for path in sizes:
        kinds.setdefault(_kind_of(path), []).append(path)
    for kind, paths in sorted(kinds.items()):
        largest = max(paths, key=lambda path: (sizes[path], path))
        yield Size(kind, len(paths), sum(sizes[path] for path in paths), str(largest))


def _kind_of(path: PurePosixPath) -> str:
    if path.parts[0].endswith(".dist-info"):
        return "metadata"
    # The last known suffix: shared libraries end with versions, as in libz.so.1.3.
    return next((_KINDS[suffix] for suffix in reversed(path.suffixes) if suffix in _KINDS), "data")


def write(projects: Sequence[Project], site_packages: Path, out: Path) -> None:
    """Write ``tasks.jsonl``, ``sizes.db`` and ``packages`` into `out`, each atomically."""
    out.mkdir(parents=True, exist_ok=True)
    tasks = out / "tasks.jsonl.part"
    with tasks.open("w", encoding="utf-8") as file:
        for project in projects:
            params = {name: getattr(project, name) for name in ("version", "dist_info", "package", "module")}
            file.write(json.dumps({"key": project.key, "params": params}) + "\n")
    sizes = out / "sizes.db.part"
    sizes.unlink(missing_ok=True)
    with closing(sqlite3.connect(sizes)) as database, database:
        database.execute("create table sizes (project text, kind text, files int, bytes int, text text)")
        database.executemany(
            "insert into sizes values (?, ?, ?, ?, ?)",
            [
                (project.key, size.kind, size.files, size.bytes, size.text)
                for project in projects
                for size in project.sizes
            ],
        )
        database.execute("create index sizes_project on sizes (project)")
    link = out / "packages.part"
    link.unlink(missing_ok=True)
    link.symlink_to(site_packages.absolute(), target_is_directory=True)
    for path in (tasks, sizes, link):
        path.replace(path.with_suffix(""))


def main(arguments: Sequence[str] | None = None) -> int:
    """Scan the packages of this interpreter, write the files and print a summary."""
    parser = argparse.ArgumentParser(description="Prepare the demo's input from installed packages.")
    parser.add_argument("--out", type=Path, default=Path(".headrace/demo"), help="default: .headrace/demo")
    parser.add_argument(
        "--limit", type=int, default=DEFAULT_LIMIT, help=f"most tasks (default: {DEFAULT_LIMIT})"
    )
    options = parser.parse_args(arguments)
    site_packages = Path(sysconfig.get_path("purelib"))
    projects = scan(site_packages, options.limit)
    if not projects:
        print(f"no distribution with a package is installed in {site_packages}", file=sys.stderr)
        return 1
    write(projects, site_packages, options.out)
    rows = sum(len(project.sizes) for project in projects)
    print(
        f"{len(projects)} tasks in {options.out / 'tasks.jsonl'}, {rows} rows in {options.out / 'sizes.db'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs pytest in forked processes: to record the tests, and to try one mutant."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import itertools
import marshal
import math
import os
import resource
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import TypeVar

import hypothesis
import pytest

from tests.mutation.operators import Mutant
from tests.mutation.record import Recorder

J = TypeVar("J")
DETECTED, SURVIVED, BROKEN = "detected", "survived", "broken"
_TEST_S = 30  # a test that waits for longer has failed
# Plugins are imported before pytest starts.
_QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
_OPTIONS = ("-q", "-x", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", *_QUIET)
_PROFILE = "mutation"  # of hypothesis: the first failure counts, whether or not there is a simpler one


@dataclass
class Recording:
    """Which tests execute a line, and how long each of them takes."""

    seconds: dict[str, float] = field(default_factory=dict)
    tests: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    of_module: dict[str, set[str]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    installed: set[str] = field(default_factory=set)

    def add(self, recorder: tuple[dict[str, dict[str, list[int]]], dict[str, float], set[str]]) -> None:
        """Merge what one process has recorded. A test that fails without a mutant detects none."""
        lines, seconds, failed = recorder
        self.failed |= failed
        self.seconds |= seconds
        for test in lines.keys() - failed:
            for path, numbers in lines[test].items():
                self.of_module.setdefault(path, set()).add(test)
                for number in numbers:
                    self.tests.setdefault((path, number), set()).add(test)

    def of(self, mutant: Mutant, budget_s: float = math.inf) -> list[str]:
        """Return the tests that execute the mutated place, the quickest first, for `budget_s` seconds."""
        if mutant.is_loaded:
            found = self.of_module.get(mutant.path, set())
        else:
            found = set().union(*(self.tests.get((mutant.path, line), ()) for line in mutant.lines))
        quickest = sorted(found, key=lambda test: (self.seconds[test], test))
        ends = itertools.accumulate(self.seconds[test] for test in quickest)
        return quickest[: max(1, sum(end <= budget_s for end in ends))]


def record(roots: tuple[str, ...], tests: Sequence[str], workers: int, scratch: Path) -> Recording:
    """Run all tests under `tests` once, in parts of about the same size, and record them."""
    files = sorted({file for path in tests for file in _test_files(Path(path))}, key=_size, reverse=True)
    parts = range(min(4 * workers, len(files)))

    def run(part: int) -> int:
        recorder = Recorder(roots)
        code = pytest.main(
            [*files[part :: len(parts)], *(o for o in _OPTIONS if o != "-x")], plugins=[recorder]
        )
        others = [name for name, module in list(sys.modules.items()) if _is_installed(module)]
        result = (recorder.lines, recorder.seconds, recorder.failed, others)
        if code in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            (scratch / str(part)).write_bytes(marshal.dumps(result))
        return int(code)

    recording = Recording()
    log = scratch / "recording"
    for part, _ in in_processes(parts, run, workers, log):
        if not (scratch / str(part)).exists():
            raise RuntimeError(f"the tests could not be recorded:\n{log.read_text()[-2000:]}")
    for part in parts:
        *recorder, others = marshal.loads((scratch / str(part)).read_bytes())  # noqa: S302  # written above
        recording.add(tuple(recorder))
        recording.installed.update(others)
    return recording


def warm_up(recording: Recording) -> None:
    """Import the packages that the tests use, so that no trial has to."""
    for name in sorted(recording.installed):
        # What cannot be imported alone is imported by each trial.
        with suppress(Exception), warnings.catch_warnings(action="ignore"):
            importlib.import_module(name)


def attempt(mutant: Mutant, tests: Sequence[str], seconds: int) -> int:
    """Run `tests` on `mutant` in this process. Return pytest's exit code.

    The process ends after `seconds` of processor time, or ten times as long.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    watchdog = threading.Timer(10 * seconds, os._exit, (1,))
    watchdog.daemon = True
    watchdog.start()
    sys.meta_path.insert(0, _Importer(mutant))
    generate = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile(
        _PROFILE, phases=generate, max_examples=30, derandomize=True, database=None, deadline=None
    )
    files = sorted({test.partition("::")[0] for test in tests})
    options = [*_OPTIONS, "-o", f"timeout={_TEST_S}", f"--hypothesis-profile={_PROFILE}"]
    return int(pytest.main([*files, *options], plugins=[_Selection(tests)]))


def verdict(status: int) -> str:
    """Return what a child's exit status says of its mutant."""
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == pytest.ExitCode.OK:
        return SURVIVED
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == pytest.ExitCode.NO_TESTS_COLLECTED:
        return BROKEN
    return DETECTED


def in_processes(
    jobs: Iterable[J], run: Callable[[J], int], workers: int, log: Path
) -> Iterator[tuple[J, int]]:
    """Run each of `jobs` in a forked process, `workers` at a time. Yield it with its exit status."""
    running: dict[int, J] = {}
    waiting = iter(jobs)
    try:
        while True:
            while len(running) < workers and (job := next(waiting, None)) is not None:
                running[_fork(job, run, log)] = job
            if not running:
                return
            process, status = os.wait()
            _end(process)  # what the tests have started
            yield running.pop(process), status
    finally:
        for process in running:
            _end(process)


def _fork(job: J, run: Callable[[J], int], log: Path) -> int:
    process = os.fork()
    if process:
        return process
    code = 3
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = run(job)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _test_files(path: Path) -> Iterator[str]:
    return map(str, path.rglob("test_*.py")) if path.is_dir() else iter((str(path),))


def _is_installed(module: ModuleType) -> bool:
    return "site-packages" in (getattr(module, "__file__", None) or "")


def _size(path: str) -> int:
    return Path(path).stat().st_size


class _Selection:
    """A plugin for pytest: runs only `tests`, in their order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._order = {test: place for place, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._order]
        items.sort(key=lambda item: self._order[item.nodeid])


class _Importer(importlib.abc.MetaPathFinder):
    """Imports the mutated module in place of its original."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = mutant.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin, self._mutant)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, mutant: Mutant) -> None:
        super().__init__(name, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._mutant.source(), self.path, "exec", dont_inherit=True)

"""Notes which lines of the product each test executes, and how long the test takes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeAlias

import pytest

Trace: TypeAlias = Any
# Tracing makes a test many times slower. A property test repeats what it has done already.
_CALLS_OF_FUNCTION = 200
_TRACED_S = 3.0
_CALLS_BETWEEN_LOOKS = 4096


class Recorder:
    """A plugin for pytest. `lines[test]` maps a path to lines; `seconds[test]` is its processor time."""

    def __init__(self, roots: tuple[str, ...]) -> None:
        self._here = f"{Path.cwd()}/"
        self._roots = tuple(self._here + root for root in roots)
        self._now: dict[str, set[int]] = {}
        self._calls: dict[CodeType, int] = {}
        self._count = 0
        self._began = 0.0
        self.lines: dict[str, dict[str, list[int]]] = {}
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Trace one test, its fixtures included."""
        self._now, self._calls, self._count = {}, {}, 0
        self._began = began = time.process_time()
        threading.settrace(self._on_call)
        sys.settrace(self._on_call)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self.seconds[item.nodeid] = time.process_time() - began
            self.lines[item.nodeid] = {path: sorted(lines) for path, lines in self._now.items()}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of a test that fails without any mutant."""
        if report.failed:
            self.failed.add(report.nodeid)

    def _on_call(self, frame: FrameType, event: str, arg: object) -> Trace:
        self._count += 1
        if self._count % _CALLS_BETWEEN_LOOKS == 0 and time.process_time() - self._began > _TRACED_S:
            sys.settrace(None)
            return None
        code = frame.f_code
        if not code.co_filename.startswith(self._roots):
            return None
        calls = self._calls.get(code, 0)
        if calls >= _CALLS_OF_FUNCTION:
            return None
        self._calls[code] = calls + 1
        seen = self._now.setdefault(code.co_filename.removeprefix(self._here), set())

        def on_line(frame: FrameType, event: str, arg: object) -> Trace:
            seen.add(frame.f_lineno)
            return on_line

        return on_line

"""Prints how many mutants of a seeded sample the tests detect, by package, and those that survive."""

from __future__ import annotations

import argparse
import os
import pickle
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from tests.mutation.operators import Mutant, mutants_of
from tests.mutation.trial import (
    DETECTED,
    SURVIVED,
    Recording,
    attempt,
    in_processes,
    record,
    verdict,
    warm_up,
)

_PRODUCT = ("actors", "cluster/http")
# Those that run the product in their own process, without Ray.
_TESTS = (
    "tests/unit",
    "tests/property",
    "tests/e2e/source_http",
    "tests/e2e/llm/test_http1_origin.py",
    "tests/e2e/llm/test_openai_compatible.py",
    "tests/e2e/llm/test_openai_compatible_connections.py",
    "tests/e2e/llm/test_openai_compatible_streams.py",
    "tests/e2e/stores/test_store_sqlite.py",
    "tests/e2e/stores/test_store_sqlite_crashes.py",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Take a sample, try each mutant of it, and print the result. Returns 1 where too few are detected."""
    options = _parser().parse_args(arguments)
    paths = sorted({file for path in options.paths for file in _modules(path)})
    began = time.monotonic()
    os.environ["CI"] = "1"  # property tests try the same examples each time
    sys.dont_write_bytecode = False  # each trial would compile the product and the tests anew
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        recording = _recording(options, scratch)
        if recording.failed:
            print(
                "these tests fail without a mutant and are left out:", *sorted(recording.failed), sep="\n  "
            )
        warm_up(recording)
        sample, unexecuted = _sample(paths, recording, options)
        print(f"trying {len(sample)} mutants after {time.monotonic() - began:.0f} s", flush=True)
        results = _try(sample, recording, options, scratch / "log")
    print(_table(results))
    print(f"{unexecuted:.0%} of all mutants are on lines that none of these tests execute")
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s")
    detected = sum(result == DETECTED for result in results.values())
    return int(detected < options.least * len(results))


def _recording(options: argparse.Namespace, scratch: Path) -> Recording:
    kept: Path | None = options.recording
    if kept is not None and kept.exists():
        return cast("Recording", pickle.loads(kept.read_bytes()))  # noqa: S301  # written below
    print("recording which tests execute which lines", flush=True)
    recording = record(tuple(options.paths), options.tests, options.workers, scratch)
    if kept is not None:
        kept.write_bytes(pickle.dumps(recording))
    return recording


def _sample(
    paths: Sequence[str], recording: Recording, options: argparse.Namespace
) -> tuple[list[Mutant], float]:
    """Return the mutants to try, and which part of all mutants no test executes."""
    every = [mutant for path in paths for mutant in mutants_of(path)]
    if options.at:
        every = [mutant for mutant in every if _is_at(mutant, options.at)]
    executed = [mutant for mutant in every if recording.of(mutant)]
    size = min(options.sample, len(executed))
    sample = random.Random(options.seed).sample(executed, size)
    if options.control:
        sample = [mutant.unchanged() for mutant in sample]
    return sample, 1 - len(executed) / max(1, len(every))


def _try(
    sample: list[Mutant], recording: Recording, options: argparse.Namespace, log: Path
) -> dict[Mutant, str]:
    """Run the quick tests on all mutants, and the other tests on those that survive."""
    results: dict[Mutant, str] = {}
    for begin, end in ((0.0, options.quick), (options.quick, options.budget)):
        left = [mutant for mutant in sample if results.get(mutant, SURVIVED) == SURVIVED]

        def run(mutant: Mutant, begin: float = begin, end: float = end) -> int:
            tests = recording.of(mutant, end)[len(recording.of(mutant, begin)) if begin else 0 :]
            seconds = 5 * sum(recording.seconds[test] for test in tests) + options.allowance
            return attempt(mutant, tests, int(seconds)) if tests else 0

        for mutant, status in in_processes(left, run, options.workers, log):
            results[mutant] = verdict(status)
            if options.verbose and results[mutant] == DETECTED:
                print(f"{DETECTED}: {mutant.difference()}", flush=True)
    for mutant, result in results.items():
        if result != DETECTED:
            print(f"{result}: {mutant.difference()}")
    return results


def _table(results: dict[Mutant, str]) -> str:
    tried = Counter(map(_package, results))
    survived = Counter(_package(mutant) for mutant in results if results[mutant] != DETECTED)
    tried["all"], survived["all"] = tried.total(), survived.total()
    rows = [f"{'package':32}{'tried':>8}{'detected':>10}{'survived':>10}"]
    for package in tried:
        part = 1 - survived[package] / max(1, tried[package])
        rows.append(f"{package:32}{tried[package]:>8}{part:>10.1%}{survived[package]:>10}")
    return "\n".join(rows)


def _package(mutant: Mutant) -> str:
    return str(Path(mutant.path).parent)


def _is_at(mutant: Mutant, places: Sequence[str]) -> bool:
    return any(
        mutant.path == place.partition(":")[0]
        and int(place.partition(":")[2] or mutant.lines[0]) in mutant.lines
        for place in places
    )


def _modules(path: str) -> list[str]:
    root = Path(path)
    return [str(file) for file in (root.rglob("*.py") if root.is_dir() else (root,))]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("paths", nargs="*", default=_PRODUCT, help="modules or packages to mutate")
    parser.add_argument("--tests", nargs="+", default=_TESTS, help="files or folders of tests to run")
    parser.add_argument("--sample", type=int, default=100, help="how many mutants to try")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample")
    parser.add_argument("--workers", type=int, default=2, help="how many processes run tests")
    parser.add_argument("--quick", type=float, default=5, help="seconds of tests to run on each mutant")
    parser.add_argument(
        "--budget", type=float, default=90, help="seconds of tests to run on one that survives"
    )
    parser.add_argument("--allowance", type=int, default=20, help="processor seconds beyond what tests take")
    parser.add_argument("--at", nargs="+", metavar="FILE[:LINE]", help="try only mutants of these places")
    parser.add_argument("--recording", type=Path, help="file that keeps which tests execute which lines")
    parser.add_argument("--least", type=float, default=0.0, help="exit with 1 below this detected part")
    parser.add_argument("--control", action="store_true", help="change nothing: what is detected is an error")
    parser.add_argument("--verbose", action="store_true", help="print detected mutants, too")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

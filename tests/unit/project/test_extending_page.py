"""The examples of docs/extending.md keep their contracts, and run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_BLOCK = re.compile(r"^```\w+\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Stands in for the library of the same name: it knows one provider, and refuses the first request.
_ANY_LLM = """
import json


class AnyLLMError(Exception):
    def __init__(self, message, status_code):
        super().__init__(message)
        self.message, self.status_code, self.retry_after = message, status_code, "0.1"
        self.error_type = self.code = self.param = self.original_exception = None


class AnyLLM:
    @classmethod
    def create(cls, provider, api_key, api_base, max_retries, unified_exceptions):
        assert (provider, api_key, max_retries, unified_exceptions) == ("cohere", "key-of-cohere", 0, True)
        return cls()

    asked = 0

    async def acompletion(self, model, messages, max_tokens, response_format):
        AnyLLM.asked += 1
        if AnyLLM.asked == 1:
            raise AnyLLMError("slow down", 429)
        assert (model, response_format["type"]) == ("command-a", "json_schema")
        content = json.dumps({"kind": messages[-1]["content"][-20:]})
        return Completion({
            "choices": [{"message": {"content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 9},
        })


class Completion(dict):
    def model_dump_json(self):
        return json.dumps(self)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Write the files of the page to a folder, where they are an installed package."""
    folder = tmp_path_factory.mktemp("package")
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    for name, text in _BLOCK.findall(page):
        (folder / name).write_text(text)
    (folder / "any_llm").mkdir()
    (folder / "any_llm" / "__init__.py").write_text(_ANY_LLM)
    (folder / "any_llm" / "exceptions.py").write_text("from any_llm import AnyLLMError\n")
    about = folder / "examples-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: examples\nVersion: 1\n")
    groups = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]
    lines = [
        f"[{group}]\n{name} = {value}" for group, names in groups.items() for name, value in names.items()
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))
    return folder


def run(package, *words):
    env = {
        **os.environ,
        "COHERE_API_KEY": "key-of-cohere",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": f"{package}:{ROOT}",
    }
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", *words], cwd=package, env=env, capture_output=True, text=True, check=False
    )


def test_the_examples_keep_their_contracts(package):
    options = ("-q", "-p", "no:cacheprovider", "--rootdir=.", "-c", os.devnull)
    done = run(package, "pytest", *options, *sorted(path.name for path in package.glob("test_*.py")))
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d\d passed", done.stdout, re.MULTILINE)


def test_a_run_uses_the_examples(package):
    done = run(package, "headrace", "run", "job.yaml", "--run-id", "one", "--json")
    assert done.returncode == 3, done.stderr  # a source fails
    rows = [json.loads(line) for line in (package / "archived-items.jsonl").read_text().splitlines()]
    assert [row["item"] for row in rows if row["key"] == "printer"] == ["desk:7", "desk:9"]
    assert [row["count"] for row in rows if row["key"] == "printer"] == [1, 1]
    status = run(package, "headrace", "status", "one", "--config", "job.yaml")
    assert "partial" in status.stdout, status.stderr


def test_a_run_uses_a_library_for_its_requests(package):
    done = run(package, "headrace", "run", "longtail.yaml", "--run-id", "tail", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["calls"]["billed"], summary["calls"]["refused"]) == (2, 1)
    assert (summary["tokens"]["input"], summary["tokens"]["output"]) == (24, 18)

"""The log as JSON, of a whole run on both engines."""

from __future__ import annotations

import json

import pytest

SOURCE = """
import logging

class Talking:
    async def fetch(self, task):
        logging.getLogger("talking").warning("it asks about %s with %s", task, "sk-canary-of-a-source-8812")
        return [{"id": "one", "text": f"about {task}"}]
"""


@pytest.mark.timeout(200)
@pytest.mark.parametrize("engine", ["local", "ray"])
async def test_every_line_on_stderr_is_json_with_the_run_and_the_task_and_without_secrets(driver, engine):
    (driver.directory / "talking.py").write_text(SOURCE)
    source = {"name": "talking", "kind": "python", "target": "talking:Talking"}
    config = driver.config(sources=[source], tasks={"kind": "inline", "tasks": ["a", "b"]})
    env = {"HEADRACE_LOG_FORMAT": "json", "PYTHONPATH": str(driver.directory)}
    run = await driver("run", str(config), "--run-id=told", "--json", f"--engine={engine}", env=env)
    assert run.code == 0, run.stderr
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))
    begun = next(line for line in lines if line["message"].startswith("run told: 2 tasks"))
    assert (begun["level"], begun["run"]) == ("INFO", "told")
    said = [line for line in lines if line["logger"] == "talking"]
    assert {(line["level"], line["run"], line["task"]) for line in said} == {
        ("WARNING", "told", "a"),
        ("WARNING", "told", "b"),
    }
    assert "canary" not in run.stderr


async def test_an_error_of_the_command_line_is_a_line_of_json(driver):
    run = await driver("run", "absent.yaml", "--log-format=json")
    (line,) = [json.loads(line) for line in run.stderr.splitlines()]
    assert (run.code, line["level"]) == (2, "ERROR")
    assert "absent.yaml" in line["message"]

"""A configuration runs from Python, beside a running event loop, and is stopped by Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

import headrace

ROOT = Path(__file__).resolve().parents[3]


async def test_a_run_beside_a_running_event_loop_returns_its_reports(place):
    run = await headrace.arun("tiny.yaml", limit=5)
    assert (run.state, run.summary["tasks"]["succeeded"], run.errors) == ("succeeded", 5, {})
    assert run.usage.input_tokens > 0
    reports, items = list(run.reports()), list(run.items())
    assert [report["key"] for report in reports] == [f"task-{number:06}" for number in range(1, 6)]
    assert {item["key"] for item in items} == {report["key"] for report in reports}
    assert all(0 <= item["q"] <= 1 for item in items)
    assert "<html" in run.report("page.html").read_text()
    assert f"{run.id} <b>succeeded</b>" in run._repr_html_()
    assert f"<Run {run.id}: succeeded, 5 of 5 tasks" in repr(run)


async def test_a_run_that_blocks_works_within_a_running_event_loop_and_continues_by_its_id(place):
    first = headrace.run("tiny.yaml", run_id="r-1")
    again = headrace.run("tiny.yaml", run_id="r-1")
    resumed = again.resume()
    assert {first.id, again.id, resumed.id} == {"r-1"}
    billed = [run.summary["calls"]["billed"] for run in (first, again, resumed)]
    assert billed[0] == billed[1] == billed[2] > 0, "of all lives of the run, and nothing was asked again"
    assert list(resumed.reports()) == list(first.reports())


def test_a_wrong_configuration_raises_the_error_of_the_command_line_with_every_problem(place):
    (place / "tiny.yaml").write_text("name: tiny\nevaluate: {prompts: a}\n")
    with pytest.raises(headrace.errors.ConfigError) as caught:
        headrace.run("tiny.yaml")
    assert isinstance(caught.value, headrace.errors.ConfigFileError)
    assert [problem.path for problem in caught.value.problems] >= ["evaluate.output"]
    assert "did you mean prompt?" in str(caught.value)


async def test_a_refused_key_raises_its_cause_and_says_how_to_continue(place, server):
    server.answer(status=401)
    endpoint = f"llm={{endpoints: [{{name: a, base_url: '{server.url}', model: m, api_key: k}}]}}"
    with pytest.raises(headrace.errors.HeadraceError, match="endpoint a refuses the key") as caught:
        await headrace.arun("tiny.yaml", overrides=[endpoint])
    assert any("continue" in note for note in caught.value.__notes__)


SCRIPT = """\
import headrace
try:
    headrace.run("tiny.yaml", run_id="r-1", progress=True, overrides=["llm.simulator.latency_s=0.3"])
except KeyboardInterrupt:
    print("interrupted")
"""


async def test_ctrl_c_stops_a_script_and_the_run_continues_by_its_id(place):
    env, pipe = {**os.environ, "PYTHONPATH": str(ROOT)}, asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, stdout=pipe, stderr=pipe, env=env
    )
    try:
        while line := await running.stderr.readline():
            if b"answers come from" in line:  # the first calls are about to begin
                break
        os.kill(running.pid, signal.SIGINT)
        out, err = await asyncio.wait_for(running.communicate(), 60)
    finally:
        if running.returncode is None:
            running.kill()
    assert out == b"interrupted\n"
    assert b"headrace.run with run_id='r-1' continues" in err
    run = await headrace.arun("tiny.yaml", run_id="r-1", accept_config=True)
    assert run.state == "succeeded"

"""Headrace in a notebook, whose kernel runs an event loop: the example, the progress, an interruption."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "reviews.ipynb"


@pytest.fixture
def client(place, monkeypatch):
    """Return a function that makes the client of a notebook, whose kernel works in the test's directory."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(place / "jupyter"))
    folder = {"metadata": {"path": str(place)}}
    return lambda notebook: NotebookClient(notebook, timeout=60, kernel_name="python3", resources=folder)


def shown(cell):
    """Return what a cell displayed, as HTML if it has it."""
    data = [output["data"] for output in cell["outputs"] if "data" in output]
    return [each.get("text/html", each.get("text/plain")) for each in data]


async def test_the_example_runs_and_is_kept_without_outputs(client):
    notebook = nbformat.read(EXAMPLE, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    await client(notebook).async_execute()
    progress, table = shown(code[1])
    assert re.fullmatch(r"6 rows · 5 succeeded · 1 partial · .* · run map-table-[0-9a-f]{8}", progress)
    assert "<th>faults</th>" in table
    assert "null in text" in table
    assert "category" in shown(code[2])[0]
    assert shown(code[3])[-1] == "True"
    assert "1,200 rows" in shown(code[4])[-1]
    assert "summary" in shown(code[5])[-1]
    assert not [out for cell in code for out in cell.outputs if out.get("name") == "stderr"]


SLOW = "llm: {simulator: {latency_s: 0.3, sigma: 0, cap: 2}}\n"
MAP = """\
rows = [{"text": str(number)} for number in range(12)]
made = headrace.map(rows, "Classify: {text}", {"score": "0..1"}, config="slow.yaml")
[row["_error"] for row in made]
"""


async def test_an_interrupted_cell_continues_when_it_is_run_again_and_a_run_shows_itself(client, place):
    (place / "slow.yaml").write_text(SLOW)
    run = 'headrace.run("tiny.yaml", overrides=["llm.simulator.latency_s=0.4"])'
    notebook = new_notebook(cells=[new_code_cell(text) for text in ("import headrace", MAP, MAP, run)])
    _, first, again, last = notebook.cells
    running = client(notebook)
    async with running.async_setup_kernel():
        await running.async_execute_cell(notebook.cells[0], 0)
        interrupted = asyncio.ensure_future(running.async_execute_cell(first, 1))
        async with asyncio.timeout(30):
            while not any("<progress" in each for each in shown(first)):
                await asyncio.sleep(0.05)
        await running.km.interrupt_kernel()
        with pytest.raises(CellExecutionError, match="KeyboardInterrupt"):
            await interrupted
        (place / "slow.yaml").write_text(SLOW.replace("0.3", "0.001"))
        await running.async_execute_cell(again, 2)
        await running.async_execute_cell(last, 3)
    assert any("the same call again continues" in each for each in shown(first))
    assert shown(again)[-1] == str([None] * 12)
    assert len([each for each in shown(again) if "12 succeeded" in each]) == 1
    progress, summary = shown(last)
    assert "12 succeeded" in progress
    assert "<b>succeeded</b>" in summary
    assert "limit, at most" in summary

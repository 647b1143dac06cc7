"""An estimate asks a sample of a job's rows, and the run that follows pays only for the others."""

from __future__ import annotations

import json

from simulators.ledger import read_ledger

ROWS = 60
ASKED = ("rows.csv", "Classify: {text}", "-c", "mood: good | bad", "-c", "why", "--config", "models.yaml")


def prepare(driver):
    lines = ["text", *(f"review {number}" + " very" * number for number in range(ROWS))]
    (driver.directory / "rows.csv").write_text("\n".join(lines) + "\n")
    simulator = {"latency_s": 0.0, "ledger": str(driver.directory / "ledger.jsonl")}
    (driver.directory / "models.yaml").write_text(json.dumps({"llm": {"simulator": simulator}}))


def texts_of(driver):
    return (driver.directory / "rows.csv").read_text().splitlines()[1:]


async def test_a_sample_is_kept_and_the_estimate_is_compared_with_what_the_run_took(driver):
    prepare(driver)
    counted = await driver("estimate", *ASKED, "--json")
    assert counted.code == 0, counted.stderr
    before = counted.summary()
    assert (before["todo"]["low"], before["output_tokens"]["mid"]) == (ROWS, None)
    assert not (driver.directory / "ledger.jsonl").exists(), "an estimate without a sample asks nothing"

    sampled = await driver("estimate", *ASKED, "--sample", "20", "--seed", "5", "--json")
    assert sampled.code == 0, sampled.stderr
    found = sampled.summary()
    assert found["todo"]["low"] == ROWS - 20
    assert found["output_tokens"]["low"] < found["output_tokens"]["mid"] < found["output_tokens"]["high"]
    assert read_ledger(driver.directory / "ledger.jsonl").sums().billed == 20

    mapped = await driver("map", *ASKED, "-o", "out.jsonl", "--json")
    assert mapped.code == 0, mapped.stderr
    assert "actual  $0.00, estimated $0.00" in mapped.stderr
    assert len((driver.directory / "out.jsonl").read_text().splitlines()) == ROWS
    assert read_ledger(driver.directory / "ledger.jsonl").sums().billed == ROWS, (
        "an answer was paid for twice"
    )

    printed = await driver("results", found["run_id"], "--items")
    texts = [json.loads(line)["text"] for line in printed.stdout.splitlines()]
    assert texts == texts_of(driver), "the sample, which was asked first, is not in its places"

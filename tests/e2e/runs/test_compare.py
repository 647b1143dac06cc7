"""Two runs of a store are compared by their ids, and the question of one is asked again."""

from __future__ import annotations

import json

ROWS = 40
COLUMNS = ("-c", "mood: good | bad", "-c", "score: 0..1", "--config", "models.yaml", "--json")


async def test_runs_are_compared_with_each_other_and_with_the_first_one_asked_again(driver):
    place = driver.directory
    (place / "rows.csv").write_text(
        "\n".join(["text", *(f"review {number}" for number in range(ROWS))]) + "\n"
    )
    (place / "models.yaml").write_text(json.dumps({"llm": {"simulator": {"latency_s": 0.0}}}))
    runs = []
    for prompt, name in (("Classify: {text}", "one"), ("Is it good? {text}", "two")):
        files = ("-o", f"{name}.jsonl", "--save", f"{name}.yaml")
        ended = await driver("map", "rows.csv", prompt, *COLUMNS, *files)
        assert ended.code == 0, ended.stderr
        runs.append(ended.summary()["run_id"])

    found = await driver(
        "compare", *runs, "--noise", "10", "--config", "one.yaml", "--json", "--fail-if", "changed > 0.9"
    )
    assert found.code == 3, found.stderr
    document = found.summary()
    assert document["levels"][0]["matched"] == ROWS
    assert document["a"]["tokens"] > 0
    assert document["noise"]["totals"]["rows"] == 10
    columns = {column["name"]: column for column in document["columns"]}
    assert columns["mood"]["kind"] == "label"
    assert columns["score"]["pairs"] == ROWS
    # The simulated model answers the same prompt with the same fields.
    assert columns["score"]["churn"]["estimate"] == 0
    assert columns["score"]["changed"]["estimate"] > 0.9

    other = await driver("compare", *runs, "--noise", "10", "--config", "two.yaml")
    assert other.code == 2
    assert f"two.yaml asks another question, or another model, than run {runs[0]}" in other.stderr
    lacking = await driver("compare", *runs, "--noise", "10")
    assert lacking.code == 2
    assert "--save job.yaml --dry-run, then add --config job.yaml" in lacking.stderr

    mixed = await driver("compare", runs[0], "one.jsonl")
    assert mixed.code == 0, mixed.stderr
    assert mixed.stdout.startswith(f"A and B are equal in all {ROWS} pairs.")

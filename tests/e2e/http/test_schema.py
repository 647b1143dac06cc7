"""The OpenAPI document tells the truth: generated requests meet nothing that it does not describe."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT

from tests.e2e.http.conftest import BOB, WITHIN_S

# A request that fits the schema may contradict an earlier one (422), ask for what was cancelled (410), or
# hold a made-up cursor (400). And a task that was cancelled stays: it is no resource that was deleted.
_SETTINGS = """
[checks]
positive_data_acceptance.expected-statuses = [
  "2xx", "400", "401", "403", "404", "409", "410", "422", "429", "503"
]
use_after_free.enabled = false
"""
_SECONDS = "10"


async def test_no_generated_request_meets_a_server_error_or_an_undocumented_answer(service, ann, tmp_path):
    document = (await ann("GET", "/openapi.json")).json
    assert document["openapi"].startswith("3.1")
    (tmp_path / "schemathesis.toml").write_text(_SETTINGS)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {BOB}", "--generation-deterministic", "--no-color"),
        *("--max-time", _SECONDS, "--max-examples", "15", "--no-shrink", "--continue-on-failure"),
        # Streams of events last as long as their task; they have tests of their own.
        *("--exclude-path-regex", "events$", "--warnings", "off"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        stdout=PIPE,
        stderr=STDOUT,
    )
    async with asyncio.timeout(WITHIN_S):
        told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()[-6000:]

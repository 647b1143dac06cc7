"""Chaos tests start the command line as its users do, as the tests in `tests/e2e` do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Driver


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    made = Driver(tmp_path)
    yield made
    assert await made.end_all() == []  # processes that a driver left behind

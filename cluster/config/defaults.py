"""Defaults of the configuration that commands need before they load one, without pydantic."""

from __future__ import annotations

STORE_PATH = ".headrace/state.db"
LEASE_S = 5.0

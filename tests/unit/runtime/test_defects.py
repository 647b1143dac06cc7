"""A defect ends the process with its cause in the log, and with what to do."""

from __future__ import annotations

import os

import pytest

from actors.runtime import defects


@pytest.fixture(autouse=True)
def process_that_lives_on(monkeypatch):
    monkeypatch.setattr(os, "_exit", lambda code: None)
    monkeypatch.setattr(defects.logging, "shutdown", lambda: None)
    monkeypatch.setattr(defects, "_advice", [])


def end():
    try:
        int("the cause")
    except ValueError:
        defects.end_loudly("a turn")


def test_the_log_has_the_cause_and_the_command_that_continues(caplog):
    defects.advise_after_defect("run r1: continue with: python driver.py resume r1")
    end()
    (record,) = caplog.records
    assert record.levelname == "CRITICAL"
    assert record.getMessage() == (
        "a defect ended this process: a turn; run r1: continue with: python driver.py resume r1"
    )
    assert "the cause" in caplog.text


def test_a_process_without_advice_logs_the_cause_alone(caplog):
    end()
    assert caplog.records[0].getMessage() == "a defect ended this process: a turn"

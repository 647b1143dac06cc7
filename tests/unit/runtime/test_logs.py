"""The log as JSON: its fields, and what is printed beside it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys

import pytest

from actors.core.censor import Censor
from actors.core.task_names import within
from actors.runtime.log_guard import guard_logs
from actors.runtime.telemetry.logs import (
    JsonFormatter,
    JsonMessages,
    log_about,
    log_as_json,
    log_of_run,
    wants_json,
)

SECRET = "sk-canary-of-the-log-91d2"  # noqa: S105 - it is of this test alone


@contextlib.contextmanager
def written():
    """Write the log as JSON to a text."""
    text, root = io.StringIO(), logging.getLogger()
    handlers, factory = list(root.handlers), logging.getLogRecordFactory()
    sys.stderr, before = text, sys.stderr
    log_as_json(messages=True)
    log_as_json(messages=True)  # a second call changes nothing
    log_of_run("run-1")
    try:
        yield text
    finally:
        sys.stderr = before
        log_of_run("")
        root.handlers[:] = handlers
        logging.setLogRecordFactory(factory)


def lines(text):
    return [json.loads(line) for line in text.getvalue().splitlines()]


async def test_a_record_has_the_ids_of_what_it_is_about_and_no_secret():
    guard_logs(Censor([(SECRET, "***")]))
    log_about(within("ann", "row-7"), "c0ffee")
    log, error = logging.getLogger("actors.llm"), ValueError(f"refused {SECRET}")
    with written() as stderr:
        log.error("it said %s\nand more\udc00", SECRET, exc_info=error)
        log.info("nothing below WARNING is written")
    (line,) = lines(stderr)
    assert list(line) == ["time", "level", "logger", "message", "run", "task", "call", "error"]
    assert line["time"].endswith("+00:00")
    assert (line["level"], line["logger"]) == ("ERROR", "actors.llm")
    assert (line["run"], line["task"], line["call"]) == ("run-1", "row-7", "c0ffee")
    assert line["message"].startswith("it said ***\n")
    assert line["error"].endswith("ValueError: refused ***")
    assert SECRET not in stderr.getvalue()


def test_what_a_program_prints_is_a_message_and_json_of_workers_stays_as_it_is():
    guard_logs(Censor([(SECRET, "***")]))
    record = '{"time":"now","level":"ERROR","logger":"x","message":"of a worker","run":"r"}'
    foreign = json.dumps({"level": "ERROR", "body": SECRET})
    with written() as stderr:
        print(f"two\nlines, {SECRET}", file=sys.stderr)  # noqa: T201 - what is tested
        print(f"\x1b[36m(source:mine(files) pid=12, ip=10.0.0.1)\x1b[0m {record}", file=sys.stderr)  # noqa: T201 - same
        print(file=sys.stderr)  # noqa: T201 - same
        print("(a pid=1) {no json}", file=sys.stderr)  # noqa: T201 - same
        print(foreign, file=sys.stderr)  # noqa: T201 - same
        print(record.replace("of a", SECRET), file=sys.stderr)  # noqa: T201 - same
    first, second, third, fourth, fifth = lines(stderr)
    assert (fourth["level"], fourth["message"]) == ("INFO", foreign.replace(SECRET, "***"))
    assert fifth == json.loads(record) | {"message": "*** worker"}
    assert (first["level"], first["message"], first["run"]) == ("INFO", "two\nlines, ***", "run-1")
    assert second == json.loads(record)
    assert third["message"] == "(a pid=1) {no json}"


def test_a_record_that_cannot_be_formatted_is_one_line():
    guard_logs(Censor([(SECRET, "***")]))
    with written() as stderr:
        (handler,) = (it for it in logging.getLogger().handlers if isinstance(it.formatter, JsonFormatter))
        handler.handle(logging.LogRecord("x", logging.ERROR, "p", 1, "it took %d s", (SECRET,), None))
    (line,) = lines(stderr)
    assert (line["level"], line["logger"], line["run"]) == ("ERROR", "x", "run-1")
    assert line["message"] == "it took %d s"
    assert "TypeError: %d format: a real number is required" in line["error"]
    assert SECRET not in stderr.getvalue()


def test_a_stream_keeps_the_beginning_of_a_message_and_is_no_terminal():
    text = io.StringIO()
    stream = JsonMessages(text)
    stream.write("begun")
    assert text.getvalue() == ""
    stream.write(" and ended\n")
    assert lines(text)[0]["message"] == "begun and ended"
    assert not stream.isatty()


def test_a_traceback_that_no_guard_has_seen_is_formatted():
    error = KeyError("k")
    record = logging.LogRecord("x", logging.ERROR, "p", 1, "m", None, (KeyError, error, None))
    assert "KeyError" in json.loads(JsonFormatter().format(record))["error"]


@pytest.mark.parametrize(
    ("configured", "env", "wanted"),
    [
        ("plain", {}, False),
        ("json", {}, True),
        ("json", {"HEADRACE_LOG_FORMAT": "plain"}, False),
        ("plain", {"HEADRACE_LOG_FORMAT": "json"}, True),
    ],
)
def test_the_environment_replaces_the_configured_format(configured, env, wanted):
    assert wants_json(configured, env) is wanted

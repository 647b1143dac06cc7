"""What leaves an actor or a process as an error, a log line or a figure holds no secret."""

from __future__ import annotations

import asyncio
import io
import logging
import sys

import pytest
import typer
from rich.console import Console

from actors.core.censor import Censor
from actors.core.errors import ConfigError, HeadraceError, StoreUnavailableError
from actors.core.messages.attempts import Attempt
from actors.core.messages.journal import ReadRun
from actors.core.messages.tasks import Fetch, Task
from actors.llm.dialects.chat import ChatDialect
from actors.llm.endpoint import EndpointSettings
from actors.llm.forms import AnswerForm
from actors.llm.http_endpoint import HttpEndpoint
from actors.runtime import log_guard
from actors.runtime.log_guard import LogGuard
from actors.sources.actor import GuardedSource
from actors.sources.python import PythonSettings
from cluster.commands.command_line import errors_shown
from tests.unit.support.scripted_journal import RUN, ScriptedStore, journals, open_run, tell

SECRET = "canary-s3cr3t/value"  # noqa: S105 - a made-up one
CENSOR = Censor([(SECRET, "${SECRET}")])


async def fetched(target, **options):
    settings = PythonSettings(
        name="mine",
        kind="python",
        target=f"tests.unit.support.secret_sources:{target}",
        options={"secret": SECRET, **options},
        retries=0,
    )
    source = GuardedSource(settings, censor=CENSOR)
    reply = asyncio.get_running_loop().create_future()
    source._on_item(Fetch(Task("t1"), 60.0), lambda value, urgent=False: reply.set_result(value))
    async with asyncio.timeout(10):
        answer = await reply
    known = source.statistics()
    await source.close()
    return answer.error.message, known.last_error


@pytest.mark.parametrize(
    ("target", "options"),
    [("Gossip", {}), ("Gossip", {"kind": "ConnectionError"}), ("Stillborn", {})],
)
async def test_a_source_names_the_reference_and_not_the_value(target, options):
    message, last = await fetched(target, **options)
    assert "${SECRET}" in message
    assert "canary" not in message + last


class RefusingOrigin:
    """A way to an endpoint that fails, and quotes what was sent."""

    async def send(self, exchange, limit_s):
        raise OSError(f"cannot send with {SECRET}")

    async def close(self):
        pass


async def test_an_endpoint_s_failure_and_its_defect_name_the_reference_and_not_the_value(monkeypatch):
    settings = EndpointSettings(name="main", base_url="http://h.test/v1", model="m")
    endpoint = HttpEndpoint(ChatDialect(settings), {"f": AnswerForm("f", {}, 10)}, censor=CENSOR)
    monkeypatch.setattr(endpoint, "_origin", RefusingOrigin())
    attempt = Attempt(1, "k", "main", "f", SECRET, 1, "i", 60.0)
    failed = await endpoint.attempt(attempt, 10.0)
    assert "${SECRET}" in failed.error.message
    assert "canary" not in failed.error.message
    monkeypatch.setattr(endpoint, "_ask", RefusingOrigin().send)  # a defect: it takes other arguments
    defect = await endpoint.attempt(attempt, 10.0)
    assert "canary" not in defect.error.message


async def test_a_journal_s_trouble_and_its_errors_name_the_reference_and_not_the_value(monkeypatch):
    trouble = StoreUnavailableError(f"no route to postgresql://u:{SECRET}@db.test, user {SECRET}")
    async with journals(ScriptedStore(), monkeypatch) as begin:
        journal = begin(opening=trouble, censor=CENSOR)
        (error,) = await tell(journal, open_run())
        assert isinstance(error, StoreUnavailableError)
        known = journal.statistics()
        assert "${SECRET}" in str(error)
        assert "canary" not in str(error) + known.trouble
        await tell(journal, ReadRun(RUN))


# ---- log lines -------------------------------------------------------------------------------------------


@pytest.fixture
def log(monkeypatch):
    """Return a guarded logger, and what it wrote."""
    guard = LogGuard()
    guard.install(CENSOR)
    monkeypatch.setattr(log_guard, "_GUARD", guard)
    before = logging.getLogRecordFactory()
    written = io.StringIO()
    logger = logging.getLogger("guarded")
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "propagate", False)
    yield logger, written
    logging.setLogRecordFactory(guard._make)
    assert before == guard.record


def fail(text):
    raise ValueError(text)


def test_a_log_line_and_its_traceback_hold_no_secret(log):
    logger, written = log
    try:
        fail(f"cannot log in with {SECRET}")
    except ValueError:
        logger.exception("source %s failed on %s", "mine", SECRET)
    said = written.getvalue()
    assert said.startswith("ERROR source mine failed on ${SECRET}\n")
    assert "ValueError: cannot log in with ${SECRET}" in said
    assert "canary" not in said


def test_a_log_line_steers_no_terminal_and_forges_no_other_line(log):
    logger, written = log
    try:
        fail("\x1b[31mred\nERROR forged 2")
    except ValueError:
        logger.exception("no data about %s", "key\x1b]0;owned\x07\nERROR forged 1")
    lines = written.getvalue().splitlines()
    assert lines[0] == r"ERROR no data about key\x1b]0;owned\x07"
    assert not [line for line in lines[1:] if line.startswith("ERROR")]
    assert "\x1b" not in written.getvalue()


def test_a_log_call_whose_arguments_do_not_fit_is_left_to_logging(log):
    record = logging.getLogRecordFactory()("x", logging.INFO, "f", 1, "%d of %d", ("a",), None)
    with pytest.raises(TypeError):
        record.getMessage()


def test_an_argument_without_a_text_does_not_end_who_logs_it(log, monkeypatch):
    class Wordless:
        def __str__(self):
            raise RuntimeError("no text")

    logger, written = log
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger.warning("about %s", Wordless())
    logger.warning("about %s", SECRET)
    assert written.getvalue() == "WARNING about ${SECRET}\n"


# ---- what a command says ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError(f"bad {SECRET} \x1b[2J"), 2), (HeadraceError(SECRET), 1), (RuntimeError(SECRET), 1)],
)
def test_a_command_s_error_holds_no_secret_and_steers_no_terminal(log, error, code):
    written = io.StringIO()
    with pytest.raises(typer.Exit) as ended, errors_shown(Console(file=written)):
        raise error
    assert ended.value.exit_code == code
    assert "${SECRET}" in written.getvalue()
    assert "canary" not in written.getvalue()
    assert "\x1b" not in written.getvalue()


def test_a_command_s_own_exit_passes(log):
    with pytest.raises(typer.Exit) as ended, errors_shown(Console(file=sys.stderr)):
        raise typer.Exit(3)
    assert ended.value.exit_code == 3

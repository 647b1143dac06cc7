"""Runs the job of the command ``map``: the question before a large job, the run, and its end."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from contextlib import redirect_stdout
from dataclasses import replace

import typer
from rich.console import Console

from actors.core.censor import HIDDEN
from actors.core.errors import ConfigError, HeadraceError
from actors.core.task.column_text import spelled
from actors.core.task.prompts import own_item
from actors.core.task.templates import NullValueError
from actors.pipeline.step_question import step_questions
from actors.runtime.defects import advise_after_defect
from cluster.assembly.actor_settings import task_rules
from cluster.commands.batch import engine_of
from cluster.commands.command_line import print_json, use_log_format
from cluster.commands.consent import ask_before
from cluster.commands.map.arguments import MapArguments, MapCourse, shown_command
from cluster.commands.map.output import preview, spent_now, without_answer, write_lines
from cluster.config.problem import nearest
from cluster.input.rows import RowInput
from cluster.program import program
from cluster.report.console import plain
from cluster.report.continuing import WITHHELD
from cluster.report.exit_codes import INCOMPLETE
from cluster.report.results import ResultWriter
from cluster.report.summary import RunState, RunSummary, exit_code, summary_json
from cluster.report.summary_table import summary_table
from cluster.report.tables.kinds import MAP_EXTRAS
from cluster.report.tables.parquet_input import unwritable_note
from cluster.run.engine import EngineName, LocalEngine
from cluster.run.host import CommandHost
from cluster.run.map.history import MapHistory, history_of
from cluster.run.map.job import MapJob, check_job
from cluster.run.map.question import saved_document
from cluster.run.map.run import MapEnded, estimated, run_map, write_empty
from cluster.run.sampling import Expectation
from cluster.run.stopping import StopRequest

# Causes name the keys of a configuration, which a command without one does not have.
_FLAGS = "llm.endpoints.main is the endpoint of -m, --base-url and --api-key-env"
CONTINUE = "the answers so far are stored; the same command again continues"
_CONTINUE_FAILED = "the answers so far are stored; the same command with --retry-failed continues"


class MapHost(CommandHost):
    """The command: as any command, but a deadline can stop the run too."""

    def __init__(self, console: Console, *, live: bool, deadline_s: float | None) -> None:
        super().__init__(console, live=live)
        self._deadline_s = deadline_s
        self.is_late = False

    def stop_event(self) -> StopRequest:
        """Return the request that a signal or the deadline makes."""
        stop = super().stop_event()
        if self._deadline_s is not None:
            asyncio.get_running_loop().call_later(self._deadline_s, self._end, stop)
        return stop

    def _end(self, stop: StopRequest) -> None:
        self.is_late = True
        stop.request()


def run_command(
    arguments: MapArguments,
    course: MapCourse,
    rows: RowInput,
    console: Console,
    *,
    engine: EngineName | None,
    address: str,
) -> int:
    """Run the job of a command line, and return the exit code. Raises `HeadraceError`."""
    job = _job(arguments, course, rows)
    check_job(job)
    if job.target is None and (note := unwritable_note(job.arrow_input)):
        console.print(note, soft_wrap=True)
    if course.save is not None:
        _save(arguments, course, rows, console)
    if not job.rows.count:
        _end_empty(job, course, console)
        return 0
    return _run(job, arguments, course, console, engine=engine, address=address)


def _run(
    job: MapJob,
    arguments: MapArguments,
    course: MapCourse,
    console: Console,
    *,
    engine: EngineName | None,
    address: str,
) -> int:
    history = history_of(job)
    for note in history.notes:
        console.print(note, soft_wrap=True)
    if course.dry_run:
        _show(job, history, as_json=course.as_json)
        return 0
    if not course.yes and job.config.llm.simulator is None:
        ask_before(estimated(job, history).estimate(), console, has_budget=arguments.budget is not None)
    use_log_format(job.config)
    host = MapHost(console, live=not course.as_json, deadline_s=course.deadline_s)
    chosen = engine_of(job.config, arguments.overrides, engine, address)
    if isinstance(chosen, LocalEngine):  # its actors are in this process, and nothing restarts them
        advise_after_defect(f"run {history.run_id}: {CONTINUE}")
    stdout = sys.stdout
    expected = Expectation.of(estimated(job, history))

    def read(writer: ResultWriter, summary: RunSummary) -> None:
        if job.target is None and summary.open_tasks == 0:
            (preview if stdout.isatty() else write_lines)(writer, stdout)

    try:
        with redirect_stdout(sys.stderr):  # Ray prints the output of workers on stdout, which is for data
            ended = run_map(job, chosen, host, history=history, read=read)
    except HeadraceError as error:
        _add_notes(error, arguments, job)
        raise
    if course.as_json:
        print_json(summary_json(ended.summary))
    console.print(summary_table(ended.summary, ()))
    if history.run is not None and ended.summary.is_complete:
        console.print(spent_now(history.run.spent, ended.summary), soft_wrap=True)
    hint = "" if arguments.config else f" ({_FLAGS})"
    return _end(ended, expected, console, is_late=host.is_late, hint=hint)


def _add_notes(error: HeadraceError, arguments: MapArguments, job: MapJob) -> None:
    """Say how to continue, and which flags set what the cause names."""
    from cluster.checks.preflight import PreflightError  # noqa: PLC0415 - loads aiohttp

    if isinstance(error, PreflightError) and not arguments.config:
        error.add_note(_FLAGS)
    if getattr(error, "__notes__", ()):  # the run has begun
        error.add_note(f"{program()} {shlex.join(job.command)}")
        if any(HIDDEN in word or word.endswith(WITHHELD) for word in job.command):
            error.add_note("secrets are not shown: give them again")


def _job(arguments: MapArguments, course: MapCourse, rows: RowInput) -> MapJob:
    for name in course.extras:
        if name not in MAP_EXTRAS:
            near = nearest(name, MAP_EXTRAS)
            hint = f"did you mean {near}?" if near else f"known: {', '.join(MAP_EXTRAS)}"
            raise ConfigError(f"--with {name}: unknown column; {hint}")
    return replace(
        arguments.job(rows),
        target=course.target,
        extras=course.extras,
        replaces=course.replaces,
        overwrites=course.overwrites,
        retry_failed=course.retry_failed,
        fresh=course.fresh,
        stops_at_failure=course.stops_at_failure,
        command=shown_command(sys.argv[1:]),
    )


def _save(arguments: MapArguments, course: MapCourse, rows: RowInput, console: Console) -> None:
    """Write the job as a configuration. Raises `ConfigError` for a file that exists."""
    path = course.save
    assert path is not None  # noqa: S101 - the caller's condition
    text = saved_document(arguments.question(rows.name), os.environ)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        if path.read_text(encoding="utf-8") != text:
            raise ConfigError(f"--save {path}: the file exists; nothing is overwritten") from None
    except OSError as error:
        raise ConfigError(f"--save {path}: cannot be written: {error.strerror}") from error
    console.print(f"{path}: the job as a configuration", soft_wrap=True)


def _end_empty(job: MapJob, course: MapCourse, console: Console) -> None:
    """Write the table of a job without rows, unless nothing is to be written. Raises `HeadraceError`."""
    results = () if course.dry_run else write_empty(job)
    written = f"; {', '.join(results)} has its columns and the new ones" if results else ""
    console.print(f"the table has no rows: nothing was asked{written}", soft_wrap=True)
    if course.as_json:
        document = summary_json(RunSummary("", RunState.SUCCEEDED, 0, results))
        print_json({**document, "run_id": None})


# ---- before the run --------------------------------------------------------------------------------------


def _show(job: MapJob, history: MapHistory, *, as_json: bool) -> None:
    """Print the first prompt, the new columns and the estimate."""
    step = job.config.asked_steps[0]
    task = next(iter(job.rows))
    try:
        (question,) = step_questions(task_rules(job.config))
        prompt = question.prompt(task, own_item(task), {})
    except NullValueError as error:
        prompt = f"(the row is skipped: {error})"
    columns = [spelled(name, spec.model_dump()) for name, spec in step.output.items()]
    estimate = estimated(job, history).estimate()
    if as_json:
        document = {"run_id": history.run_id, "key": task.key, "prompt": prompt, "columns": columns}
        print_json({**document, "estimate": estimate.document()})
        return
    typer.echo(f"prompt of {task.key}:")
    for line in prompt.splitlines():
        typer.echo(f"  {plain(line, 2000)}")
    typer.echo("new columns:")
    for column in columns:
        typer.echo(f"  {plain(column, 2000)}")
    for line in estimate.lines():
        typer.echo(line)
    typer.echo("nothing was asked (--dry-run)")


# ---- after the run ---------------------------------------------------------------------------------------


def _end(ended: MapEnded, expected: Expectation | None, console: Console, *, is_late: bool, hint: str) -> int:
    """Say how a run that is not complete goes on, or what it was expected to cost. Return the exit code.

    `hint` follows the cause of a run that was stopped.
    """
    summary = ended.summary
    if expected is not None and summary.open_tasks == 0:
        console.print(expected.compared(summary), soft_wrap=True)
    code = exit_code(summary)
    if summary.stopped_by:
        console.print(f"stopped: {summary.stopped_by}{hint}", style="red", soft_wrap=True)
        console.print(_CONTINUE_FAILED if ended.fails_again else CONTINUE, soft_wrap=True)
    elif is_late and summary.state is RunState.INTERRUPTED:
        console.print(f"the deadline has passed; {CONTINUE}", soft_wrap=True)
        return INCOMPLETE
    elif summary.state in (RunState.INTERRUPTED, RunState.CANCELLED):
        console.print(CONTINUE, soft_wrap=True)
    elif text := without_answer(summary.tasks):
        console.print(text, soft_wrap=True)
    return code

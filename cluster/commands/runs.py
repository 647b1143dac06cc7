"""The commands that show, cancel and remove runs. They need no cluster.

They read the store, also while a run is in progress.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actors.core.errors import ConfigError
from actors.core.journal.reads import read_history
from actors.core.journal.rows import RUNNING
from actors.core.messages.journal import RunView
from actors.runtime.log_guard import censored
from cluster.commands.command_line import (
    AsJson,
    Overrides,
    RunId,
    StoreConfig,
    errors_shown,
    print_json,
)
from cluster.config.loading import loaded, longest_lease
from cluster.program import program
from cluster.records.prune import Pruner, age_of, prune_lines
from cluster.records.reading import (
    all_ended,
    history_of,
    in_flight,
    newest_runs,
    silent_runs,
    with_causes,
)
from cluster.records.records import found_run, opened
from cluster.report.console import plain, stderr_console
from cluster.report.endpoint_history import endpoint_documents, endpoint_lines
from cluster.report.exit_codes import FAILED
from cluster.report.tables.columns import Layout, TableName
from cluster.report.tables.printing import PrintedFormat, printed_table
from cluster.report.task_history import history_document, history_lines
from cluster.report.views import is_priced, run_document, run_lines, runs_lines

if TYPE_CHECKING:
    from cluster.checks.doctor import Finding

app = typer.Typer()


@app.command()
def runs(
    *,
    limit: Annotated[int, typer.Option(min=1, help="The maximum number of runs.")] = 50,
    config: StoreConfig = None,
    json: AsJson = False,
) -> None:
    """List the runs of a store, newest first.

    Example: headrace runs
    """
    with errors_shown(stderr_console()), opened(config, os.environ) as store:
        newest, more = newest_runs(store, limit)
        silent = silent_runs(store, newest)
        if json:
            documents = [
                run_document(run, silent=run.run_id in silent, in_flight=in_flight(store, run, silent))
                for run in newest
            ]
            print_json({"runs": documents, "more": more})
            return
        _print_lines(runs_lines(newest, silent, time.time()))
        if more:
            stderr_console().print(f"and {more:,} older runs: --limit {len(newest) + more} shows all")


@app.command()
def status(*, run_id: RunId, config: StoreConfig = None, json: AsJson = False) -> None:
    """Show a run: its state, its tasks, its cost so far, and the commands that continue it.

    Example: headrace status reviews-20261124-101500-a1b2
    """
    with errors_shown(stderr_console()), opened(config, os.environ) as store:
        run = with_causes(store, found_run(store, run_id))
        silent = silent_runs(store, [run])
        flying = in_flight(store, run, silent)
        history = read_history(store, run.run_id)
        if json:
            document = run_document(run, silent=bool(silent), in_flight=flying)
            print_json({**document, "endpoints": endpoint_documents(history)})
        else:
            store_option = "" if config is None else f" --config {config}"
            now = time.time()
            _print_lines(
                run_lines(
                    run,
                    now,
                    silent=bool(silent),
                    in_flight=flying,
                    options=store_option,
                    history=history,
                )
            )
            _print_lines(endpoint_lines(history))


@app.command()
def results(
    *,
    run_id: RunId,
    items: Annotated[
        bool, typer.Option("--items", help="A row for each item instead of each task; see docs/results.md.")
    ] = False,
    output_format: Annotated[
        PrintedFormat,
        typer.Option("--format", help="One JSON document on each line, or CSV for spreadsheets."),
    ] = PrintedFormat.JSONL,
    config: StoreConfig = None,
) -> None:
    """Print the reports of a run's ended tasks, in the order of its input.

    Example: headrace results reviews-20261124-101500-a1b2 > reports.jsonl
    """
    with errors_shown(stderr_console()), opened(config, os.environ) as store:
        run = found_run(store, run_id)
        layout = Layout.stored(run.config, is_priced=is_priced(run))
        name = TableName.ITEMS if items else TableName.REPORTS
        lines = printed_table(name, layout, partial(all_ended, store, run_id), output_format)
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()


@app.command()
def why(
    *,
    run_id: RunId,
    key: Annotated[str, typer.Argument(help="The task.", metavar="KEY")],
    item: Annotated[
        str | None, typer.Option(help="The item of which prompts and answers are shown.", metavar="ID")
    ] = None,
    dimension: Annotated[
        str | None, typer.Option(help="The dimension of whose finding they are shown.", metavar="NAME")
    ] = None,
    config: StoreConfig = None,
    json: AsJson = False,
) -> None:
    """Show the history of one task: prompts, answers, errors, and every attempt at its calls.

    Example: headrace why reviews-20261124-101500-a1b2 mug
    """
    from cluster.history.asked import with_questions  # noqa: PLC0415 - loads the pipeline and pydantic

    with errors_shown(stderr_console()), opened(config, os.environ) as store:
        run = found_run(store, run_id)
        history = with_questions(store, run, history_of(store, run_id, key), item, dimension)
        if any(attempt.unended for attempt in history.attempts):
            is_live = run.state == RUNNING and not silent_runs(store, [run])
            history = replace(history, is_live=is_live)
        if json:
            print_json(history_document(history))
        else:
            _print_lines(history_lines(history))


@app.command()
def cancel(*, run_id: RunId, config: StoreConfig = None, json: AsJson = False) -> None:
    """End a run permanently. Calls in flight are stopped, and every open task ends as cancelled.

    Example: headrace cancel reviews-20261124-101500-a1b2
    """
    console = stderr_console()
    with errors_shown(console), opened(config, os.environ) as store:
        lease_s = longest_lease([found_run(store, run_id).origin.get("path"), config], os.environ)
        from cluster.records.cancel import Canceller  # noqa: PLC0415 - loads the whole journal

        ended = Canceller(store, run_id, lease_s).cancel()
        if json:
            print_json(run_document(ended.run, silent=False))
            return
        tasks = ended.run.tasks
        if ended.cancelled:
            typer.echo(
                f"run {plain(run_id)} is cancelled: {tasks.ended:,} tasks have ended, "
                f"{tasks.cancelled:,} of them as cancelled"
            )
        else:
            typer.echo(f"run {plain(run_id)} had already ended as {ended.run.state}; nothing was changed")


@app.command()
def prune(
    *,
    run_ids: Annotated[list[str] | None, typer.Argument(help="The runs.", metavar="[RUN_ID]...")] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Remove all runs that ended before this age: 90s, 45m, 12h, 30d, 8w.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Keep the N runs that began last, and remove the others.")
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also remove runs with open tasks whose process has ended.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False,
    config: StoreConfig = None,
    json: AsJson = False,
) -> None:
    """Remove finished runs from the store. Result files stay.

    Example: headrace prune --older-than 30d --dry-run
    """
    with errors_shown(stderr_console()):
        if bool(run_ids) == bool(older_than or keep):
            raise ConfigError("name the runs to remove: their ids, or --older-than 30d, or --keep 100")
        with opened(config, os.environ) as store:

            def lease_of(run: RunView) -> float:
                return longest_lease([run.origin.get("path"), config], os.environ)

            pruner = Pruner(store, lease_of, unfinished=unfinished)
            if run_ids:
                pruned = pruner.prune_named(run_ids, dry_run=dry_run)
            else:
                age_s = 0.0 if older_than is None else age_of(older_than)
                pruned = pruner.prune_old(age_s, time.time(), keep=keep or 0, dry_run=dry_run)
    if json:
        removed = [run.run_id for run in pruned.removed]
        kept = [{"run_id": run.run_id, "why": why} for run, why in pruned.kept]
        print_json({"dry_run": dry_run, "removed": removed, "kept": kept})
    else:
        _print_lines(prune_lines(pruned, dry_run=dry_run))


@app.command(name="doctor")
def examine(
    *,
    config: Annotated[
        Path | None, typer.Argument(help="A configuration to check as well.", metavar="[CONFIG]")
    ] = None,
    overrides: Overrides = None,
    json: AsJson = False,
) -> None:
    """Check this machine, the store, and the endpoints of a CONFIG for frequent problems.

    Example: headrace doctor configs/demo.yaml
    """
    from cluster.checks.doctor import Level  # noqa: PLC0415 - only this command needs it

    checks = _checks(config, overrides or [])
    failed = any(check.level is Level.FAIL for check in checks)
    if json:
        fields = [
            {"name": one.name, "level": one.level.value, "found": one.found, "advice": one.advice}
            for one in checks
        ]
        print_json({"ok": not failed, "checks": fields})
    else:
        for check in checks:
            advice = f"\n      → {plain(check.advice, 1000)}" if check.advice else ""
            typer.echo(f"{check.level.value:<4}  {check.name}: {plain(check.found, 1000)}{advice}")
    raise typer.Exit(FAILED if failed else 0)


def _checks(path: Path | None, overrides: list[str]) -> list[Finding]:
    from cluster.checks.doctor import Finding, Level, check_machine, check_store  # noqa: PLC0415 - only here
    from cluster.checks.endpoints import check_endpoints  # noqa: PLC0415 - loads aiohttp
    from cluster.config.kinds.store import SqliteSection  # noqa: PLC0415 - loads pydantic
    from cluster.run.engine import EngineName, chosen_engine  # noqa: PLC0415 - only here

    settings, checks = None, []
    if path is not None:
        try:
            settings = loaded(path, overrides=overrides, env=os.environ)
        except ConfigError as error:
            advice = f"correct it; `{program()} schema` describes every key"
            checks = [Finding("config", Level.FAIL, line, advice) for line in str(error).splitlines()]
        else:
            checks = [Finding("config", Level.OK, f"{path} is valid")]
    wanted = EngineName.AUTO if settings is None else EngineName(settings.cluster.engine)
    engine = chosen_engine(wanted, "auto", os.environ)
    checks += check_machine(settings, os.environ, is_local=engine is EngineName.LOCAL)
    store = SqliteSection(kind="sqlite") if settings is None else settings.store
    checks += check_store(store)
    if settings is not None:
        checks += asyncio.run(check_endpoints(settings))
    return [replace(check, found=censored(check.found)) for check in checks]


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)

"""The commands that copy whole runs: backup, restore and migrate. They need no cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actors.core.errors import ConfigError
from actors.core.journal.format import VERSION, check_format
from actors.core.journal.rows import INTERRUPTED, RUNNING
from actors.core.messages.journal import RunView
from actors.journal.stores.opening import open_store
from cluster.commands.command_line import AsJson, errors_shown, print_json
from cluster.config.loading import longest_lease
from cluster.program import program
from cluster.records.records import opened_store
from cluster.report.console import plain, stderr_console

if TYPE_CHECKING:
    from cluster.backup.file_format import Row

app = typer.Typer()

_SHOWN = 10
_ADVICE = "name the file, the URL of a database, or a configuration that names the store"

StorePlace = Annotated[
    str,
    typer.Argument(
        help="The store: a SQLite file, postgresql://… or redis://…, or a configuration that names it.",
        metavar="STORE|CONFIG",
    ),
]
BackupPath = Annotated[Path, typer.Argument(help="The backup.", metavar="FILE")]
SomeRuns = Annotated[
    list[str] | None,
    typer.Option("--run", help="Only this run. May be given several times.", metavar="RUN_ID"),
]
Replaces = Annotated[
    bool, typer.Option("--replace", help="Replace runs that exist, unless a process runs them.")
]


@app.command()
def backup(*, store: StorePlace, file: BackupPath, run: SomeRuns = None, json: AsJson = False) -> None:
    """Write a store, or single runs, to one file, as they are at this moment. Runs may be in progress.

    Example: headrace backup .headrace/state.db headrace.backup
    """
    from cluster.backup.place import settings_of  # noqa: PLC0415 - only these commands need the package
    from cluster.backup.saving import back_up  # noqa: PLC0415 - same

    with (
        errors_shown(stderr_console()),
        opened_store(settings_of(store, os.environ), may_lock=True, advice=_ADVICE) as opened,
    ):
        saved = back_up(opened, file, run or (), time.time())
        content = saved.content
        if json:
            print_json(
                {
                    "file": str(file),
                    "runs": content.runs,
                    "running": content.running,
                    "lacking": content.lacking,
                    "rows": saved.rows,
                    "bytes": saved.size,
                }
            )
            return
        typer.echo(f"{file}: {len(content.runs):,} runs, {saved.rows:,} rows, {saved.size / 1e6:,.1f} MB")
        console = stderr_console()
        if content.running:
            console.print(
                f"not closed: {_listed(content.running)}. Answers after this moment are not in the backup",
                soft_wrap=True,
            )
        if content.lacking:
            console.print(
                f"left out, as they lack rows: {_listed(content.lacking)}. Their removal or restore is in "
                f"progress or was interrupted: restore them again, or finish with `{program()} prune RUN_ID`",
                soft_wrap=True,
            )
        if content.in_clear:
            console.print(
                "begun by a version that stored the values of environment variables: "
                f"{_listed(content.in_clear)}. The backup may hold secrets",
                soft_wrap=True,
            )


@app.command()
def restore(
    *,
    file: BackupPath,
    store: StorePlace,
    run: SomeRuns = None,
    replace: Replaces = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check the file and show what is in it.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Restore a backup into a store of any kind, which is created if it does not exist.

    Example: headrace restore headrace.backup .headrace/state.db
    """
    from cluster.backup.reading import Backup  # noqa: PLC0415 - only these commands need the package

    with errors_shown(stderr_console()):
        backup = Backup.checked(file, run or ())
        rows = 0 if dry_run else _restored(store, [*backup.states], backup.rows(), replaces=replace)
        if json:
            print_json({"dry_run": dry_run, "made_at": backup.made_at, "runs": backup.states, "rows": rows})
            return
        for run_id, state in backup.states.items():
            typer.echo(f"{plain(run_id)}: {'would be restored' if dry_run else 'restored'} ({state})")
        made_at = datetime.fromtimestamp(backup.made_at, UTC).isoformat(" ", "seconds")
        did = "would be restored" if dry_run else f"restored, {rows:,} rows"
        typer.echo(f"{len(backup.states):,} runs of {made_at} {did}")
        if not dry_run and any(state in (RUNNING, INTERRUPTED) for state in backup.states.values()):
            typer.echo(
                f"`{program()} resume RUN_ID` continues a run; what was answered since then is asked again"
            )


@app.command()
def migrate(
    *,
    store: StorePlace,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="Copy all runs into this store of any kind instead.", metavar="STORE|CONFIG"
        ),
    ] = None,
    replace: Replaces = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be changed.")] = False,
    json: AsJson = False,
) -> None:
    """Rewrite the rows of earlier versions in the present form, or copy all runs into another store.

    Example: headrace migrate .headrace/state.db --dry-run
    """
    with errors_shown(stderr_console()):
        if to is None:
            _migrate_rows(store, dry_run=dry_run, json=json)
        else:
            _copy_runs(store, to, replaces=replace, dry_run=dry_run, json=json)


def _migrate_rows(place: str, *, dry_run: bool, json: bool) -> None:
    from cluster.backup.migration import Migrator  # noqa: PLC0415 - only this command needs it
    from cluster.backup.place import settings_of  # noqa: PLC0415 - same

    with opened_store(settings_of(place, os.environ), may_lock=dry_run, advice=_ADVICE) as store:
        done = Migrator(store, _lease_of(place)).migrate(dry_run=dry_run)
    kept = [{"run_id": run_id, "why": why} for run_id, why in done.kept]
    if json:
        print_json(
            {"dry_run": dry_run, "from": done.was, "to": VERSION, "rewritten": done.rows, "kept": kept}
        )
        return
    did = "would be rewritten" if dry_run else "rewritten"
    for run_id, count in done.rows.items():
        typer.echo(f"{plain(run_id) or 'shared answers'}: {count:,} rows {did}")
    for run_id, why in done.kept:
        typer.echo(f"{plain(run_id)}: left as it is: {why}")
    formats = f"format {VERSION}" if done.was == VERSION else f"format {done.was} → {VERSION}"
    typer.echo(f"{formats}: {sum(done.rows.values()):,} rows {did}, {len(kept):,} runs left as they are")


def _copy_runs(place: str, to: str, *, replaces: bool, dry_run: bool, json: bool) -> None:
    from cluster.backup.place import settings_of  # noqa: PLC0415 - only this command needs it
    from cluster.backup.restoring import is_same_store  # noqa: PLC0415 - same
    from cluster.backup.saving import Content, refuse_live  # noqa: PLC0415 - same

    with opened_store(settings_of(place, os.environ), may_lock=True, advice=_ADVICE) as store:
        if not dry_run:
            with closing(open_store(settings_of(to, os.environ))) as target:
                check_format(target)
                # Each run would be removed to make room for itself: an interruption would lose it.
                if is_same_store(target, store):
                    raise ConfigError(f"--to {to} is the store {place} itself: name another one")
        refuse_live(store, _lease_of(place))  # before the snapshot, which does not change
        with store.snapshot() as snapshot:
            content = Content.of(snapshot, ())
            copied = content.rows(snapshot)
            rows = 0 if dry_run else _restored(to, content.runs, copied, replaces=replaces)
    if json:
        print_json({"dry_run": dry_run, "runs": content.runs, "rows": rows})
        return
    did = "would be copied" if dry_run else f"copied, {rows:,} rows"
    typer.echo(f"{len(content.runs):,} runs {did}")


def _restored(place: str, run_ids: Sequence[str], rows: Iterable[Row], *, replaces: bool) -> int:
    """Restore runs into the store at `place`, which may be new. Return how many rows were written."""
    from cluster.backup.place import settings_of  # noqa: PLC0415 - only these commands need the package
    from cluster.backup.restoring import Restorer  # noqa: PLC0415 - same

    store = open_store(settings_of(place, os.environ))
    try:
        check_format(store)
        return Restorer(store, _lease_of(place)).restore(run_ids, rows, replaces=replaces)
    finally:
        store.close()


def _lease_of(place: str) -> Callable[[RunView], float]:
    from cluster.backup.place import config_of  # noqa: PLC0415 - only these commands need the package

    return lambda run: longest_lease([run.origin.get("path"), config_of(place)], os.environ)


def _listed(run_ids: Iterable[str]) -> str:
    shown = [plain(run_id) for run_id in run_ids]
    more = f" and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
    return f"{', '.join(shown[:_SHOWN])}{more}"

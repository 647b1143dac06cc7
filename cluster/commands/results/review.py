"""The command ``review``: a local page on which a person judges the answers of a run."""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
import sys
import threading
import time
import webbrowser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from actors.core.errors import ConfigError
from cluster.commands.command_line import RunId, StoreConfig, errors_shown
from cluster.golden.file import GoldenFile, golden_path
from cluster.golden.records import Order
from cluster.records.reading import all_ended
from cluster.records.records import found_run, opened, store_settings
from cluster.report.console import plain, stderr_console

if TYPE_CHECKING:
    from actors.core.messages.journal import RunView
    from actors.journal.stores.base import Store
    from cluster.review.choosing import Chosen, ReviewSelection
    from cluster.review.selecting import ReviewOptions
    from cluster.review.server import ReviewServer

app = typer.Typer()

_MOST_ITEMS = 10_000
_TOKEN_BYTES = 32
_ORDER_NOTES = {
    Order.CONFIDENCE: "The answers with the lowest confidence come first: the whole run is probably better.",
    Order.AGREEMENT: "The answers that differ come first: the whole run is probably better.",
    Order.RANDOM: "The items come in random order.",
}
_ORDER_WORDS = {
    Order.CONFIDENCE: "the lowest confidence first",
    Order.AGREEMENT: "those that differ first",
    Order.RANDOM: "in random order",
}
_BLIND_NOTE = "The sides change at random. Which run an answer comes from is not shown."


@app.command()
def review(
    *,
    run_id: RunId,
    n: Annotated[int, typer.Option("--n", min=1, max=_MOST_ITEMS, help="The maximum number of items.")] = 100,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="failed|changed|reviewed|COL=VALUE",
            help="Only items without an answer, whose answers differ, that have a decision, or with a value.",
        ),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A field to judge; repeatable. Default: the first with choices."),
    ] = None,
    confidence: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="The field that says how sure the model is. Default: confidence."),
    ] = None,
    order: Annotated[
        Order | None,
        typer.Option(help="Which items come first. Default: those that differ, or are the least sure."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="RUN_ID", help="Another run; items whose answers differ come first.")
    ] = None,
    blind: Annotated[
        str | None,
        typer.Option(metavar="RUN_ID", help="Another run; ask which answer is better, without names."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the random order.")] = 0,
    reviewer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who decides. Default: the name of the user.")
    ] = None,
    golden: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The golden set. Default: beside the store.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port of the page; 0: any.")] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Open no browser.")] = False,
    config: StoreConfig = None,
) -> None:
    """Judge the answers of a run on a local page, and keep the decisions as its golden set.

    Example: headrace review reviews-20261124-101500-a1b2 --n 50
    """
    console = stderr_console()
    with errors_shown(console):
        from cluster.review.selecting import ReviewOptions  # noqa: PLC0415 - loads pydantic

        if against is not None and blind is not None:
            raise ConfigError(
                "--against shows whose answers they are, and --blind hides it: give one of them"
            )
        options = ReviewOptions(
            fields=tuple(field or ()),
            confidence=confidence,
            order=order,
            other=blind or against or "",
            is_blind=blind is not None,
            only=only,
            most=n,
            seed=seed,
        )
        path = golden or golden_path(store_settings(config, os.environ), run_id)
        with opened(config, os.environ) as store:
            run = found_run(store, run_id)
            with GoldenFile(path) as file:
                _reviewed(
                    store,
                    run,
                    options,
                    file,
                    reviewer=reviewer or _user(),
                    console=console,
                    port=port,
                    opens=not no_open,
                )


def _reviewed(
    store: Store,
    run: RunView,
    options: ReviewOptions,
    file: GoldenFile,
    *,
    reviewer: str,
    console: Console,
    port: int,
    opens: bool,
) -> None:
    """Serve the page until Ctrl-C, and print what the golden set says."""
    from cluster.golden.figures import present_answers  # noqa: PLC0415 - loads numpy
    from cluster.review.cards import CardMaker  # noqa: PLC0415 - loads pydantic
    from cluster.review.choosing import choose  # noqa: PLC0415 - same
    from cluster.review.selecting import decided_entries, report_of, selection_of  # noqa: PLC0415 - same
    from cluster.review.server import ReviewServer  # noqa: PLC0415 - loads aiohttp
    from cluster.review.session import ReviewPair, ReviewSession  # noqa: PLC0415 - same

    selection = selection_of(store, run, options)
    find_other = partial(report_of, store, options.other)
    chosen = choose(all_ended(store, run.run_id), find_other, file.golden, selection)
    _print_chosen(chosen, selection, console)
    if not chosen.questions:
        return
    pair = ReviewPair(run.run_id, options.other) if options.is_blind else None
    answers = present_answers(
        file.golden, decided_entries(store, run.run_id, file.golden), selection.all_columns
    )
    session = ReviewSession(
        chosen.questions, file, reviewer, time.time, answers=answers, pair=pair, seed=options.seed
    )
    about = {
        "run": plain(run.run_id),
        "other": plain(options.other),
        "is_blind": options.is_blind,
        "note": _BLIND_NOTE if options.is_blind else _ORDER_NOTES[selection.order],
        "file": plain(str(file.path), 500),
        "reviewer": plain(reviewer),
    }
    cards = CardMaker(store, run, session, selection)
    server = ReviewServer(session, cards, about, secrets.token_urlsafe(_TOKEN_BYTES))
    _serve(server, port, console, opens=opens)
    _print_figures(store, run, file, console)


def _serve(server: ReviewServer, port: int, console: Console, *, opens: bool) -> None:
    def ready(address: str) -> None:
        typer.echo(address)
        sys.stdout.flush()
        console.print("Ctrl-C ends the review; each decision is stored at once")
        if opens and _has_display():
            # It may wait for seconds, and the browser for the page.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    try:
        asyncio.run(server.serve(port, ready))
    except OSError as error:
        raise ConfigError(f"port {port} cannot be used: {error.strerror}; --port 0 takes any") from error


def _has_display() -> bool:
    """Return whether there is a screen: otherwise a browser of the terminal could take it over."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"


def _print_chosen(chosen: Chosen, selection: ReviewSelection, console: Console) -> None:
    from cluster.review.selecting import left_out_text  # noqa: PLC0415 - loads pydantic

    names = ", ".join(column.name for column in selection.columns)
    what = "compare" if selection.is_blind else "judge"
    console.print(
        f"{len(chosen.questions):,} answers to {what}: {plain(names)}; {_ORDER_WORDS[selection.order]}"
    )
    if left_out := left_out_text(chosen):
        console.print(f"left out: {left_out}")


def _print_figures(store: Store, run: RunView, file: GoldenFile, console: Console) -> None:
    from cluster.golden.figures import (  # noqa: PLC0415 - loads numpy
        figures_lines,
        golden_figures,
        preference_lines,
        preferences,
    )
    from cluster.report.tables.columns import Layout  # noqa: PLC0415 - loads pydantic
    from cluster.review.selecting import decided_entries  # noqa: PLC0415 - same

    golden = file.golden
    outputs = Layout.stored(run.config).outputs
    lines = [
        *figures_lines(golden_figures(golden, decided_entries(store, run.run_id, golden), outputs)),
        *preference_lines(preferences(golden, run.run_id), run.run_id),
    ]
    for line in lines:
        console.print(plain(line, 1000), soft_wrap=True)
    console.print(f"golden set: {plain(str(file.path), 1000)}", soft_wrap=True)

"""The command ``compare``: how two runs, or two tables of results, differ."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.command_line import (
    AsJson,
    ClusterAddress,
    EngineChoice,
    Overrides,
    StoreConfig,
    errors_shown,
    print_json,
)
from cluster.report.console import stderr_console, visible
from cluster.report.exit_codes import INCOMPLETE

app = typer.Typer()


@app.command()
def compare(
    *,
    a: Annotated[str, typer.Argument(help="A run, or a file: .csv, .tsv, .jsonl, .parquet.", metavar="A")],
    b: Annotated[str, typer.Argument(help="The run or file that is compared with A.", metavar="B")],
    key: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The column that names a row in both. Default: key, or the numbers of the rows.",
        ),
    ] = None,
    truth: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE:COLUMN",
            help="The right values, FILE:TRUTH=COLUMN if its name is another, or the file of a golden set. "
            "May be given several times. Default: the golden sets of the runs.",
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(metavar="CHAR", help="Of CSV files whose header has no comma, such as ';' or tab."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of files that are no UTF-8, such as cp1252.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Also write a page, such as cmp.html."),
    ] = None,
    fail_if: Annotated[
        str | None,
        typer.Option(
            "--fail-if", metavar="CONDITION", help="Exit with 3 if it holds, such as 'accuracy < -0.02'."
        ),
    ] = None,
    noise: Annotated[
        int, typer.Option(min=0, metavar="N", help="Ask A's question again about N random rows of A.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="With --noise: chooses the rows.")] = 0,
    budget: Annotated[
        float | None, typer.Option(metavar="USD", help="With --noise: the money that it may spend.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a large --noise.")] = False,
    config: StoreConfig = None,
    overrides: Overrides = None,
    engine: EngineChoice = None,
    address: ClusterAddress = "auto",
    json: AsJson = False,
) -> None:
    """Say whether B is better than A, how sure that is, and what differs. All differences are B minus A.

    Example: headrace compare small.jsonl large.jsonl --key id --truth gold.csv:label
    """
    console = stderr_console()
    with errors_shown(console):
        from cluster.compare.choice import preference_of, sides_of, truths_of  # noqa: PLC0415 - loads numpy
        from cluster.compare.comparison import compare_sides, with_noise  # noqa: PLC0415 - same
        from cluster.compare.conditions import check_condition, holds  # noqa: PLC0415 - same
        from cluster.compare.lines import comparison_lines  # noqa: PLC0415 - same
        from cluster.input.formats import text_form  # noqa: PLC0415 - same
        from cluster.web.writing import refuse_foreign  # noqa: PLC0415 - same

        if fail_if is not None:
            check_condition(fail_if)
        if output is not None:
            refuse_foreign(output)
        form = text_form(delimiter, encoding)
        with sides_of((a, b), config, os.environ, key, form) as sides:
            truths, notes = truths_of(truth or (), sides, config, os.environ, form)
            preference = preference_of(sides, config, os.environ)
            found = compare_sides(sides[0], sides[1], truths, notes=notes, preference=preference)
        if noise:  # last: a mistake above must cost nothing
            from cluster.commands.noise import NoiseRequest, ask_again  # noqa: PLC0415 - the engines

            request = NoiseRequest(a, noise, seed, budget, config, tuple(overrides or ()), is_agreed=yes)
            again = ask_again(request, console, engine=engine, address=address)
            with sides_of((a, again), config, os.environ, key) as sides:
                found = with_noise(found, sides[0], sides[1])
        if output is not None:
            from cluster.compare.page import write_page  # noqa: PLC0415 - loads jinja2

            console.print(f"{write_page(found, output)}: the comparison as a page", soft_wrap=True)
        if json:
            print_json(found.as_dict())
        else:
            for line in comparison_lines(found):
                typer.echo(visible(line))
        if fail_if is not None and holds(fail_if, found):
            console.print(f"--fail-if {fail_if}: it holds", style="red", soft_wrap=True)
            raise typer.Exit(INCOMPLETE)

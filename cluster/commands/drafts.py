"""The commands that help to write a job: ``columns`` and ``init``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from actors.core.errors import ConfigError
from cluster.commands.command_line import errors_shown
from cluster.commands.map.arguments import Delimiter, Encoding
from cluster.draft.job import JobDraft, JobTemplate, next_commands
from cluster.draft.profile import profile_of
from cluster.input.formats import STDIN, text_form
from cluster.input.rows import RowInput
from cluster.program import program
from cluster.report.console import stderr_console

app = typer.Typer()


@app.command()
def columns(
    specs: Annotated[list[str], typer.Argument(metavar="COLUMN...", help="Columns, as for -c of map.")],
) -> None:
    """Print the JSON Schema of columns, which a model has to follow.

    Example: headrace columns 'mood: good | bad' 'score: 0..1 = how good' 'tags?: list[str]'
    """
    from pydantic import TypeAdapter  # noqa: PLC0415 - each command loads its own modules

    from actors.core.task.columns import parse_columns  # noqa: PLC0415 - same
    from actors.llm.fields import FieldSpec, object_schema  # noqa: PLC0415 - same

    fields: TypeAdapter[dict[str, FieldSpec]] = TypeAdapter(dict[str, FieldSpec])
    with errors_shown(stderr_console()):
        schema = object_schema(fields.validate_python(parse_columns(specs)))
    sys.stdout.write(orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode() + "\n")


@app.command()
def init(
    *,
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="The table, as for map.")] = None,
    template: Annotated[
        JobTemplate, typer.Option(help="What the job does with a text.")
    ] = JobTemplate.CLASSIFY,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    bare: Annotated[bool, typer.Option("--bare", help="Write no comments.")] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("job.yaml"),
) -> None:
    """Write a first configuration for a table, which runs on a simulated model. Overwrites nothing.

    Example: headrace init reviews.csv --template summarize
    """
    with errors_shown(stderr_console()):
        if output.exists():
            raise ConfigError(f"{output} exists, and nothing is overwritten: name another file with -o")
        if data == STDIN:
            raise ConfigError("a job needs its rows again when it runs: name a file")
        form = text_form(delimiter, encoding)
        table = None if data is None else profile_of(RowInput.of_file(data, form=form))
        text = JobDraft(template, data or "", table, bare, form).text(str(output), program())
        try:
            with output.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise ConfigError(f"{output} cannot be written: {error.strerror}") from error
    typer.echo(f"{output} is written. Next:")
    for command in next_commands(str(output), program()):
        typer.echo(f"  {command}")

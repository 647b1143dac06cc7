"""The command ``columns``: shows what lines of the column grammar mean."""

from __future__ import annotations

import sys
from typing import Annotated

import orjson
import typer

from cluster.commands.command_line import errors_shown
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

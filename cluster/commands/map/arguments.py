"""The arguments of ``map`` and ``estimate``: their options, and the job that they describe.

Rule: Rows are read before the configuration is loaded, so that the first line appears at once.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from actors.core.task.columns import ColumnError, parse_columns
from cluster.input.formats import STDIN, text_form
from cluster.input.rows import RowInput
from cluster.report.console import number, plain
from cluster.report.continuing import WITHHELD
from cluster.report.tables.targets import shown
from cluster.run.deadline import seconds_to
from cluster.run.map.model import ModelChoice, endpoint_of

if TYPE_CHECKING:
    from cluster.run.map.job import MapJob
    from cluster.run.map.question import MapQuestion

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="The table: .csv, .tsv, .jsonl, .ndjson or .parquet, a URL of one, or - for stdin.",
    ),
]
PromptWords = Annotated[
    str | None,
    typer.Argument(
        metavar="[PROMPT]",
        help="The question. {column} stands for a value of the row, {column?} may be null.",
    ),
]
PromptText = Annotated[
    str | None, typer.Option("--prompt", "-p", metavar="TEXT|@FILE", help="The question, or @ and its file.")
]
SystemText = Annotated[
    str | None, typer.Option("--system", metavar="TEXT|@FILE", help="The system message, or @ and its file.")
]
Attached = Annotated[
    list[str] | None,
    typer.Option(
        "--attach", metavar="COLUMN", help="A column with paths or URLs of images, PDF or text files to send."
    ),
]
Embedded = Annotated[
    str | None,
    typer.Option(
        "--embed",
        metavar="COLUMN|TEXT",
        help="Ask for vectors of a column, or of a text such as '{title}. {text}', in place of a prompt.",
    ),
]
ColumnTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--column", "-c", metavar="NAME: TYPE = TEXT", help="A new column. May be given several times."
    ),
]
ColumnSource = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="FILE|module:Model",
        help="Columns: a line each, a JSON Schema, or a pydantic model.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="sim (simulated, free), PROVIDER:NAME such as openai:NAME, or NAME.",
    ),
]
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", metavar="URL", help="Where the model is served, with /v1.")
]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option(
        "--api-key-env",
        metavar="NAME",
        help="The variable with the key. Default: that of PROVIDER, or HEADRACE_API_KEY, OPENAI_API_KEY.",
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        min=1,
        help="The longest answer, with its reasoning. Default: 200, or 4000 for models known to reason.",
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="KEY=VALUE",
        help="A parameter of the model, such as temperature=0. Repeatable.",
    ),
]
SharedConfig = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="A configuration: its llm, limits, store, cluster and telemetry are used.",
    ),
]
KeyColumn = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="COLUMN", help="The column that names the rows. Default: key, or their numbers."
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option(metavar="CHAR", help="Between the cells of a CSV file, such as ';' or tab. Default: comma."),
]
Encoding = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of a text file, such as cp1252 or utf-16. Default: UTF-8."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first rows.")]
Sample = Annotated[int | None, typer.Option("--sample", min=1, help="Only as many random rows.")]
Seed = Annotated[int, typer.Option("--seed", help="With --sample: chooses the rows.")]
Budget = Annotated[
    float | None, typer.Option("--budget", metavar="USD", help="The money that the run may spend.")
]

_LARGE_BYTES = 5_000_000  # reading more takes longer than a moment
_COLUMN = re.compile(r"\s*([A-Za-z_]\w*\??)\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapArguments:
    """The arguments that describe the question, the model and the rows."""

    data: str
    prompt: str | None = None
    prompt_option: str | None = None
    system: str | None = None
    attach: tuple[str, ...] = ()
    embed: str | None = None
    columns: tuple[str, ...] = ()
    column_source: str | None = None
    model: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    config: Path | None = None
    key: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    budget: float | None = None
    max_tokens: int | None = None
    params: tuple[str, ...] = ()
    prefix: str = ""
    overrides: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise `ConfigError` for arguments that lack something or contradict each other. Reads no row."""
        if self.embed is None:
            self.prompt_text()
            self.output()
        else:
            self._check_embedding()
        for given in self.params:
            _parameter(given)
        if self.limit is not None and self.sample is not None:
            raise ConfigError("--limit and --sample exclude each other: give one")
        if self.config is None and ":" in (self.model or ""):  # a key that is not set is reported first
            endpoint_of(ModelChoice(self.model, self.base_url, self.api_key_env), os.environ)

    def _check_embedding(self) -> None:
        if not (self.embed or "").strip():
            raise ConfigError("--embed is empty: name a column, or a text such as '{title}. {text}'")
        others = ("PROMPT", "--prompt", "-c", "--columns", "--system", "--attach", "--max-tokens")
        if given := [name for name in others if name in self.question_options()]:
            raise ConfigError(f"--embed asks for vectors and not for fields: leave out {', '.join(given)}")

    def prompt_text(self) -> str:
        """Return the prompt. Raises `ConfigError` if there is none, or two."""
        if self.prompt is not None and self.prompt_option is not None:
            raise ConfigError("the prompt is given twice: as the second argument, and with --prompt")
        given = self.prompt if self.prompt is not None else self.prompt_option
        if given is None or not given.strip():
            raise ConfigError("no prompt: give it as the second argument, such as 'Classify: {text}'")
        return _text(given, "--prompt")

    def output(self) -> Json:
        """Return the columns as ``evaluate.output``. Raises `ConfigError`."""
        if self.columns and self.column_source is not None:
            raise ConfigError("-c and --columns exclude each other: give one")
        if self.column_source is None:
            if not self.columns:
                raise ConfigError("no columns: give at least one, such as -c 'label: yes | no'")
            return _entries(self.columns, "-c", self.prefix)
        source = self.column_source
        path = Path(source)
        if path.suffix == ".json" and not path.is_file():
            raise ConfigError(f"--columns {source}: there is no such file")
        if not path.is_file() and ":" in source:
            return source
        if path.suffix == ".json":
            return {"json_schema": source}
        lines = _read(path, "--columns").splitlines()
        named = tuple(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
        if not named:
            raise ConfigError(f"--columns {source}: the file names no column; write one a line")
        return _entries(named, f"--columns {source}", self.prefix)

    def question_options(self) -> tuple[str, ...]:
        """Return the options given that say what is asked, and of whom."""
        given = {
            "PROMPT": self.prompt,
            "--prompt": self.prompt_option,
            "-c": self.columns or None,
            "--columns": self.column_source,
            "-m": self.model,
            "--base-url": self.base_url,
            "--system": self.system,
            "--attach": self.attach or None,
            "--embed": self.embed,
            "--key": self.key,
            "--delimiter": self.delimiter,
            "--encoding": self.encoding,
            "--max-tokens": self.max_tokens,
            "--param": self.params or None,
            "--config": self.config,
        }
        return tuple(name for name, value in given.items() if value is not None)

    def rows(self) -> RowInput:
        """Read the rows once. Raises `TaskInputError`."""
        return RowInput.of_file(
            self.data,
            key=self.key,
            form=text_form(self.delimiter, self.encoding),
            limit=self.limit,
            sample=self.sample,
            seed=self.seed,
        )

    def question(self, name: str) -> MapQuestion:
        """Return the question about the rows called `name`. Raises `ConfigError`."""
        from cluster.run.map.question import EMBEDDING, MapQuestion, embedded  # noqa: PLC0415 - loads ruamel.yaml

        is_plain = self.embed is not None
        options = {"key": self.key, "delimiter": self.delimiter, "encoding": self.encoding}
        given = {name: value for name, value in options.items() if value is not None}
        return MapQuestion(
            embedded(_text(self.embed, "--embed")) if self.embed is not None else self.prompt_text(),
            None if is_plain else self.output(),
            name=name,
            embed=f"{self.prefix}{EMBEDDING}" if is_plain else "",
            system=None if self.system is None else _text(self.system, "--system"),
            attach=self.attach,
            model=self.model,
            base_url=self.base_url,
            api_key_env=self.api_key_env,
            config=self.config,
            tasks={"kind": "file", "path": self.data, **given},
            budget_usd=self.budget,
            max_tokens=self.max_tokens,
            params=dict(map(_parameter, self.params)),
            overrides=self.overrides,
        )

    def job(self, rows: RowInput) -> MapJob:
        """Return the job, without a target. Raises `ConfigError`."""
        from cluster.run.map.job import MapJob, parquet_input  # noqa: PLC0415 - same
        from cluster.run.map.question import map_config  # noqa: PLC0415 - loads pydantic

        config = map_config(self.question(rows.name), os.environ)
        return MapJob(config, rows, self.data, arrow_input=parquet_input(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCourse:
    """The arguments that say how a job runs, and where its result goes."""

    target: str | None = None
    extras: tuple[str, ...] = ()
    replaces: bool = False
    overwrites: bool = False
    deadline_s: float | None = None
    stops_at_failure: bool = False
    retry_failed: bool = False
    fresh: bool = False
    dry_run: bool = False
    save: Path | None = None
    yes: bool = False
    as_json: bool = False


def read_rows(arguments: MapArguments, console: Console) -> RowInput:
    """Read the rows, and say how many there are. Raises `TaskInputError`."""
    path = Path(arguments.data)
    if path.is_file() and (size := path.stat().st_size) > _LARGE_BYTES:
        console.print(f"reading {arguments.data} ({size / 1e6:,.0f} MB)", soft_wrap=True)
    rows = arguments.rows()
    chosen = f"{rows.count:,} of " if rows.count < rows.total else ""
    names = plain(", ".join(rows.columns), 200)
    place = "stdin" if arguments.data == STDIN else plain(shown(arguments.data), 200)
    text = f"{place}: {chosen}{number(rows.total, 'row')}, {number(len(rows.columns), 'column')} ({names})"
    console.print(text, soft_wrap=True)
    return rows


def seconds_until(text: str, now: dt.datetime) -> float:
    """Return the seconds to a deadline: ``06:00``, ``4h``, ``30m``, ``90s``. Raises `ConfigError`."""
    seconds = seconds_to(text, now)
    if not seconds:
        raise ConfigError(
            f"--deadline {text}: write a time of day such as 06:00, or a time such as 4h, 30m or 90s"
        )
    return seconds


def shown_command(arguments: list[str]) -> tuple[str, ...]:
    """Return the words of a command line without secrets: those of URLs and of ``--set``."""
    from cluster.config.secrets import shown_url, without_secrets  # noqa: PLC0415 - loads pydantic and ruamel

    words = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        override = word if before == "--set" else word.removeprefix("--set=")
        is_override = before == "--set" or override != word
        if is_override and without_secrets([override])[1]:
            words.append(word.removesuffix(override) + override.partition("=")[0] + WITHHELD)
        else:
            words.append(word if is_override else shown_url(word))
    return tuple(words)


def _entries(columns: tuple[str, ...], place: str, prefix: str) -> Mapping[str, Json]:
    """Return a line of the column grammar for each column, as in a configuration. Raises `ConfigError`."""
    try:
        parse_columns(columns)
    except ColumnError as error:
        raise ConfigError(f"{place}: {error}") from error
    found = (_COLUMN.fullmatch(column) for column in columns)
    pairs = (match.groups() for match in found if match is not None)
    return {f"{prefix}{name}": _type_text(rest.strip()) for name, rest in pairs}


def _type_text(rest: str) -> str:
    return rest.removeprefix(":").strip() or "str"


def _parameter(given: str) -> tuple[str, Json]:
    """Return the name and the value of a parameter, which is YAML. Raises `ConfigError`."""
    from cluster.config.file import yaml_value  # noqa: PLC0415 - loads ruamel.yaml

    name, equals, text = given.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--param {given}: write KEY=VALUE, such as temperature=0")
    return name.strip(), yaml_value(text, f"--param {name}")


def _text(given: str, place: str) -> str:
    """Return the text of an option, or of the file that it names after ``@``; ``@@`` stands for ``@``."""
    if given.startswith("@@"):
        return given[1:]
    return _read(Path(given[1:]), place) if given.startswith("@") else given


def _read(path: Path, place: str) -> str:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{place}: {path} is not UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{place}: {path} cannot be read: {error.strerror}") from error

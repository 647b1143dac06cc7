"""One call of `map`: its options, and its run in the thread of a host."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from actors.core.errors import ConfigError, HeadraceError
from actors.runtime.defects import advise_after_defect
from headrace.deadline import Deadline, seconds_until
from headrace.progress.background import ThreadHost
from headrace.progress.display import ended_text
from headrace.rows.columns import output_of
from headrace.rows.sources import FileRows, MemoryRows, RowChoice, RowSource
from headrace.rows.tables import table_of
from headrace.wording import in_python_words

if TYPE_CHECKING:
    from cluster.config.model import HeadraceConfig
    from cluster.input.rows import RowInput
    from cluster.report.summary import RunSummary
    from cluster.run.map.job import MapJob

UNIT = "rows"
CONTINUED = "the same call again continues"
_KEY = "HEADRACE_API_KEY"

PathLike = str | os.PathLike[str]


class MapOptions(TypedDict, total=False):
    """The options of `map` and `amap`, which `map` describes."""

    model: str | None
    system: str | None
    attach: tuple[str, ...]
    embed: str | None
    key: str | None
    delimiter: str | None
    encoding: str | None
    limit: int | None
    sample: int | None
    budget: float | None
    max_tokens: int | None
    params: Mapping[str, Any] | None
    deadline: Deadline | None
    errors: Literal["keep", "raise"]
    output: PathLike | None
    fresh: bool
    retry_failed: bool
    replace: bool
    overwrite: bool
    config: PathLike | None
    base_url: str | None
    api_key: str | None
    progress: bool | None


class MapStoppedError(HeadraceError):
    """The run ended before every row had an answer. The same call continues it."""


class MapCall:
    """A call of `map`. Calling it runs it in the thread of a host, and returns the result."""

    def __init__(self, table: Any, prompt: str | None, columns: object, options: MapOptions) -> None:
        _check_arguments(prompt, columns, options)
        self._table = table
        self._prompt = prompt
        self._columns = columns
        self._options = options

    def __call__(self, host: ThreadHost) -> Any:
        """Run the job to its end, and return the table. Raises `HeadraceError`."""
        from cluster.commands.batch import engine_of  # noqa: PLC0415 - `import headrace` is quick
        from cluster.report.tables.columns import Layout  # noqa: PLC0415 - same
        from cluster.run.engine import LocalEngine  # noqa: PLC0415 - same
        from cluster.run.map.history import history_of  # noqa: PLC0415 - same
        from cluster.run.map.run import run_map, write_empty  # noqa: PLC0415 - same

        options = self._options
        if (deadline := options.get("deadline")) is not None:
            host.stop_after(seconds_until(deadline, datetime.now().astimezone()))
        with contextlib.closing(self.source()) as source:
            config = self.config(source.name)
            layout, rows = Layout.of(config), source.rows(config.limits.max_task_bytes)
            job = replace(self.job(config, rows), target=source.target)
            if not rows.count:
                with in_python_words():
                    write_empty(job)
                host.end("the table has no rows: nothing was asked")
                return source.result(layout)
            history = history_of(job)
            for note in history.notes:
                host.say(note)
            engine = engine_of(config, (), None, "auto")
            host.continued_by = CONTINUED
            if isinstance(engine, LocalEngine):  # its actors are in this process, and nothing restarts them
                advise_after_defect(f"run {history.run_id}: {CONTINUED}")
            with in_python_words():
                ended = run_map(job, engine, host, history=history, read=source.take)
            host.end(ended_text(ended.summary, UNIT))
            check_ended(ended.summary, may_fail=not job.stops_at_failure, fails_again=ended.fails_again)
            return source.result(layout)

    def job(self, config: HeadraceConfig, rows: RowInput) -> MapJob:
        """Return the job of the call, without a target."""
        from cluster.run.map.job import MapJob, parquet_input  # noqa: PLC0415 - see `__call__`

        return MapJob(
            config,
            rows,
            os.fspath(self._table) if isinstance(self._table, str | os.PathLike) else None,
            fresh=self._options.get("fresh", False),
            retry_failed=self._options.get("retry_failed", False),
            replaces=self._options.get("replace", False),
            overwrites=self._options.get("overwrite", False),
            stops_at_failure=self._options.get("errors") == "raise",
            arrow_input=parquet_input(rows),
        )

    def source(self) -> RowSource:
        """Return the rows of the table. Raises `TableError`."""
        options, output = self._options, self._options.get("output")
        choice = RowChoice(
            options.get("key"),
            options.get("delimiter"),
            options.get("encoding"),
            options.get("limit"),
            options.get("sample"),
        )
        target = None if output is None else os.fspath(output)
        if isinstance(self._table, str | os.PathLike):
            return FileRows(os.fspath(self._table), choice, target)
        if choice.delimiter is not None or choice.encoding is not None:
            raise ConfigError("delimiter and encoding describe a file: leave them out for a table in memory")
        return MemoryRows(table_of(self._table), choice, target)

    def config(self, name: str) -> HeadraceConfig:
        """Return the configuration that asks the question. Raises `ConfigError`."""
        from cluster.run.map.question import EMBEDDING, MapQuestion, embedded, map_config  # noqa: PLC0415 - see `__call__`

        options = self._options
        embed = options.get("embed")
        config, api_key = options.get("config"), options.get("api_key")
        question = MapQuestion(
            self._prompt or "" if embed is None else embedded(embed),
            output_of(self._columns) if embed is None else None,
            name=name,
            embed="" if embed is None else EMBEDDING,
            system=options.get("system"),
            attach=options.get("attach", ()),
            model=options.get("model"),
            base_url=options.get("base_url"),
            api_key_env=None if api_key is None else _KEY,
            config=None if config is None else Path(config),
            budget_usd=options.get("budget"),
            max_tokens=options.get("max_tokens"),
            params=options.get("params") or {},
        )
        with in_python_words():
            return map_config(question, os.environ if api_key is None else {**os.environ, _KEY: api_key})


def _check_embedding(embed: object, given: Mapping[str, object]) -> None:
    """Raise `ConfigError` unless `embed` is a text, and no argument asks for fields."""
    if not isinstance(embed, str) or not embed.strip():
        raise ConfigError(f"embed is a column, or a text such as '{{title}}. {{text}}', not {embed!r}")
    others = ("prompt", "columns", "system", "attach", "max_tokens")
    if named := [name for name in others if given.get(name) not in (None, ())]:
        raise ConfigError(f"embed asks for vectors and not for fields: leave out {', '.join(named)}")


def _check_arguments(prompt: object, columns: object, options: MapOptions) -> None:
    """Raise `ConfigError` for an argument that no other part checks."""
    if (embed := options.get("embed")) is not None:
        _check_embedding(embed, {"prompt": prompt, "columns": columns, **options})
    elif not isinstance(prompt, str) or not prompt.strip():
        raise ConfigError(f"the prompt is a text such as 'Classify: {{text}}', not {prompt!r}")
    if (errors := options.get("errors", "keep")) not in ("keep", "raise"):
        raise ConfigError(f"errors is 'keep' or 'raise', not {errors!r}")
    if options.get("api_key") == "":
        raise ConfigError("api_key is empty: give a key, or leave it out")
    limit, sample = options.get("limit"), options.get("sample")
    for name, count in (("limit", limit), ("sample", sample)):
        if count is not None and count < 1:
            raise ConfigError(f"{name} is a number of rows, at least 1, not {count}")
    if limit is not None and sample is not None:
        raise ConfigError("limit and sample exclude each other: give one")


def check_ended(summary: RunSummary, *, may_fail: bool, fails_again: bool = False) -> None:
    """Raise `MapStoppedError` if a row has not ended, or has failed although no row may fail.

    `fails_again`: the row at whose failure the run stopped is asked again only with `retry_failed`.
    """
    tasks = summary.tasks
    is_stopped = summary.open_tasks or summary.state in ("interrupted", "cancelled")
    if is_stopped:
        rest = {"cancelled": "it was cancelled"}.get(summary.state, "its deadline has passed")
        cause = f"run {summary.run_id} was stopped: {summary.stopped_by or rest}"
    elif tasks.failed and not may_fail:
        cause = f"{tasks.failed:,} rows failed: {next(iter(summary.failures), 'without a cause')}"
    else:
        return
    call = "the same call with retry_failed=True" if fails_again else "the same call"
    have = f"{tasks.ended:,} of {tasks.accepted:,} rows have ended, and are kept; {call} continues"
    raise MapStoppedError(f"{cause}\n{have}")

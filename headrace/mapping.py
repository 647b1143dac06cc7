"""Asks about every row of a table, and returns the table with the answers as new columns."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeVar, Unpack, overload

from actors.core.errors import HeadraceError
from headrace.background import ThreadHost, run_beside, run_here
from headrace.columns import output_of
from headrace.deadline import Deadline, seconds_until
from headrace.display import display_for, ended_text
from headrace.sources import FileRows, MemoryRows, RowChoice, RowSource
from headrace.tables import table_of

if TYPE_CHECKING:
    from cluster.config.model import HeadraceConfig
    from cluster.report.summary import RunSummary

_UNIT = "rows"
_KEY = "HEADRACE_API_KEY"

PathLike = str | os.PathLike[str]


class DataFrameLike(Protocol):
    """A DataFrame of pandas or polars, or a Table of pyarrow."""

    @property
    def columns(self) -> Any:
        """The columns."""


FrameT = TypeVar("FrameT", bound=DataFrameLike)


class MapOptions(TypedDict, total=False):
    """The options of `map` and `amap`, which `map` describes."""

    model: str | None
    system: str | None
    key: str | None
    limit: int | None
    sample: int | None
    budget: float | None
    deadline: Deadline | None
    errors: Literal["keep", "raise"]
    output: PathLike | None
    fresh: bool
    retry_failed: bool
    replace: bool
    config: PathLike | None
    base_url: str | None
    api_key: str | None
    progress: bool | None


class MapStoppedError(HeadraceError):
    """The run ended before every row had an answer. The same call continues it."""


@overload
def map(table: PathLike, prompt: str, columns: object, **options: Unpack[MapOptions]) -> Any: ...
@overload
def map(table: FrameT, prompt: str, columns: object, **options: Unpack[MapOptions]) -> FrameT: ...
@overload
def map(
    table: Iterable[Mapping[str, Any]], prompt: str, columns: object, **options: Unpack[MapOptions]
) -> list[dict[str, Any]]: ...
def map(
    table: Any,
    prompt: str,
    columns: object,
    *,
    model: str | None = None,
    system: str | None = None,
    key: str | None = None,
    limit: int | None = None,
    sample: int | None = None,
    budget: float | None = None,
    deadline: Deadline | None = None,
    errors: Literal["keep", "raise"] = "keep",
    output: PathLike | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    replace: bool = False,
    config: PathLike | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    progress: bool | None = None,
) -> Any:
    """Ask about every row of a table, and return the table with the answers as new columns.

    The result is of the same kind and has the same rows: order, index, duplicates and dtypes are kept. The
    new columns follow in the order of `columns`, and `_error` after them, which is null for a good row. Their
    dtypes follow from `columns`. The same call again continues, and pays only for what is missing. Ctrl-C
    keeps the answers so far.

    table: a DataFrame of pandas or polars, a Table of pyarrow, a list or iterable of dicts; or the path or
        URL of a CSV, TSV, JSONL or Parquet file.
    prompt: the question, with ``{column}`` for a value of the row. A row with null there is not asked;
        ``{column?}`` permits null.
    columns: the columns of the answer: a mapping of names to types, such as
        ``{"mood": "good | bad", "score": "1..5 = how angry"}``, or a pydantic model. Types are those of the
        column grammar, or Python's.
    model: ``sim`` (simulated, free), ``openai:NAME``, or the name of a model at `base_url`.
    system: the system message.
    key: the column that identifies a row in messages; by default ``key``, or else the number of the row.
    limit, sample: only the first rows, or as many random ones. The result has only these.
    budget: US dollars that the run may cost.
    deadline: when the run stops: seconds, ``"4h"``, ``"06:00"``, a timedelta or a datetime.
    errors: ``keep`` has the cause of a failed row in `_error`; ``raise`` stops at the first one.
    output: a path or URL, to which the result is written too. With a path as `table`, it is returned.
    fresh: use no earlier answer.
    retry_failed: ask all failed rows again, not only those that may succeed.
    replace: an answer replaces a column of the table with its name; otherwise that is an error.
    config: a configuration whose sections `llm`, `limits`, `store` and `cluster` are used.
    base_url: the URL of an OpenAI-compatible server.
    api_key: its key; by default the environment variable HEADRACE_API_KEY or OPENAI_API_KEY.
    progress: whether to show progress; None: in a notebook and on a terminal.

    Raises the errors of the command line, see `headrace.errors`. With a path as `table` and no `output`, the
    result is a pyarrow Table.
    """
    options = MapOptions(
        model=model,
        system=system,
        key=key,
        limit=limit,
        sample=sample,
        budget=budget,
        deadline=deadline,
        errors=errors,
        output=output,
        fresh=fresh,
        retry_failed=retry_failed,
        replace=replace,
        config=config,
        base_url=base_url,
        api_key=api_key,
    )
    with display_for(progress, _UNIT) as display:
        return run_here(_MapCall(table, prompt, columns, options), display)


@overload
async def amap(table: PathLike, prompt: str, columns: object, **options: Unpack[MapOptions]) -> Any: ...
@overload
async def amap(table: FrameT, prompt: str, columns: object, **options: Unpack[MapOptions]) -> FrameT: ...
@overload
async def amap(
    table: Iterable[Mapping[str, Any]], prompt: str, columns: object, **options: Unpack[MapOptions]
) -> list[dict[str, Any]]: ...
async def amap(table: Any, prompt: str, columns: object, **options: Unpack[MapOptions]) -> Any:
    """Do the same as `map` without blocking the event loop. A cancellation keeps the answers so far."""
    with display_for(options.get("progress"), _UNIT) as display:
        return await run_beside(_MapCall(table, prompt, columns, options), display)


class _MapCall:
    """A call of `map`. Calling it runs it in the thread of a host, and returns the result."""

    def __init__(self, table: Any, prompt: str, columns: object, options: MapOptions) -> None:
        self._table = table
        self._prompt = prompt
        self._columns = columns
        self._options = options

    def __call__(self, host: ThreadHost) -> Any:
        from cluster.commands.batch import engine_of  # noqa: PLC0415 - `import headrace` is quick
        from cluster.report.tables.columns import Layout  # noqa: PLC0415 - same
        from cluster.run.mapping import MapJob, history_of, parquet_input, run_map  # noqa: PLC0415 - same

        options = self._options
        may_fail = options.get("errors", "keep") == "keep"
        if (deadline := options.get("deadline")) is not None:
            host.stop_after(seconds_until(deadline, datetime.now().astimezone()))
        with contextlib.closing(self._source()) as source:
            config = self._config(source.name)
            layout, rows = Layout.of(config), source.rows(config.limits.max_task_bytes)
            if not rows.count:
                return source.result(layout)
            job = MapJob(
                config,
                rows,
                target=source.target,
                fresh=options.get("fresh", False),
                retry_failed=options.get("retry_failed", False),
                replaces=options.get("replace", False),
                stops_at_failure=not may_fail,
                arrow_input=parquet_input(rows),
            )
            history = history_of(job)
            for note in history.notes:
                host.say(note)
            engine = engine_of(config, (), None, "auto")
            ended = run_map(job, engine, host, history=history, read=source.take)
            host.end(ended_text(ended.summary, _UNIT))
            _check(ended.summary, may_fail=may_fail)
            return source.result(layout)

    def _source(self) -> RowSource:
        options, output = self._options, self._options.get("output")
        choice = RowChoice(options.get("key"), options.get("limit"), options.get("sample"))
        target = None if output is None else os.fspath(output)
        if isinstance(self._table, str | os.PathLike):
            return FileRows(os.fspath(self._table), choice, target)
        return MemoryRows(table_of(self._table), choice, target)

    def _config(self, name: str) -> HeadraceConfig:
        """Return the configuration that asks the question. Raises `ConfigError`."""
        from cluster.run.map_question import MapQuestion, map_config  # noqa: PLC0415 - see `__call__`

        options = self._options
        config, api_key = options.get("config"), options.get("api_key")
        question = MapQuestion(
            self._prompt,
            output_of(self._columns),
            name=name,
            system=options.get("system"),
            model=options.get("model"),
            base_url=options.get("base_url"),
            api_key_env=None if api_key is None else _KEY,
            config=None if config is None else Path(config),
            budget_usd=options.get("budget"),
        )
        return map_config(question, os.environ if api_key is None else {**os.environ, _KEY: api_key})


def _check(summary: RunSummary, *, may_fail: bool) -> None:
    """Raise `MapStoppedError` if a row has not ended, or has failed although no row may fail."""
    tasks = summary.tasks
    is_stopped = summary.open_tasks or summary.state in ("interrupted", "cancelled")
    if is_stopped:
        rest = {"cancelled": "it was cancelled"}.get(summary.state, "its deadline has passed")
        cause = f"run {summary.run_id} was stopped: {summary.stopped_by or rest}"
    elif tasks.failed and not may_fail:
        cause = f"{tasks.failed:,} rows failed: {next(iter(summary.failures), 'without a cause')}"
    else:
        return
    have = f"{tasks.ended:,} of {tasks.accepted:,} rows have ended, and are kept; the same call continues"
    raise MapStoppedError(f"{cause}\n{have}")

"""Asks about every row of a table, and returns the table with the answers as new columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar, Unpack, overload

from headrace.deadline import Deadline
from headrace.map_call import UNIT, MapCall, MapOptions, PathLike
from headrace.progress.background import run_beside, run_here
from headrace.progress.display import display_for


class DataFrameLike(Protocol):
    """A DataFrame of pandas or polars, or a Table of pyarrow."""

    @property
    def columns(self) -> Any:
        """The columns."""


FrameT = TypeVar("FrameT", bound=DataFrameLike)


@overload
def map(
    table: PathLike, prompt: str | None = None, columns: object = None, **options: Unpack[MapOptions]
) -> Any: ...
@overload
def map(
    table: FrameT, prompt: str | None = None, columns: object = None, **options: Unpack[MapOptions]
) -> FrameT: ...
@overload
def map(
    table: Iterable[Mapping[str, Any]],
    prompt: str | None = None,
    columns: object = None,
    **options: Unpack[MapOptions],
) -> list[dict[str, Any]]: ...
def map(
    table: Any,
    prompt: str | None = None,
    columns: object = None,
    *,
    model: str | None = None,
    system: str | None = None,
    attach: Sequence[str] = (),
    embed: str | None = None,
    key: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    limit: int | None = None,
    sample: int | None = None,
    budget: float | None = None,
    max_tokens: int | None = None,
    params: Mapping[str, Any] | None = None,
    deadline: Deadline | None = None,
    errors: Literal["keep", "raise"] = "keep",
    output: PathLike | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    replace: bool = False,
    overwrite: bool = False,
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
    model: ``sim`` (simulated, free), ``PROVIDER:NAME`` such as ``openai:NAME``, or a model at `base_url`.
    system: the system message.
    attach: the columns with paths or URLs of images, PDF or text files to send with the prompt.
    embed: in place of `prompt` and `columns`: a column, or a text such as ``"{title}. {text}"``. Its vectors
        become the column `embedding`. ``params={"dimensions": 256}`` sets their length.
    key: the column that identifies a row in messages; by default ``key``, or else the number of the row.
    delimiter, encoding: of a CSV file, such as ``";"`` and ``"cp1252"``. By default comma and UTF-8.
    limit, sample: only the first rows, or as many random ones. The result has only these.
    budget: US dollars that the run may cost.
    max_tokens: the longest answer, with its reasoning. By default 200, or 4,000 for models known to reason.
    params: parameters of the model, such as ``{"temperature": 0}``.
    deadline: when the run stops: seconds, ``"4h"``, ``"06:00"``, a timedelta or a datetime.
    errors: ``keep`` has the cause of a failed row in `_error`; ``raise`` stops at the first one.
    output: a path or URL, to which the result is written too. With a path as `table`, it is returned.
    fresh: use no answer of another run. The same call continues a fresh run that was interrupted.
    retry_failed: ask all failed rows again, not only those that may succeed.
    replace: an answer replaces a column of the table with its name; otherwise that is an error.
    overwrite: `output` replaces any file; otherwise only an earlier result for a table with these columns.
    config: a configuration whose sections `llm`, `limits`, `store`, `cluster` and `telemetry` are used.
    base_url: the URL of a server that speaks chat completions, or the dialect of the preset.
    api_key: its key; by default the environment variable HEADRACE_API_KEY or OPENAI_API_KEY.
    progress: whether to show progress; None: in a notebook and on a terminal.

    Raises the errors of the command line, see `headrace.errors`. With a path as `table` and no `output`, the
    result is a pyarrow Table.
    """
    options = MapOptions(
        model=model,
        system=system,
        attach=tuple(attach),
        embed=embed,
        key=key,
        delimiter=delimiter,
        encoding=encoding,
        limit=limit,
        sample=sample,
        budget=budget,
        max_tokens=max_tokens,
        params=params,
        deadline=deadline,
        errors=errors,
        output=output,
        fresh=fresh,
        retry_failed=retry_failed,
        replace=replace,
        overwrite=overwrite,
        config=config,
        base_url=base_url,
        api_key=api_key,
    )
    with display_for(progress, UNIT) as display:
        return run_here(MapCall(table, prompt, columns, options), display)


@overload
async def amap(
    table: PathLike, prompt: str | None = None, columns: object = None, **options: Unpack[MapOptions]
) -> Any: ...
@overload
async def amap(
    table: FrameT, prompt: str | None = None, columns: object = None, **options: Unpack[MapOptions]
) -> FrameT: ...
@overload
async def amap(
    table: Iterable[Mapping[str, Any]],
    prompt: str | None = None,
    columns: object = None,
    **options: Unpack[MapOptions],
) -> list[dict[str, Any]]: ...
async def amap(
    table: Any, prompt: str | None = None, columns: object = None, **options: Unpack[MapOptions]
) -> Any:
    """Do the same as `map` without blocking the event loop. A cancellation keeps the answers so far."""
    with display_for(options.get("progress"), UNIT) as display:
        return await run_beside(MapCall(table, prompt, columns, options), display)

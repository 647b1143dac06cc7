"""A job of `map`: what is asked about which rows, whether it can run, and what identifies it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from cluster.assembly.actor_settings import route_of
from cluster.checks.placeholders import check_placeholders
from cluster.config.model import HeadraceConfig
from cluster.input.digest import digest_of
from cluster.input.rows import RowInput
from cluster.records.run_journal import RunOrigin
from cluster.report.item_columns import refuse_name_clash
from cluster.report.tables.earlier_result import refuse_foreign
from cluster.report.tables.parquet_input import ParquetInput, refuse_unwritable, unread_of
from cluster.report.tables.targets import is_same_file, refuse_unusable, shown, target_format

if TYPE_CHECKING:
    from cluster.report.tables.parquet_input import ArrowInput

_REPLACING = "give --replace to replace it, --prefix TEXT to name new columns apart, or choose another name"
# Keys of an endpoint that do not change what is asked, as in the content of calls. The route in headers
# and query counts: see `route_of`.
_INCIDENTAL = frozenset(
    {
        *("name", "api_key", "credentials", "headers", "query", "proxy", "price", "max_answer_bytes"),
        *("preset", "refuses", "max_tokens_as", "system_as", "seed_as"),
        *("max_in_flight", "start_in_flight", "requests_per_minute", "tokens_per_minute"),
    }
)
_WORDS = {"evaluate.prompt": "the prompt", "evaluate.input": "--embed"}


@dataclass(frozen=True, slots=True)
class MapJob:
    """A question about every row, and where its answers go.

    `config` is in map form. `table` is the path or the URL of the rows, None for rows in memory. `target` is
    the path or the URL of the result; None writes no file. `extras` are columns besides the answers: cost,
    latency, raw. `replaces`: an answer replaces a column of the input with its name. `overwrites`: the result
    replaces any file at its target, not only an earlier result. `retry_failed` asks all failed rows again.
    `fresh` uses no answer of another run. `stops_at_failure` ends the run at the first failed row. `command`
    is the command line that continues the run, without secrets. `arrow_input` gives a Parquet table the types
    of the input.
    """

    config: HeadraceConfig
    rows: RowInput
    table: str | None = None
    target: str | None = None
    extras: tuple[str, ...] = ()
    replaces: bool = False
    overwrites: bool = False
    retry_failed: bool = False
    fresh: bool = False
    stops_at_failure: bool = False
    command: tuple[str, ...] = ()
    arrow_input: ArrowInput | None = None


def parquet_input(rows: RowInput) -> ArrowInput | None:
    """Return the rows as Arrow if they are in a Parquet file: then their columns keep their types."""
    return None if rows.parquet is None else ParquetInput(rows.parquet, rows.chosen)


def check_job(job: MapJob) -> None:
    """Raise `ConfigError` for a wrong placeholder, name or target, before anything is paid for."""
    if not job.replaces:
        refuse_name_clash(job.config, job.rows.columns, remedy=_REPLACING)
    if job.target is not None:
        target_format(job.target)
        refuse_unusable(job.target)
        if job.table is not None and is_same_file(job.target, job.table):
            raise ConfigError(
                f"{shown(job.target)}: the result would replace the table itself: name another file"
            )
        refuse_unwritable(job.arrow_input, [(shown(job.target), target_format(job.target))])
        if not job.overwrites:
            refuse_foreign(job.target, job.rows.columns)
    unread = unread_of(job.arrow_input)
    columns = [name for name in job.rows.columns if name not in unread]
    # The columns of JSON lines and lists are only known from their rows.
    if job.rows.count or columns:
        check_placeholders(job.config, columns, max(job.rows.count, 1), _WORDS)


def asked_of(config: HeadraceConfig) -> str:
    """Return the digest of what is asked, and of whom: steps, and the endpoints' models and addresses.

    Rows may name files by paths that are relative to a directory.
    """
    stored = config.stored()
    llm = stored["llm"]
    endpoints = [
        {name: value for name, value in written.items() if name not in _INCIDENTAL}
        | ({"route": route} if (route := route_of(config, endpoint)) else {})
        for written, endpoint in zip(llm["endpoints"], config.llm.endpoints, strict=True)
    ]
    simulator = (llm["simulator"] or {}).get("seed")
    attaches = any(step.attach for step in config.asked_steps)
    files = [os.path.realpath(config.llm.attachments.directory)] if attaches else []
    return digest_of([stored["evaluate"], endpoints, simulator, *files]).hex()


def map_origin(job: MapJob, config: HeadraceConfig) -> RunOrigin:
    """Return the origin of the run of a job, which runs under `config`."""
    rows: Mapping[str, Json] = {"tasks": job.rows.count, "digest": job.rows.digest}
    # A job whose budget or speed was changed continues the same run.
    origin = RunOrigin.of(config, accept_config=True)
    return replace(origin, input=rows, command=job.command, asked=asked_of(job.config))

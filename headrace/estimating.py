"""Estimates from Python what a job will cost and take, as the command ``estimate`` does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from actors.core.errors import ConfigError
from headrace.batch import RunCall
from headrace.map_call import UNIT, MapCall, MapOptions, PathLike, check_ended
from headrace.progress.background import ThreadHost, run_here
from headrace.progress.display import display_for
from headrace.wording import python_words

if TYPE_CHECKING:
    from cluster.estimate.figures import Estimate
    from cluster.run.sampling import EstimatedJob

_CONFIGURATIONS = (".yaml", ".yml")


def estimate(
    table: Any,
    prompt: str | None = None,
    columns: object = None,
    *,
    sample: int = 0,
    seed: int = 0,
    model: str | None = None,
    system: str | None = None,
    attach: Sequence[str] = (),
    embed: str | None = None,
    key: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    limit: int | None = None,
    max_tokens: int | None = None,
    params: Mapping[str, Any] | None = None,
    config: PathLike | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    run_id: str | None = None,
    progress: bool | None = None,
) -> Estimate:
    """Return what a job will cost and take. Asks nothing without `sample`.

    The arguments are those of `map`, or only the path of a configuration, as of `run`. `str` of the result is
    the screen of the command ``estimate``. Each figure has `low`, `mid`, `high` and `basis`.

    sample: asks as many random rows now, for dollars and hours with intervals. Their answers are kept: `map`
        with the same arguments continues, and pays only for the other rows.
    seed: chooses the rows of the sample.
    run_id: with a configuration, the run whose beginning the sample is.
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
        max_tokens=max_tokens,
        params=params,
        config=config,
        base_url=base_url,
        api_key=api_key,
    )

    def work(host: ThreadHost) -> Estimate:
        with contextlib.ExitStack() as stack:
            if isinstance(table, str | os.PathLike) and os.fspath(table).endswith(_CONFIGURATIONS):
                of_file = (key, delimiter, encoding, config)
                of_model = (model, system, attach or None, embed, max_tokens, params)
                if any(each is not None for each in (prompt, columns, *of_file, *of_model)):
                    raise ConfigError(f"{table} is a configuration, which names the prompt and the model")
                job = _configured(RunCall(config=table, limit=limit, run_id=run_id), is_asked=sample > 0)
            elif embed is None and (prompt is None or columns is None):
                raise ConfigError("an estimate of a table needs a prompt and columns, or embed, as map")
            else:
                job = _mapped(MapCall(table, prompt, columns, options), stack)
            if sample:
                _ask(job, host, sample, seed)
            return _in_python_words(job.estimate())

    with display_for(progress, UNIT) as display:
        return run_here(work, display)


def _in_python_words(found: Estimate) -> Estimate:
    """Return the estimate with arguments in place of flags."""
    figures = {
        field.name: replace(figure, basis=python_words(figure.basis))
        for field in fields(found)
        if hasattr(figure := getattr(found, field.name), "basis")
    }
    return replace(found, **figures, notes=tuple(map(python_words, found.notes)))


def _mapped(call: MapCall, stack: contextlib.ExitStack) -> EstimatedJob:
    from cluster.run.map.history import history_of  # noqa: PLC0415 - `import headrace` is quick
    from cluster.run.map.job import check_job  # noqa: PLC0415 - `import headrace` is quick
    from cluster.run.map.run import estimated  # noqa: PLC0415 - `import headrace` is quick

    source = stack.enter_context(contextlib.closing(call.source()))
    config = call.config(source.name)
    # `map` says whether a column may be replaced; the cost is the same.
    job = replace(call.job(config, source.rows(config.limits.max_task_bytes)), replaces=True)
    check_job(job)
    return estimated(job, history_of(job))


def _configured(call: RunCall, *, is_asked: bool) -> EstimatedJob:
    from cluster.run.sampling import EstimatedJob  # noqa: PLC0415 - see above

    if is_asked and call.run_id is None:
        raise ConfigError("the sample is the beginning of a run: give its run_id, and then `run` the same")
    batch = call.request()
    return EstimatedJob(batch.config, batch.tasks, call.run_id or "", batch.origin)


def _ask(job: EstimatedJob, host: ThreadHost, size: int, seed: int) -> None:
    """Ask the sample. Raises `HeadraceError`."""
    from cluster.commands.batch import engine_of  # noqa: PLC0415 - see above

    summary = job.ask_sample(engine_of(job.config, (), None, "auto"), host, size=size, seed=seed)
    if summary is not None:
        check_ended(summary, may_fail=True)

"""Submits a run as a job of a Ray cluster, for ``submit``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
from rich.console import Console

from actors.core.errors import Blame, ConfigError, HeadraceError
from actors.core.messages.values import Json
from actors.core.run_id import check_run_id
from actors.runtime.telemetry.logs import JSON_FORMAT, LOG_FORMAT_VARIABLE, writes_json
from cluster.config.file import read
from cluster.config.loading import loaded
from cluster.config.model import HeadraceConfig
from cluster.config.secrets import references, without_literals
from cluster.config.tasks import FileTasks
from cluster.program import code_folders
from cluster.ray.job_paths import below_root
from cluster.ray.job_plan import (
    ROOT_VARIABLE,
    JobSpec,
    JobState,
    KnownJob,
    check_overrides,
    command,
    derived_run_id,
    handed_over,
)
from cluster.records.job_heartbeat import sign_of
from cluster.records.owner_watch import Sign
from cluster.records.records import opened_store
from cluster.report.console import visible
from cluster.report.exit_codes import INTERRUPTED


class NoClusterNamedError(HeadraceError):
    """No option or variable names the cluster of a job."""

    blame = Blame.CLUSTER


@dataclass(frozen=True, slots=True)
class Submission:
    """The arguments of `submit` besides the run. `hand_over` names variables that the job receives."""

    run_id: str | None
    address: str
    hand_over: tuple[str, ...] = ()
    root: str | None = None
    wait: bool = False


def submit(asked: JobSpec, how: Submission, env: MutableMapping[str, str], console: Console) -> int:
    """Submit a run, follow it if `how.wait`, and return the exit code.

    Uploads the current directory. Raises `ConfigError`, and errors with `Blame.CLUSTER` if the cluster is
    unreachable.
    """
    folder = Path.cwd().resolve()
    asked = replace(
        asked,
        config=_below(folder, asked.config),
        tasks=asked.tasks
        and (asked.tasks if Path(asked.tasks).is_absolute() else _below(folder, asked.tasks)),
    )
    check_overrides(asked.overrides)
    document = read(Path(asked.config), asked.overrides, env)
    uses = references(document.parsed.value)
    missing = sorted(name for name, use in uses.items() if use.is_required and name not in env)
    passed_on = handed_over(how.hand_over, [name for name, use in uses.items() if use.is_secret], env)
    config = None
    if missing:
        console.print(f"not checked: {', '.join(missing)} not set here; the job checks its configuration")
    else:
        config = loaded(Path(asked.config), overrides=asked.overrides, env=env)
        _check_uploaded(config, asked)
    from_cluster = sorted(uses.keys() - passed_on.keys())
    if from_cluster:
        console.print(f"read from the cluster's environment, not from this one: {', '.join(from_cluster)}")
    name = document.values.get("name", "headrace")
    run_id = check_run_id(
        how.run_id or derived_run_id(str(name), asked, _contents(asked, document.parsed.value))
    )
    address = _dashboard(how.address, env)
    if env.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
        env.setdefault("RAY_AUTH_MODE", "token")  # Ray reads this when it is imported

    # The job's own exclusions cover Ray's defaults; without this, Ray prints a line for each folder.
    env.setdefault("RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES", "")
    from cluster.ray.jobs import Jobs, exit_code  # noqa: PLC0415 - loads Ray, after the checks above

    jobs = Jobs(address)
    command_line = command(asked, run_id)
    root = how.root or str(folder)
    watch = _JobWatch(run_id, None if config is None else below_root(config, {ROOT_VARIABLE: root}), console)
    job, begun = jobs.submit(
        run_id,
        command_line,
        folder=folder,
        code=code_folders(),
        root=root,
        env={**passed_on, **({LOG_FORMAT_VARIABLE: JSON_FORMAT} if writes_json() else {})},
        is_dead=watch.is_dead,
    )
    _print_job(console, run_id, job, begun=begun)
    if not how.wait:
        if asked.json:
            _print_json(run_id, job, begun=begun)
        return 0
    show = _LogPrinter(console, wants_document=asked.json)
    try:
        ended = asyncio.run(jobs.follow(job.submission_id, show))
    except KeyboardInterrupt:
        console.print(f"no longer following; job {job.submission_id} continues", soft_wrap=True)
        return INTERRUPTED
    console.print(f"job {ended.submission_id}: {ended.state.value.lower()}")
    return exit_code(ended)


class _JobWatch:
    """Checks whether a job is alive that the cluster reports as running. Needs a `config` for the store."""

    def __init__(self, run_id: str, config: HeadraceConfig | None, console: Console) -> None:
        self._run_id = run_id
        self._config = config
        self._console = console

    def is_dead(self, job: KnownJob) -> bool:
        """Return whether the job owns the run and shows no sign of life for a lease; print the finding."""
        sign, name = self._sign(job), job.submission_id
        if sign is Sign.SILENT and self._config is not None:
            self._console.print(
                f"job {name} is dead, although the cluster reports it as running: its run has shown no "
                f"sign of life for {self._config.store.lease_s:g} s. It is stopped, and the run continues",
                soft_wrap=True,
            )
        elif sign is Sign.UNKNOWN:
            self._console.print(
                f"the store does not show whether job {name} is alive; if the cluster's head was lost, "
                f"use ray job stop {name}, then submit again",
                soft_wrap=True,
            )
        return sign is Sign.SILENT

    def _sign(self, job: KnownJob) -> Sign:
        if self._config is None:
            return Sign.UNKNOWN
        try:
            with opened_store(self._config.store.settings()) as store:
                return sign_of(store, self._run_id, job.submission_id, self._config.store.lease_s)
        except HeadraceError:  # the store is on another host, or unavailable
            return Sign.UNKNOWN


def _dashboard(address: str, env: Mapping[str, str]) -> str:
    """Return the dashboard's URL. A dashboard that happens to run on this machine is never used."""
    known = env.get("RAY_API_SERVER_ADDRESS") or env.get("RAY_ADDRESS", "") if address == "auto" else address
    if known.startswith(("http://", "https://")):
        return known
    raise NoClusterNamedError(
        f"{known or 'no address'} is not the URL of a cluster's dashboard: use --address http://HOST:8265, "
        "or set RAY_API_SERVER_ADDRESS; `make cluster` starts a cluster here"
    )


def _below(folder: Path, path: str) -> str:
    """Return `path` relative to `folder`. Raises `ConfigError` if it is not below `folder`."""
    try:
        return str(Path(path).resolve().relative_to(folder))
    except ValueError as error:
        raise ConfigError(
            f"{path} is not below {folder}, which is uploaded: submit from a directory that contains it"
        ) from error


def _check_uploaded(config: HeadraceConfig, asked: JobSpec) -> None:
    path = asked.tasks or (config.tasks.path if isinstance(config.tasks, FileTasks) else None)
    if path and Path(path).parts[0] in (".headrace", "runs", "dist", ".git", ".venv"):
        raise ConfigError(f"tasks: {path} is not uploaded with the job: move it out of {Path(path).parts[0]}")


def _contents(asked: JobSpec, document: Json) -> Sequence[bytes]:
    """Return the bytes that name the run. They exclude secrets, which could be guessed from the run's id."""
    files = [asked.config, *([asked.tasks] if asked.tasks else [])]
    contents = [Path(file).read_bytes() for file in files if Path(file).exists()]
    hidden = without_literals(document)
    return contents if hidden is None else [orjson.dumps(hidden), *contents[1:]]


# ---- output ----------------------------------------------------------------------------------------------


def _print_job(console: Console, run_id: str, job: KnownJob, *, begun: bool) -> None:
    if begun:
        console.print(f"run {run_id} is submitted as job {job.submission_id}", soft_wrap=True)
    elif job.state is JobState.SUCCEEDED:
        text = f"run {run_id} has already succeeded as job {job.submission_id}; --run-id starts another"
        console.print(text, soft_wrap=True)
    else:
        console.print(f"run {run_id} is already in progress as job {job.submission_id}", soft_wrap=True)
    if not job.state.is_over:
        console.print(
            f"follow: ray job logs --follow {job.submission_id} · stop, keeping its state: "
            f"ray job stop {job.submission_id}",
            soft_wrap=True,
        )


def _print_json(run_id: str, job: KnownJob, *, begun: bool) -> None:
    document = {"run_id": run_id, "job": job.submission_id, "state": job.state.value, "submitted": begun}
    sys.stdout.write(orjson.dumps(document).decode() + "\n")


class _LogPrinter:
    """Prints the log of a job: the run's JSON document to stdout, all other lines to stderr."""

    def __init__(self, console: Console, *, wants_document: bool) -> None:
        self._console = console
        self._wants_document = wants_document
        self._rest = ""

    def __call__(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if self._wants_document and line.startswith('{"run_id":'):
                sys.stdout.write(f"{line}\n")
            else:
                self._console.print(visible(line), soft_wrap=True)

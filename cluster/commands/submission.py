"""`driver.py submit`: from what a person asks for to one job of a cluster, and what they are told of it."""

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
from cluster.config.file import read
from cluster.config.loading import loaded
from cluster.config.model import HeadraceConfig
from cluster.config.secrets import references, without_literals
from cluster.config.tasks import FileTasks
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
from cluster.records.store_choice import store_settings
from cluster.report.console import visible
from cluster.report.exit_codes import INTERRUPTED

_CODE = Path(__file__).resolve().parents[2]


class NoClusterNamedError(HeadraceError):
    """Nobody said which cluster a job is for."""

    blame = Blame.CLUSTER


@dataclass(frozen=True, slots=True)
class Submission:
    """What was asked for beyond the run itself. `hand_over` names variables that go along with the job."""

    run_id: str | None
    address: str
    hand_over: tuple[str, ...] = ()
    root: str | None = None
    wait: bool = False


def submit(asked: JobSpec, how: Submission, env: MutableMapping[str, str], console: Console) -> int:
    """Submit a run, and with `how.wait` follow it; return the exit code.

    The current directory is uploaded. Raises ConfigError, and what says that the cluster cannot be reached.
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
    along = handed_over(how.hand_over, [name for name, use in uses.items() if use.is_secret], env)
    config = None
    if missing:
        console.print(f"not checked here: {', '.join(missing)} not set; the job checks its configuration")
    else:
        config = loaded(Path(asked.config), overrides=asked.overrides, env=env)
        _check_uploaded(config, asked)
    there = sorted(uses.keys() - along.keys())
    if there:
        console.print(f"read from the cluster's environment, not from this one: {', '.join(there)}")
    name = document.values.get("name", "headrace")
    run_id = check_run_id(
        how.run_id or derived_run_id(str(name), asked, _contents(asked, document.parsed.value))
    )
    address = _dashboard(how.address, env)
    if env.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
        env.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported: before that it asks for none

    # What Ray leaves out by itself is left out anyway; like this it does not tell people of each folder.
    env.setdefault("RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES", "")
    from cluster.ray.jobs import Jobs, exit_code  # noqa: PLC0415 - loads Ray, after mistakes were found

    jobs = Jobs(address)
    words = command(asked, run_id, driver_uploaded=(folder / "driver.py").exists())
    root = how.root or str(folder)
    watch = _JobWatch(run_id, None if config is None else below_root(config, {ROOT_VARIABLE: root}), console)
    job, begun = jobs.submit(
        run_id, words, folder=folder, code=_CODE, root=root, env=along, is_dead=watch.is_dead
    )
    _tell(console, run_id, job, begun=begun)
    if not how.wait:
        if asked.json:
            _print_json(run_id, job, begun=begun)
        return 0
    show = _Lines(console, wants_document=asked.json)
    try:
        ended = asyncio.run(jobs.follow(job.submission_id, show))
    except KeyboardInterrupt:
        console.print(f"not followed any more; job {job.submission_id} goes on", soft_wrap=True)
        return INTERRUPTED
    console.print(f"job {ended.submission_id}: {ended.state.value.lower()}")
    return exit_code(ended)


class _JobWatch:
    """Looks whether a job is alive that the cluster says runs. Without a `config` nothing can be seen."""

    def __init__(self, run_id: str, config: HeadraceConfig | None, console: Console) -> None:
        self._run_id = run_id
        self._config = config
        self._console = console

    def is_dead(self, job: KnownJob) -> bool:
        """Return whether the run is the job's and shows no sign of life for a whole lease; say so."""
        sign, name = self._sign(job), job.submission_id
        if sign is Sign.SILENT and self._config is not None:
            self._console.print(
                f"job {name} is dead, though the cluster says that it runs: its run has shown no "
                f"sign of life for {self._config.store.lease_s:g} s. It is stopped, and the run continues",
                soft_wrap=True,
            )
        elif sign is Sign.UNKNOWN:
            self._console.print(
                f"the store does not show whether job {name} is alive; if the cluster's head was lost "
                f"meanwhile: ray job stop {name}, then submit again",
                soft_wrap=True,
            )
        return sign is Sign.SILENT

    def _sign(self, job: KnownJob) -> Sign:
        if self._config is None:
            return Sign.UNKNOWN
        try:
            with opened_store(store_settings(self._config.store)) as store:
                return sign_of(store, self._run_id, job.submission_id, self._config.store.lease_s)
        except HeadraceError:  # it lies on another host, or is away
            return Sign.UNKNOWN


def _dashboard(address: str, env: Mapping[str, str]) -> str:
    """Return the dashboard's URL. One that merely happens to run on this machine is never taken."""
    known = env.get("RAY_API_SERVER_ADDRESS") or env.get("RAY_ADDRESS", "") if address == "auto" else address
    if known.startswith(("http://", "https://")):
        return known
    raise NoClusterNamedError(
        f"{known or 'no address'} is not the URL of a cluster's dashboard: give --address http://HOST:8265, "
        "or set RAY_API_SERVER_ADDRESS; `make cluster` starts a cluster here"
    )


def _below(folder: Path, path: str) -> str:
    """Return `path` as one below `folder`. Raises ConfigError for one that lies elsewhere."""
    try:
        return str(Path(path).resolve().relative_to(folder))
    except ValueError as error:
        raise ConfigError(
            f"{path} is not below {folder}, which is what the job gets: submit from a directory that holds it"
        ) from error


def _check_uploaded(config: HeadraceConfig, asked: JobSpec) -> None:
    path = asked.tasks or (config.tasks.path if isinstance(config.tasks, FileTasks) else None)
    if path and Path(path).parts[0] in (".headrace", "runs", "dist", ".git", ".venv"):
        raise ConfigError(f"tasks: {path} is not uploaded with the job: move it out of {Path(path).parts[0]}")


def _contents(asked: JobSpec, document: Json) -> Sequence[bytes]:
    """Return what names the run. A secret is no part of it: who sees the run's id could try guesses at it."""
    files = [asked.config, *([asked.tasks] if asked.tasks else [])]
    contents = [Path(file).read_bytes() for file in files if Path(file).exists()]
    hidden = without_literals(document)
    return contents if hidden is None else [orjson.dumps(hidden), *contents[1:]]


# ---- what people are told --------------------------------------------------------------------------------


def _tell(console: Console, run_id: str, job: KnownJob, *, begun: bool) -> None:
    if begun:
        console.print(f"run {run_id} is submitted as job {job.submission_id}", soft_wrap=True)
    elif job.state is JobState.SUCCEEDED:
        text = f"run {run_id} has succeeded already, as job {job.submission_id}; --run-id begins another"
        console.print(text, soft_wrap=True)
    else:
        console.print(f"run {run_id} is under way already, as job {job.submission_id}", soft_wrap=True)
    if not job.state.is_over:
        console.print(
            f"follow: ray job logs --follow {job.submission_id} · stop, keeping its state: "
            f"ray job stop {job.submission_id}",
            soft_wrap=True,
        )


def _print_json(run_id: str, job: KnownJob, *, begun: bool) -> None:
    document = {"run_id": run_id, "job": job.submission_id, "state": job.state.value, "submitted": begun}
    sys.stdout.write(orjson.dumps(document).decode() + "\n")


class _Lines:
    """Takes a job's log as it comes: the run's document goes to stdout, all else to stderr."""

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

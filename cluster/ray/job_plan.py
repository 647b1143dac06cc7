"""Decides how a run is submitted as a job: its id, its command, its environment. Pure: no Ray, no I/O.

Rule 1: the jobs of a run form one sequence: `RUN`, then `RUN~2` once that has ended, and so on; never two at
once.
Rule 2: no command, no metadata and no environment of a job holds a secret: the cluster shows them to
everybody who can list its jobs. Jobs read secrets from the environment in which the cluster was started.
"""

from __future__ import annotations

import enum
import hashlib
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from actors.core.errors import ConfigError
from cluster.program import COMMAND

RUN_OF_JOB = "headrace_run"  # the key of a job's metadata that names its run
ROOT_VARIABLE = "HEADRACE_ROOT"

# No job needs these. Ray also excludes .git, .venv and what .gitignore and .rayignore name.
EXCLUDES = (
    ".git",
    ".venv",
    "venv",
    "/.headrace",
    "/runs",
    "/dist",
    ".env*",
    "__pycache__",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
)

_AGAIN = "~"  # no run id may contain it: otherwise a job of one run could have the id of another


class JobState(enum.StrEnum):
    """The state of a job, as Ray names it."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""
        return self not in (JobState.PENDING, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job that the cluster lists. `exit_code` is that of its driver, None until the driver has ended."""

    submission_id: str
    state: JobState
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """Submit the run as a job of this id."""

    submission_id: str


@dataclass(frozen=True, slots=True)
class Attach:
    """Follow this job: the run is under way in it, or has succeeded."""

    job: KnownJob


@dataclass(frozen=True, slots=True)
class JobSpec:
    """The arguments of `submit`, which are those of `run`. Paths are relative to the uploaded directory."""

    config: str
    tasks: str | None = None
    limit: int | None = None
    overrides: tuple[str, ...] = ()
    accept_config: bool = False
    json: bool = False


def derived_run_id(name: str, asked: JobSpec, contents: Iterable[bytes]) -> str:
    """Return the id of the run: the same for the same arguments and the same `contents` of their files."""
    digest = hashlib.sha256(repr((asked.overrides, asked.limit)).encode())
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return f"{name}-{digest.hexdigest()[:10]}"


def next_job(run_id: str, known: Iterable[KnownJob], dead: Collection[str] = ()) -> Begin | Attach:
    """Return whether to follow the job that does this run or to begin the next one.

    `dead` names jobs that have ended although the cluster lists them as running.
    """
    jobs = sorted((number, job) for job in known if (number := _number(run_id, job.submission_id)))
    if not jobs:
        return Begin(run_id)
    last, job = jobs[-1]
    is_over = job.state.is_over or job.submission_id in dead
    if not is_over or job.state is JobState.SUCCEEDED:
        return Attach(job)
    return Begin(f"{run_id}{_AGAIN}{last + 1}")


def _number(run_id: str, submission_id: str) -> int:
    """Return the position of a job in the sequence of its run, from 1; 0 if it belongs to another run."""
    of_run, again, number = submission_id.partition(_AGAIN)
    if of_run != run_id or (again and not number.isdecimal()):
        return 0
    return int(number) if again else 1


def command(asked: JobSpec, run_id: str) -> str:
    """Return the shell command of the job."""
    words = ["python", "-m", COMMAND, "run", asked.config]
    words += ["--run-id", run_id]
    if asked.tasks is not None:
        words += ["--tasks", asked.tasks]
    if asked.limit is not None:
        words += ["--limit", str(asked.limit)]
    for override in asked.overrides:
        words += ["--set", override]
    words += ["--accept-config"] * asked.accept_config
    words += ["--json"] * asked.json
    return shlex.join(words)


def check_overrides(overrides: Sequence[str]) -> None:
    """Raise ConfigError if an override holds a secret: it would be part of the job's command."""
    from cluster.config.secrets import without_secrets  # noqa: PLC0415 - loads pydantic and ruamel

    _, withheld = without_secrets(overrides)
    if withheld:
        raise ConfigError(
            f"--set {withheld[0]}=… would show a secret to everybody who can list the cluster's jobs: "
            f"set it to '${{NAME}}', in single quotes, and start the cluster with NAME in its environment"
        )


def handed_over(names: Iterable[str], secret: Iterable[str], env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables `names` of `env` for the job's environment, which the cluster shows with the job.

    Raises ConfigError for a variable that is not set, or that the configuration uses as a secret.
    """
    chosen = {}
    for name in names:
        if name in secret:
            raise ConfigError(
                f"--env {name}: the configuration uses {name} as a secret, and a job's environment is shown "
                f"with the job; start the cluster with {name} in its environment instead"
            )
        if name not in env:
            raise ConfigError(f"--env {name}: {name} is not set here; set it, or leave out --env {name}")
        chosen[name] = env[name]
    return chosen

"""What a job is submitted as: its names, its command, what is uploaded. Pure: no Ray, no I/O, no environment.

Rule 1: one run is one line of jobs: `RUN`, then `RUN~2` once that has ended, and so on; never two at once.
Rule 2: a secret is in no command, no metadata and no job's environment: those are shown to everybody who may
look at the cluster's jobs. Jobs read secrets from the environment that the cluster was started with.
"""

from __future__ import annotations

import enum
import hashlib
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from actors.core.errors import ConfigError
from cluster.config.secrets import without_secrets

RUN_OF_JOB = "headrace_run"  # the key of a job's metadata that names its run
ROOT_VARIABLE = "HEADRACE_ROOT"
DRIVER_PACKAGE = "headrace"  # the driver, where it is uploaded beside the job's directory

# What no job needs. Ray leaves out .git, .venv and what .gitignore and .rayignore name as well.
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

_AGAIN = "~"  # not allowed in a run's id, so that no job's id is that of another run


class JobState(enum.StrEnum):
    """How a job stands, in Ray's words."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self not in (JobState.PENDING, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job that the cluster knows. `exit_code` is that of its driver, once there is one."""

    submission_id: str
    state: JobState
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """Submit the run under this id."""

    submission_id: str


@dataclass(frozen=True, slots=True)
class Attach:
    """The run is under way, or has succeeded: that is the job."""

    job: KnownJob


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What `submit` was asked to run, as `run` would be. Paths are below the directory that is uploaded."""

    config: str
    tasks: str | None = None
    limit: int | None = None
    overrides: tuple[str, ...] = ()
    accept_config: bool = False
    json: bool = False


def derived_run_id(name: str, asked: JobSpec, contents: Iterable[bytes]) -> str:
    """Return the id of the run that `asked` and the `contents` of its files name: the same, the same run."""
    digest = hashlib.sha256(repr((asked.overrides, asked.limit)).encode())
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return f"{name}-{digest.hexdigest()[:10]}"


def next_job(run_id: str, known: Iterable[KnownJob], dead: Collection[str] = ()) -> Begin | Attach:
    """Return what to do so that the run is done once: join the job that does it, or begin the next.

    `dead` names jobs that are over although the cluster says that they run.
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
    """Return the how many-th job of a run this is; 0: none of that run."""
    of_run, again, number = submission_id.partition(_AGAIN)
    if of_run != run_id or (again and not number.isdecimal()):
        return 0
    return int(number) if again else 1


def command(asked: JobSpec, run_id: str, *, driver_uploaded: bool) -> str:
    """Return the shell command of the job. `driver_uploaded`: driver.py lies in the uploaded directory."""
    words = ["python", *(("driver.py",) if driver_uploaded else ("-m", DRIVER_PACKAGE)), "run", asked.config]
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
    """Raise ConfigError where an override holds a secret: it would be part of the job's command."""
    _, withheld = without_secrets(overrides)
    if withheld:
        raise ConfigError(
            f"--set {withheld[0]}=… would show a secret to everybody who may look at the cluster's jobs: "
            f"set it to '${{NAME}}', in single quotes, and start the cluster with NAME in its environment"
        )


def handed_over(names: Iterable[str], secret: Iterable[str], env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables `names` of `env`, for the job's environment, which is shown with the job.

    Raises ConfigError for one that is not set, or that the configuration uses as a secret.
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

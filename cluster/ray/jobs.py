"""Submits runs as jobs of a Ray cluster, once each, follows them, and returns their exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from actors.core.errors import Blame, ConfigError, HeadraceError, text_of
from cluster.ray.head import STOP_WAIT_S
from cluster.ray.job_plan import (
    EXCLUDES,
    ROOT_VARIABLE,
    RUN_OF_JOB,
    Attach,
    JobState,
    KnownJob,
    next_job,
)
from cluster.records.job_heartbeat import JOB_VARIABLE
from cluster.report.exit_codes import FAILED, INTERRUPTED

_RECONNECT_S = 1.0
_LOOK_S = 0.2
_NO_AGENT = "No available agent"
_AGENT_WITHIN_S = 60.0  # Ray itself gives up after 10 s, which a busy machine exceeds

# These log every file that is not uploaded, and set their own level when they are imported.
for _module in (
    "dashboard.modules.job.sdk",
    "dashboard.modules.dashboard_sdk",
    "_private.runtime_env.packaging",
):
    logging.getLogger(f"ray.{_module}").setLevel(logging.WARNING)


class JobsUnreachableError(HeadraceError):
    """The cluster's job server does not answer, or refuses the request."""

    blame = Blame.CLUSTER


class Jobs:
    """The jobs of the cluster whose dashboard is at `address`. Methods raise `JobsUnreachableError`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: JobSubmissionClient = self._asked(JobSubmissionClient, address)

    def submit(
        self,
        run_id: str,
        command: str,
        *,
        folder: Path,
        code: Sequence[Path],
        root: str,
        env: Mapping[str, str],
        is_dead: Callable[[KnownJob], bool] = lambda _: False,
    ) -> tuple[KnownJob, bool]:
        """Submit the run unless a job already does it; return the job, and whether it is new.

        `folder` is uploaded and becomes the job's working directory; the packages `code` are uploaded unless
        `folder` contains them. Relative paths of the store and the results begin at `root` on the job's
        host. The cluster shows `env` with the job. A job that the cluster lists as running but that `is_dead`
        is stopped, and the next job continues the run.
        """
        runtime_env: dict[str, Any] = {
            "working_dir": str(folder),
            "excludes": list(EXCLUDES),
            "env_vars": {**env, ROOT_VARIABLE: root, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)},
            "py_modules": [str(each) for each in code if each.parent != folder],
        }
        dead: set[str] = set()
        step = next_job(run_id, self._known())
        if isinstance(step, Attach) and not step.job.state.is_over and is_dead(step.job):
            dead.add(step.job.submission_id)
            self._stop(step.job.submission_id)
            step = next_job(run_id, self._known(), dead)
        if isinstance(step, Attach):
            return step.job, False
        runtime_env["env_vars"][JOB_VARIABLE] = step.submission_id
        try:
            self._started(
                entrypoint=command,
                submission_id=step.submission_id,
                runtime_env=runtime_env,
                metadata={RUN_OF_JOB: run_id},
            )
        except JobsUnreachableError:
            again = next_job(run_id, self._known(), dead)
            if isinstance(again, Attach):  # another process submitted the same run at the same moment
                return again.job, False
            raise
        return KnownJob(step.submission_id, JobState.PENDING), True

    async def follow(self, submission_id: str, show: Callable[[str], None]) -> KnownJob:
        """Pass the job's log to `show` until the job ends; return the ended job.

        A broken connection is opened again, and text that was shown before is not shown again.
        """
        shown = 0
        while True:
            position = 0
            with contextlib.suppress(
                RuntimeError, aiohttp.ClientError
            ):  # the state says whether the job has ended
                async for text in self._client.tail_job_logs(submission_id):
                    new = text[max(0, shown - position) :]
                    position += len(text)
                    if new:
                        show(new)
                        shown = position
            job = self.job(submission_id)
            if job.state.is_over:
                return job
            await asyncio.sleep(_RECONNECT_S)

    def job(self, submission_id: str) -> KnownJob:
        """Return how a job stands."""
        return _known(self._asked(self._client.get_job_info, submission_id))

    def running(self) -> dict[str, str]:
        """Return the runs of the jobs that the cluster lists as running, by the ids of the jobs."""
        jobs: Sequence[JobDetails] = self._asked(self._client.list_jobs)
        return {
            str(job.submission_id): str((job.metadata or {})[RUN_OF_JOB])
            for job in jobs
            if job.status.value == JobState.RUNNING and RUN_OF_JOB in (job.metadata or {})
        }

    def _started(self, **job: Any) -> None:
        """Submit a job, and wait a bounded time for the agent that starts it: a new cluster has none yet."""
        deadline = time.monotonic() + _AGENT_WITHIN_S
        while True:
            try:
                self._asked(self._client.submit_job, **job)
            except JobsUnreachableError as error:
                if _NO_AGENT not in str(error) or time.monotonic() >= deadline:
                    raise
            else:
                return
            time.sleep(_RECONNECT_S)

    def _stop(self, submission_id: str) -> None:
        """Have Ray end a job, and wait a bounded time for it: Ray may never report the end of a dead job.

        A head that was started anew looks after the jobs of its earlier life only from its first request on.
        """
        self._asked(self._client.stop_job, submission_id)
        deadline = time.monotonic() + STOP_WAIT_S
        while not self.job(submission_id).state.is_over and time.monotonic() < deadline:
            time.sleep(_LOOK_S)

    def _known(self) -> list[KnownJob]:
        jobs: Sequence[JobDetails] = self._asked(self._client.list_jobs)
        return [_known(job) for job in jobs if job.submission_id]

    def _asked(self, ask: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return ask(*arguments, **named)
        except AuthenticationError as error:
            raise JobsUnreachableError(
                f"the cluster at {self._address} requires its token: set RAY_AUTH_MODE=token, and "
                "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
            ) from error
        except ValueError as error:
            raise ConfigError(f"the job cannot be submitted: {text_of(error)}") from error
        except (OSError, RuntimeError) as error:  # the errors of `requests` are OSErrors
            raise JobsUnreachableError(
                f"the cluster at {self._address} does not answer or refuses: {text_of(error)}"
            ) from error


def exit_code(job: KnownJob) -> int:
    """Return the exit code of a job that has ended: that of its driver, 130 if the job was stopped."""
    if job.state is JobState.SUCCEEDED:
        return 0
    if job.state is JobState.STOPPED:
        return INTERRUPTED
    return job.exit_code or FAILED


def _known(details: JobDetails) -> KnownJob:
    return KnownJob(
        str(details.submission_id), JobState(details.status.value), getattr(details, "driver_exit_code", None)
    )

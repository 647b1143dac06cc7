"""A run is submitted once, also to a cluster whose agent is not there yet."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from cluster.ray import jobs
from cluster.ray.jobs import Jobs, JobsUnreachableError

NO_AGENT = "Request failed with status code 500: No available agent to submit job, please try again later."


@pytest.fixture
def cluster(monkeypatch):
    """Return a cluster that answers submissions with the errors in `errors`, and then starts the job."""
    found = SimpleNamespace(errors=[], submitted=[], seconds=itertools.count())

    def submit_job(**job):
        if found.errors:
            raise RuntimeError(found.errors.pop(0))
        found.submitted.append(job["submission_id"])

    client = SimpleNamespace(list_jobs=list, submit_job=submit_job)
    monkeypatch.setattr(jobs, "JobSubmissionClient", lambda _: client)
    clock = SimpleNamespace(monotonic=lambda: 10.0 * next(found.seconds), sleep=lambda _: None)
    monkeypatch.setattr(jobs, "time", clock)
    return found


def submit(tmp_path):
    return Jobs("http://head:8265").submit("r1", "run", folder=tmp_path, code=(), root=str(tmp_path), env={})


def test_a_job_is_submitted_once_the_cluster_has_an_agent_for_it(cluster, tmp_path):
    cluster.errors = [NO_AGENT] * 2
    job, is_new = submit(tmp_path)
    assert is_new
    assert cluster.submitted == [job.submission_id]


def test_a_cluster_without_an_agent_for_a_minute_is_an_error(cluster, tmp_path):
    cluster.errors = [NO_AGENT] * 100
    with pytest.raises(JobsUnreachableError, match="No available agent"):
        submit(tmp_path)
    assert 90 < len(cluster.errors) < 100


def test_another_refusal_is_not_repeated(cluster, tmp_path):
    cluster.errors = ["Request failed with status code 403"] * 2
    with pytest.raises(JobsUnreachableError, match="403"):
        submit(tmp_path)
    assert len(cluster.errors) == 1

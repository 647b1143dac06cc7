from __future__ import annotations

import shlex

import pytest

from actors.core.errors import ConfigError
from actors.core.run_id import check_run_id
from cluster.ray.job_plan import (
    Attach,
    Begin,
    JobSpec,
    JobState,
    KnownJob,
    check_overrides,
    command,
    derived_run_id,
    handed_over,
    next_job,
)


def job(submission_id, state):
    return KnownJob(submission_id, state)


def test_a_run_that_nobody_has_submitted_begins_under_its_own_name():
    assert next_job("reviews", []) == Begin("reviews")
    assert next_job("reviews", [job("other", JobState.RUNNING)]) == Begin("reviews")


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING, JobState.SUCCEEDED])
def test_a_run_that_is_under_way_or_has_succeeded_is_joined_and_not_doubled(state):
    assert next_job("reviews", [job("reviews", state)]) == Attach(job("reviews", state))


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.STOPPED])
def test_a_run_that_failed_or_was_stopped_goes_on_as_its_next_job(state):
    assert next_job("reviews", [job("reviews", state)]) == Begin("reviews~2")
    several = [job(f"reviews~{number}", state) for number in (10, 9, 2)]
    assert next_job("reviews", [job("reviews", state), *several]) == Begin("reviews~11")


def test_a_job_that_is_dead_is_not_joined_whatever_the_cluster_says_of_it():
    known = [job("reviews", JobState.RUNNING)]
    assert next_job("reviews", known, dead={"reviews"}) == Begin("reviews~2")
    later = [*known, job("reviews~2", JobState.RUNNING)]
    assert next_job("reviews", later, dead={"reviews"}) == Attach(later[1])
    ended = [job("reviews", JobState.SUCCEEDED)]
    assert next_job("reviews", ended, dead={"reviews"}) == Attach(ended[0])


def test_the_last_job_of_a_run_is_the_one_that_counts():
    known = [job("reviews~2", JobState.RUNNING), job("reviews", JobState.STOPPED)]
    assert next_job("reviews", known) == Attach(known[0])


@pytest.mark.parametrize("other", ["reviews-2", "reviews~", "reviews~x", "review", "reviews2"])
def test_a_job_of_a_similar_name_is_of_another_run(other):
    assert next_job("reviews", [job(other, JobState.RUNNING)]) == Begin("reviews")


def test_the_same_files_and_settings_are_the_same_run_and_any_other_is_another():
    asked = JobSpec("a.yaml", limit=3, overrides=("x=1",))
    same = derived_run_id("w1", asked, [b"config"])
    assert same == derived_run_id(
        "w1", JobSpec("b.yaml", limit=3, overrides=("x=1",), json=True), [b"config"]
    )
    others = [
        derived_run_id("w1", JobSpec("a.yaml", limit=4, overrides=("x=1",)), [b"config"]),
        derived_run_id("w1", JobSpec("a.yaml", limit=3, overrides=("x=2",)), [b"config"]),
        derived_run_id("w1", asked, [b"other"]),
        derived_run_id("w1", asked, [b"con", b"fig"]),
    ]
    assert len({same, *others}) == 5
    assert check_run_id(same).startswith("w1-")


def test_the_command_is_what_run_would_be_given_and_a_shell_changes_nothing_of_it():
    asked = JobSpec(
        "my dir/a.yaml", "t.csv", 5, ('evaluate.prompt="$(x) {key}"',), accept_config=True, json=True
    )
    assert shlex.split(command(asked, "r1")) == [
        *("python", "-m", "headrace", "run", "my dir/a.yaml", "--run-id", "r1", "--tasks", "t.csv"),
        *("--limit", "5", "--set", 'evaluate.prompt="$(x) {key}"', "--accept-config", "--json"),
    ]
    assert command(JobSpec("a.yaml"), "r1") == "python -m headrace run a.yaml --run-id r1"


@pytest.mark.parametrize(
    "override",
    ["sources.api.headers.Authorization=Bearer sk-123456", "sources.s.options.password=sk-123456"],
)
def test_a_secret_is_known_by_its_whole_path_and_is_in_no_command(override):
    with pytest.raises(ConfigError, match=r"would show a secret.*\$\{NAME\}") as caught:
        check_overrides(["name=x", override])
    assert "sk-123456" not in str(caught.value)


def test_a_secret_is_in_no_command():
    with pytest.raises(ConfigError, match=r"llm\.endpoints\.main\.api_key=… would show a secret") as caught:
        check_overrides(["name=x", "llm.endpoints.main.api_key=sk-123456"])
    assert "sk-123456" not in str(caught.value)
    check_overrides(["llm.endpoints.main.api_key=${KEY}", "limits.active_tasks=5"])


def test_a_variable_is_handed_over_when_it_is_named_and_no_secret():
    env = {"REGION": "eu", "KEY": "sk-123456"}
    assert handed_over(["REGION"], ["KEY"], env) == {"REGION": "eu"}
    with pytest.raises(ConfigError, match="as a secret") as caught:
        handed_over(["KEY"], ["KEY"], env)
    assert "sk-123456" not in str(caught.value)
    with pytest.raises(ConfigError, match="ELSE is not set here"):
        handed_over(["ELSE"], [], env)

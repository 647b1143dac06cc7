"""The image is what its file says: of the locked versions, without root, and of files that exist."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
from importlib import resources
from pathlib import Path

from jsonschema import Draft7Validator
from ruamel.yaml import YAML

from cluster.ray.environment import CLUSTER, SERVE
from cluster.ray.head import STOP_WAIT_S

ROOT = Path(__file__).parents[3]


def stages():
    """Return the instructions of each stage of Containerfile, as pairs of name and arguments."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.MULTILINE).replace(
        "\\\n", " "
    )
    found = [[]]
    for line in text.splitlines():
        if line.strip():
            name, _, arguments = line.strip().partition(" ")
            if name == "FROM":
                found.append([])
            found[-1].append((name, arguments.strip()))
    return found


def arguments(stage, name):
    return [given for one, given in stage if one == name]


def test_the_base_is_pinned_to_the_python_of_the_locks():
    (base,) = arguments(stages()[0], "ARG")
    minor = re.fullmatch(r"BASE=python:(\d+\.\d+)\.\d+-slim-\w+", base)[1]
    (locked,) = set(re.findall(r"--python-version (\S+)", (ROOT / "Makefile").read_text()))
    assert minor == locked
    assert all(arguments(stage, "FROM")[0].split()[0] == "${BASE}" for stage in stages()[1:])


def test_every_package_comes_by_hash_and_the_final_stage_installs_none():
    build, final = stages()[1:]
    installs = [part for run in arguments(build, "RUN") for part in run.split("&&") if " install " in part]
    assert len(installs) == 4
    assert all("--require-hashes" in one or "--no-index" in one for one in installs)
    assert not re.search(r"\b(apt|apt-get|pip|curl|wget)\b", " ".join(arguments(final, "RUN")))
    assert arguments(final, "COPY") == ["--from=build /opt/headrace /opt/headrace"]


def test_the_image_runs_as_a_user_that_is_not_root_and_starts_a_program():
    final = stages()[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", arguments(final, "USER")[-1])
    assert json.loads(*arguments(final, "ENTRYPOINT")) == ["headrace"]
    assert not any("PASSWORD" in given or "SECRET" in given for _, given in final)


def test_every_source_of_a_copy_exists_and_reaches_the_build():
    rules = (ROOT / ".containerignore").read_text().splitlines()
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    sources = [one for copy in arguments(stages()[1], "COPY") for one in copy.split()[:-1]]
    assert sources
    assert [one for one in sources if not (ROOT / one).exists()] == []
    assert {one.split("/")[0] for one in sources} == kept
    secrets = (".headrace", "runs", ".git", ".venv", "tests", ".env")
    assert not any(fnmatch.fnmatch(secret, rule) for secret in secrets for rule in kept)


def test_the_image_sets_what_headrace_sets_for_the_clusters_that_it_starts():
    (env,) = arguments(stages()[-1], "ENV")
    given = dict(pair.split("=", 1) for pair in shlex.split(env))
    in_wheel = {name: re.sub(r"^cluster\.", "headrace.cluster.", value) for name, value in SERVE.items()}
    wanted = {**CLUSTER, **in_wheel, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}
    assert {name: given.get(name) for name in wanted} == wanted


def test_the_cluster_of_ray_up_is_as_rays_own_schema_says():
    schema = json.loads(resources.files("ray.autoscaler").joinpath("ray-schema.json").read_text())
    cluster = YAML(typ="safe", pure=True).load(ROOT / "configs" / "ray" / "cluster.yaml")
    assert [error.message for error in Draft7Validator(schema).iter_errors(cluster)] == []
    assert not Draft7Validator(schema).is_valid(cluster | {"head_ip": "h"})
    starts = [line for key in cluster if key.endswith("start_ray_commands") for line in cluster[key]]
    assert all("/etc/headrace/env" in line for line in starts if "ray start" in line)


def test_the_head_of_a_cluster_on_hosts_of_ones_own_starts_the_workers():
    cluster = YAML(typ="safe", pure=True).load((ROOT / "configs" / "ray" / "cluster.yaml").read_text())
    starts = [command for command in cluster["head_start_ray_commands"] if "ray start" in command]
    assert ["--autoscaling-config=~/ray_bootstrap_config.yaml" in start.split() for start in starts] == [True]

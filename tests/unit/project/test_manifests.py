"""The manifests for Kubernetes, as kustomize builds them: valid, of the locked versions, with few rights."""

from __future__ import annotations

import copy
import functools
import json
import os
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import kubernetes_validate
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from ruamel.yaml import YAML

from cluster.config.kinds.store import PostgresSection
from cluster.config.model import load
from cluster.program import VERSION
from tests.unit.project.test_documentation import text_of

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "configs" / "kuberay"
FORMS = {"cluster": "RayCluster", "job": "RayJob", "service": "RayService"}
KUBERAY = {"RayCluster": "cluster", "RayJob": "job", "RayService": "service"}
KUBERNETES = "1.37"
CORE = {"v1": "core.v1", "policy/v1": "policy.v1", "networking.k8s.io/v1": "networking.v1"}
WRITABLE = {"/tmp", "/home/ray", "/var/lib/headrace"}  # noqa: S108 - as Containerfile says
OPERATIONS = ROOT / "docs" / "operations.md"
_YAML = YAML(typ="safe", pure=True)


@pytest.fixture(scope="module")
def built():
    """Return the objects of each form, by form and kind."""
    kustomize = shutil.which("kustomize")
    if kustomize is None:
        assert "CI" not in os.environ, "`make manifests` installs kustomize"
        pytest.skip("kustomize is not installed: `make manifests`")
    made = {}
    for form in FORMS:
        words = [kustomize, "build", str(MANIFESTS / form)]
        text = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603
        made[form] = list(_YAML.load_all(text))
    return made


def of_kind(objects, kind):
    (found,) = (one for one in objects if one["kind"] == kind)
    return found


def cluster_of(form, built):
    spec = of_kind(built[form], FORMS[form])["spec"]
    return {"cluster": spec, "job": spec.get("rayClusterSpec"), "service": spec.get("rayClusterConfig")}[form]


def pods_of(form, built):
    """Return the specifications of all pods, by what they are."""
    cluster = cluster_of(form, built)
    pods = {group["groupName"]: group["template"]["spec"] for group in cluster["workerGroupSpecs"]}
    pods["head"] = cluster["headGroupSpec"]["template"]["spec"]
    if form == "job":
        pods["submitter"] = of_kind(built[form], "RayJob")["spec"]["submitterPodTemplate"]["spec"]
    return pods


@functools.cache
def schemas():
    """Return KubeRay's fields, and a registry of Kubernetes' own."""
    fields = _YAML.load(ROOT / "tests" / "data" / "kuberay" / "fields.yaml")
    folder = resources.files(kubernetes_validate) / "kubernetes-json-schema"
    core = json.loads((folder / f"v{KUBERNETES}.0-local-strict" / "_definitions.json").read_text())
    return fields, Resource.from_contents(core) @ Registry()


def problems(one):
    """Return what is wrong with an object, as Kubernetes and KubeRay would say it."""
    fields, registry = schemas()
    part = KUBERAY.get(one["kind"])
    definition = f"_definitions.json#/$defs/io.k8s.api.{CORE.get(one['apiVersion'])}.{one['kind']}"
    schema = {**fields, "$ref": f"#/$defs/{part}" if part else definition}
    check = Draft202012Validator(schema, registry=registry)
    found = check.iter_errors(one["spec"] if part else one)
    return [f"{one['kind']} {error.json_path}: {error.message}" for error in found]


@pytest.mark.parametrize("form", FORMS)
def test_kubernetes_and_kuberay_accept_every_object(built, form):
    assert [problem for one in built[form] for problem in problems(one)] == []
    assert all(one["apiVersion"] == "ray.io/v1" for one in built[form] if one["kind"] in KUBERAY)


def test_a_misspelt_field_is_found_at_every_level(built):
    cluster = of_kind(built["cluster"], "RayCluster")
    for place in ("", "headGroupSpec", "headGroupSpec.template.spec", "autoscalerOptions.securityContext"):
        wrong = copy.deepcopy(cluster)
        inner = wrong["spec"]
        for key in place.split(".") if place else ():
            inner = inner[key]
        inner["rayVersoin"] = "2"
        (problem,) = problems(wrong)
        assert "rayVersoin" in problem


@pytest.mark.parametrize("form", FORMS)
def test_versions_are_those_of_the_locks_and_of_the_program(built, form):
    locked = re.search(r"^ray==(\S+)", (ROOT / "requirements" / "run.txt").read_text(), re.MULTILINE)[1]
    assert cluster_of(form, built)["rayVersion"] == locked
    images = {one["image"] for pod in pods_of(form, built).values() for one in pod["containers"]}
    assert images == {f"registry.example/headrace:{VERSION}"}


@pytest.mark.parametrize("form", FORMS)
def test_no_container_has_more_rights_than_it_needs(built, form):
    cluster = cluster_of(form, built)
    wanted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert cluster["autoscalerOptions"]["securityContext"] == wanted
    for name, pod in pods_of(form, built).items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["securityContext"] == wanted, name
            assert container["resources"].keys() == {"requests", "limits"}, name
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            assert set(mounts.values()) <= volumes, name
            assert WRITABLE - mounts.keys() == ({"/var/lib/headrace"} if name == "submitter" else set()), name
            assert not any("serviceaccount" in path for path in mounts), name
            for one in container.get("env", ()):
                if re.search("TOKEN|KEY|PASSWORD|STORE", one["name"]):
                    assert one["valueFrom"].keys() == {"secretKeyRef"}, one
    assert cluster["authOptions"]["mode"] == "token"
    accounts = [one for one in built[form] if one["kind"] == "ServiceAccount"]
    assert not any(account["automountServiceAccountToken"] for account in accounts)


@pytest.mark.parametrize("form", FORMS)
def test_a_node_that_ends_has_the_time_to_drain_and_each_has_probes(built, form):
    for name, pod in pods_of(form, built).items():
        if name == "submitter":
            continue
        (container,) = pod["containers"]
        env = {one["name"]: one.get("value") for one in container["env"]}
        leave = container["lifecycle"]["preStop"]["exec"]["command"]
        drains = int(leave[-1]) + int(env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert leave[1:4] == ["-P", "-m", "headrace.cluster.ray.leave"]
        assert (ROOT / "cluster" / "ray" / "leave.py").exists()
        assert pod["terminationGracePeriodSeconds"] >= drains + 20
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
        for setting, value in re.findall(r"^\| `(RAY_\w+)` \| (\d+) \|", text_of(OPERATIONS), re.MULTILINE):
            assert env[setting] == value, setting


@pytest.mark.parametrize("form", ["job", "service"])
def test_the_configuration_is_valid_and_every_secret_that_it_names_is_given(built, form, tmp_path):
    ((name, text),) = of_kind(built[form], "ConfigMap")["data"].items()
    path = tmp_path / name
    path.write_text(text)
    for pod in (pods_of(form, built)[one] for one in ("head", "workers")):
        (container,) = pod["containers"]
        given = {one["name"]: "postgresql://store/headrace" for one in container["env"]}
        config = load(path, env=given)
        assert isinstance(config.store, PostgresSection)
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        spec = of_kind(built[form], FORMS[form])["spec"]
        assert f"/etc/headrace/{name}" in spec.get("entrypoint", "") + spec.get("serveConfigV2", "")
        assert "/etc/headrace" in mounted
        assert ("HEADRACE_API_TOKEN" in given) == (form == "service")


def test_the_service_is_served_as_on_other_clusters(built):
    ours = _YAML.load(of_kind(built["service"], "RayService")["spec"]["serveConfigV2"])
    plain = _YAML.load(ROOT / "configs" / "serve.yaml")
    assert ours.keys() == plain.keys()
    assert ours["http_options"] == plain["http_options"] | {"host": "0.0.0.0"}  # noqa: S104 - with a token
    (app,), (plain_app,) = ours["applications"], plain["applications"]
    assert app["deployments"][0]["ray_actor_options"]["num_cpus"] > 0  # so no replica is on the head
    assert cluster_of("service", built)["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert app["args"].keys() == plain_app["args"].keys() >= {"revision"}
    assert app["import_path"] == f"headrace.{plain_app['import_path']}"  # as in the wheel


@pytest.mark.parametrize("form", FORMS)
def test_policies_and_budgets_are_about_pods_that_exist(built, form):
    policy = of_kind(built[form], "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    ports_of_code = [rule for rule in policy["ingress"] if {"port": 8265} in rule.get("ports", ())]
    peers = [peer for rule in ports_of_code for peer in rule["from"]]
    assert peers, "the operator asks the dashboard"
    assert all(peer["namespaceSelector"].get("matchLabels") for peer in peers)  # a label alone is anyone's
    budget = of_kind(built[form], "PodDisruptionBudget")["spec"]
    cluster = cluster_of(form, built)
    templates = [cluster["headGroupSpec"]["template"]]
    templates += [group["template"] for group in cluster["workerGroupSpecs"]]
    for template in templates:
        assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (group,) = cluster["workerGroupSpecs"]
    assert budget["minAvailable"] < group["minReplicas"]
    theirs = {key: value for key, value in budget["selector"]["matchLabels"].items() if "ray.io" not in key}
    assert theirs.items() <= group["template"]["metadata"]["labels"].items()

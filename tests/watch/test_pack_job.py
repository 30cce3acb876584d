"""The objects of a build in a cluster: what pods get, may and know."""

import base64
import io
import json
import zipfile
from dataclasses import replace
from typing import Any

import pytest

from modelimage import bundle
from oci_model_serving.reference import RegistryReference
from watch.kube import JSON
from watch.pack_job import LABEL, PackJob, PodPlace

DESTINATION = RegistryReference("registry.example", "models/Qwen".lower())
ARGUMENTS: JSON = {"source": "hf://a/b@" + "c" * 40, "destination": "registry.example/models/qwen", "base": "scratch"}
SECRETS = {"HF_TOKEN": "hf_not-a-real-one"}
PLACE = PodPlace(
    namespace="builds",
    pods=3,
    shares=8,
    image="mirror.example/python@sha256:" + "a" * 64,
    service_account="packer",
    registry_secret="registry",
    node_selector={"cloud.google.com/gke-spot": "true"},
    tolerations=("cloud.google.com/gke-spot=true:NoSchedule", "dedicated"),
    cpu="500m",
    memory="512Mi",
    timeout_seconds=600,
    env={"PIP_INDEX_URL": "https://mirror.example/simple"},
)


def made(place: PodPlace = PLACE, arguments: JSON = ARGUMENTS, secrets: dict[str, str] = SECRETS) -> PackJob:
    return PackJob(DESTINATION, arguments, place, secrets)


def pod_of(job: PackJob) -> JSON:
    return dict(job.job["spec"]["template"]["spec"])


def env_of(job: PackJob) -> dict[str, Any]:
    (container,) = pod_of(job)["containers"]
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def test_kubernetes_distributes_and_repeats() -> None:
    spec = made().job["spec"]

    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 8, 3)
    assert (spec["backoffLimitPerIndex"], spec["activeDeadlineSeconds"]) == (2, 600)
    assert spec["suspend"] is True
    assert spec["ttlSecondsAfterFinished"] == 3600
    actions = {rule["action"]: rule for rule in spec["podFailurePolicy"]["rules"]}
    assert actions["FailJob"]["onExitCodes"]["values"] == [2]
    assert actions["Ignore"]["onPodConditions"] == [{"type": "DisruptionTarget"}]


def test_there_are_as_many_shares_as_pods_unless_told_and_no_more_pods_than_shares() -> None:
    assert made(replace(PLACE, shares=None)).job["spec"]["completions"] == 3
    assert made(replace(PLACE, shares=2)).job["spec"]["parallelism"] == 2


def test_a_pod_has_no_rights() -> None:
    pod = pod_of(made())
    (container,) = pod["containers"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_every_word_about_the_place_reaches_the_pods() -> None:
    pod = pod_of(made())
    (container,) = pod["containers"]

    assert made().job["metadata"]["namespace"] == "builds"
    assert pod["serviceAccountName"] == "packer"
    assert pod["nodeSelector"] == {"cloud.google.com/gke-spot": "true"}
    assert pod["tolerations"] == [
        {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
        {"key": "dedicated", "operator": "Exists"},
    ]
    assert container["image"] == PLACE.image
    assert container["resources"] == {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}}
    assert env_of(made())["PIP_INDEX_URL"] == "https://mirror.example/simple"


def test_a_place_without_any_of_it_names_none() -> None:
    pod = pod_of(made(PodPlace(), secrets={}))
    assert not {"serviceAccountName", "nodeSelector", "tolerations"} & pod.keys()
    assert [volume["name"] for volume in pod["volumes"]] == ["code", "tmp"]
    assert "DOCKER_CONFIG" not in env_of(made(PodPlace(), secrets={}))


def test_a_secret_is_in_the_secret_alone() -> None:
    job = made()
    code, secret = job.needs({"metadata": {"uid": "1"}})

    assert secret["stringData"] == SECRETS
    assert env_of(job)["HF_TOKEN"] == {"secretKeyRef": {"name": job.name, "key": "HF_TOKEN"}}
    for shown in (json.dumps(job.job), json.dumps(code), repr(job), job.name):
        assert SECRETS["HF_TOKEN"] not in shown
    assert made(secrets={}).name == job.name


def test_secrets_that_are_there_are_named() -> None:
    job = made(replace(PLACE, hub_token_secret="hub"), secrets={})

    assert env_of(job)["HF_TOKEN"] == {"secretKeyRef": {"name": "hub", "key": "HF_TOKEN"}}
    (logins,) = (volume["secret"] for volume in pod_of(job)["volumes"] if volume["name"] == "logins")
    assert logins["secretName"] == "registry"
    assert logins["items"] == [{"key": ".dockerconfigjson", "path": "config.json"}]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod_of(job)["containers"][0]["volumeMounts"]}
    assert env_of(job)["DOCKER_CONFIG"] == mounts["logins"]
    assert [need["kind"] for need in job.needs({"metadata": {"uid": "1"}})] == ["ConfigMap"]


def test_what_pods_need_goes_with_the_job_and_not_before() -> None:
    for need in made().needs({"metadata": {"uid": "the uid"}}):
        (owner,) = need["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["blockOwnerDeletion"]) == ("Job", "the uid", True)
        assert need["metadata"]["labels"][LABEL] == made().name


def test_the_pods_import_the_packers_own_code() -> None:
    job = made()
    code, _ = job.needs({"metadata": {"uid": "1"}})
    ((name, content),) = code["binaryData"].items()
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(content))) as archive:
        assert "modelimage/shares.py" in archive.namelist()
    assert env_of(job)["PYTHONPATH"].endswith(f"/{name}")
    # etcd takes 1 MiB for an object.
    assert len(content) < 700_000


def test_the_job_is_told_as_it_is_whatever_dollars_are_in_it() -> None:
    arguments = {**ARGUMENTS, "allow": ["$(HOME)/*", "$$"]}
    (container,) = pod_of(made(arguments=arguments))["containers"]
    said, *requirements = (word.replace("$$", "$") for word in container["args"])

    assert json.loads(said) == {**arguments, "shares": 8, "output": "/dev/termination-log"}
    assert requirements == bundle.requirements()
    assert container["terminationMessagePath"] == "/dev/termination-log"


@pytest.mark.parametrize(
    "other",
    [
        made(replace(PLACE, shares=9)),
        made(arguments={**ARGUMENTS, "ignore": ["x"]}),
        PackJob(RegistryReference("registry.example", "models/other"), ARGUMENTS, PLACE),
    ],
    ids=["place", "files", "destination"],
)
def test_another_build_has_another_name_and_the_same_the_same(other: PackJob) -> None:
    assert made().name == made().name
    assert other.name != made().name


def test_a_name_is_one_of_kubernetes_whatever_the_repository_is_called() -> None:
    long = RegistryReference("registry.example", "models/" + "very.long__name-" * 20 + "x")
    name = PackJob(long, ARGUMENTS, PLACE).name
    # A pod's name adds the index and five letters to it, and a label takes 63.
    assert len(name) <= 57
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")

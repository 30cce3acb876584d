"""Recorded statuses and events become the cause and the remedy that a person needs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings.registry import RegistryCreate
from watch.causes import Cause
from watch.complaints import Case
from watch.diagnosis import containerd_version, diagnose, empty_mount, without_guesses

STATUSES = sorted((Path(__file__).parent / "statuses").glob("*.json"))
ACCOUNT = "oci-l4@demo.iam.gserviceaccount.com"


def case(file: Path | str, **known: Any) -> Case:
    path = file if isinstance(file, Path) else Path(__file__).parent / "statuses" / f"{file}.json"
    recorded = json.loads(path.read_text())
    return Case(recorded["pod"], recorded["events"], recorded["nodes"], **known)


@pytest.mark.parametrize("file", STATUSES, ids=lambda file: file.stem)
def test_a_recorded_status_has_exactly_its_cause(file: Path) -> None:
    recorded, causes = json.loads(file.read_text()), diagnose(case(file))

    assert [cause.code for cause in causes] == recorded["expect"]
    assert all(cause.evidence and cause.remedy for cause in causes)
    told = "\n".join(cause.remedy for cause in causes)
    assert [word for word in recorded.get("words", ()) if word not in told] == []
    assert "{" not in re.sub(r"\{(?:key:|\.|\")", "", told)
    assert recorded.get("source", recorded.get("seen"))


@pytest.mark.parametrize(
    ("file", "there", "told"),
    [
        ("modelcar-oom", "15Mi", "64Mi"),
        ("modelcar-oom", "64Mi", "128Mi"),
        ("modelcar-oom", "0.5Gi", "1024Mi"),
        ("shm-of-nccl", "2Gi", "16Gi"),
        ("shm-of-nccl", "16Gi", "32Gi"),
    ],
)
def test_what_ran_out_is_advised_to_be_more_than_it_is(file: str, there: str, told: str) -> None:
    recorded = case(file)
    spec = recorded.pod["spec"]
    spec["volumes"] = [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": there}}]
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        container["resources"] = {"limits": {"memory": there}}

    (cause,) = diagnose(recorded)

    assert f": {told}`" in cause.remedy


def test_a_refused_pull_from_artifact_registry_names_the_binding_and_the_account() -> None:
    (cause,) = diagnose(case("forbidden-artifact-registry", account=ACCOUNT))

    assert "roles/artifactregistry.reader" in cause.remedy
    assert "us-central1-docker.pkg.dev/demo/models/qwen2.5-0.5b-instruct" in cause.remedy
    assert f"serviceAccount:{ACCOUNT}" in cause.remedy


def refused(repository: str) -> str:
    message = f'Failed to pull image "{repository}@sha256:{"a" * 64}": unexpected status: 403 Forbidden'
    (cause,) = diagnose(Case({}, [{"type": "Warning", "reason": "Failed", "message": message}], account=ACCOUNT))
    return cause.remedy


@pytest.mark.parametrize(
    "repository", ["us-docker.pkg.dev/example.com/proj/repo/img", "gcr.io/demo/img", "eu.gcr.io/example.com/proj/img"]
)
def test_every_form_of_googles_names_gets_the_binding_by_a_setting_that_exists(repository: str) -> None:
    remedy = refused(repository)

    assert f"roles/artifactregistry.reader on {repository} to serviceAccount:{ACCOUNT}" in remedy
    assert "`registry.create.extraReaders`" in remedy
    assert "extraReaders" in {field.alias for field in RegistryCreate.model_fields.values()}


@pytest.mark.parametrize(
    "repository",
    ["evil-docker.pkg.dev.example.com/demo/models/x", "x-docker-pkg.dev/demo/models/x", "localhost:5000/x"],
)
def test_a_registry_that_only_looks_like_googles_gets_a_pull_secret(repository: str) -> None:
    remedy = refused(repository)

    assert f"has for {repository} may not pull it" in remedy
    assert "`pullSecrets`" in remedy


def test_a_refused_pull_from_another_registry_names_its_pull_secret_and_no_role() -> None:
    (cause,) = diagnose(case("forbidden-manifest"))

    assert "pullSecrets" in cause.remedy
    assert "roles/" not in cause.remedy


@pytest.mark.parametrize(
    "message",
    [
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ",
        'Container kserve-container exceeded its local ephemeral storage limit "1Mi". ',
        'Usage of EmptyDir volume "cache" exceeds the limit "16Mi". ',
    ],
)
def test_an_eviction_for_a_limit_of_the_pods_own_is_no_matter_of_the_nodes_disk(message: str) -> None:
    (cause,) = diagnose(Case({"status": {"phase": "Failed", "reason": "Evicted", "message": message}}))

    assert cause.code == "ephemeral-limit"


def test_a_full_disk_names_the_size_that_the_image_needs() -> None:
    (cause,) = diagnose(case("disk-pressure", image_bytes=140_000_000_000, pool="h100"))

    # (2 x 140 GB + 40 GB for the system) / 85 %
    assert "`nodePools.h100.bootDisk.sizeGb: 377` or more" in cause.remedy


def test_a_full_disk_that_holds_the_image_asks_for_more_than_it_has() -> None:
    (cause,) = diagnose(case("disk-pressure", image_bytes=1_000_000_000))

    assert "`nodePools.NAME.bootDisk.sizeGb` above the 210 GB" in cause.remedy


def evicted(threshold: str, labels: dict[str, str] | None = None) -> str:
    message = f"The node was low on resource: ephemeral-storage. Threshold quantity: {threshold}, available: 1Gi. "
    pod = {"spec": {"nodeName": "n"}, "status": {"phase": "Failed", "reason": "Evicted", "message": message}}
    nodes = [] if labels is None else [{"metadata": {"name": "n", "labels": labels}}]
    (cause,) = diagnose(Case(pod, nodes=nodes, image_bytes=140_000_000_000, pool="h100"))
    return cause.remedy


@pytest.mark.parametrize(
    "labels",
    [
        {"cloud.google.com/gke-ephemeral-storage-local-ssd": "true"},
        {"node.kubernetes.io/instance-type": "a3-highgpu-8g"},
    ],
)
def test_a_node_whose_images_are_on_local_ssd_is_told_no_size_of_a_boot_disk(labels: dict[str, str]) -> None:
    assert "nodePools.h100.localSsd" in evicted("638G", labels)
    assert "bootDisk" not in evicted("638G", labels)
    assert "localSsd" not in evicted("20G", {"node.kubernetes.io/instance-type": "g2-standard-8"})


def test_a_disk_of_an_unknown_node_is_known_for_local_ssd_by_its_size() -> None:
    small, large = evicted("20G"), evicted("638834513199")

    assert "set `nodePools.h100.bootDisk.sizeGb: 377` or more, or where its images are on Local SSD" in small
    assert "set `nodePools.h100.localSsd` to a number that holds it where its images are on Local SSD" in large
    assert "a disk of about 6388 GB suggests: the boot disk's size changes nothing there" in large


def test_a_pool_at_its_maximum_names_the_setting_to_raise() -> None:
    (cause,) = diagnose(case("pool-at-maximum", pool="l4"))

    assert "nodePools.l4.maxNodes" in cause.remedy


def test_an_empty_mount_names_the_runtime_of_the_node() -> None:
    node = {"metadata": {"name": "n"}, "status": {"nodeInfo": {"containerRuntimeVersion": "containerd://1.7.24"}}}

    cause = empty_mount("/model", node)

    assert "containerd://1.7.24" in cause.evidence
    assert "2.1" in cause.remedy


@pytest.mark.parametrize(
    ("runtime", "version"),
    [("containerd://2.2.3+unknown", (2, 2)), ("containerd://v1.7.24", (1, 7)), ("cri-o://1.33.0", None), ("", None)],
)
def test_a_nodes_containerd_is_read_and_other_runtimes_are_left_alone(
    runtime: str, version: tuple[int, int] | None
) -> None:
    assert containerd_version({"status": {"nodeInfo": {"containerRuntimeVersion": runtime}}}) == version


text = st.text(max_size=200)


@given(reason=text, message=text, event=text)
def test_no_text_of_a_status_breaks_the_diagnosis(reason: str, message: str, event: str) -> None:
    pod = {
        "metadata": {"name": "p"},
        "status": {
            "reason": reason,
            "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": reason, "message": message}}}],
        },
    }

    causes = diagnose(Case(pod, [{"type": "Warning", "reason": reason, "message": event}]))

    assert all(cause.remedy for cause in causes)


TAINTED = {
    "spec": {"nodeSelector": {"pool": "l4"}, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]},
    "status": {
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                # Kubernetes 1.35 names no key.
                "message": "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
                "1 node(s) had untolerated taint(s).",
            }
        ]
    },
}
GPU = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def tainted(*taints: dict[str, str]) -> str:
    own = {"metadata": {"name": "own", "labels": {"pool": "l4"}}, "spec": {"taints": [GPU, *taints]}}
    other = {
        "metadata": {"name": "other", "labels": {}},
        "spec": {"taints": [{"key": "foreign", "effect": "NoExecute"}]},
    }
    causes = diagnose(Case(TAINTED, nodes=[own, other], pool="l4"))
    (remedy,) = (cause.remedy for cause in causes if cause.code == "untolerated-taint")
    return remedy


def test_a_taint_of_the_pools_own_nodes_gets_the_setting_and_the_value_to_write() -> None:
    remedy = tainted({"key": "team", "value": "a", "effect": "NoSchedule"})

    assert "{key: team, value: a, effect: NoSchedule} to nodePools.l4.taints" in remedy
    assert "nvidia.com/gpu" not in remedy
    assert "foreign" not in remedy


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("node.kubernetes.io/unschedulable", "`kubectl uncordon NODE`"),
        ("node.kubernetes.io/not-ready", "out of use (node.kubernetes.io/not-ready)"),
        ("node.cloudprovider.kubernetes.io/uninitialized", "out of use"),
    ],
)
def test_a_taint_that_says_how_a_node_is_gets_no_toleration(key: str, said: str) -> None:
    remedy = tainted({"key": key, "effect": "NoSchedule"})

    assert said in remedy
    assert ".taints" not in remedy


def test_a_taint_that_only_advises_keeps_no_pod_away() -> None:
    assert "compare `kubectl describe nodes`" in tainted({"key": "cheap", "effect": "PreferNoSchedule"})


def test_the_gpu_taint_is_told_where_it_is_the_one() -> None:
    node = {"metadata": {"name": "n", "labels": {}}, "spec": {"taints": [GPU]}}
    (cause,) = diagnose(Case({**TAINTED, "spec": {}}, nodes=[node]))[:1]

    assert cause.code == "untolerated-taint"
    assert "`models.NAME.nodePool`" in cause.remedy


def test_what_is_not_known_of_one_pod_is_left_out_where_it_is_known_of_another() -> None:
    known, crash, unknown = (Cause(code, "seen", "do") for code in ("quota", "crash-server", "unknown"))

    assert without_guesses([unknown, crash, known]) == [known]
    assert without_guesses([unknown, crash]) == [crash]
    assert without_guesses([unknown]) == [unknown]


def test_a_scaler_that_finds_no_metrics_is_no_reason_for_a_pod_not_to_start() -> None:
    scaler = {
        "type": "Warning",
        "reason": "FailedComputeMetricsReplicas",
        "message": "invalid metrics (1 invalid out of 1)",
        "involvedObject": {"kind": "HorizontalPodAutoscaler", "name": "qwen-predictor"},
    }

    assert diagnose(Case({"metadata": {"name": "p"}}, [scaler])) == []

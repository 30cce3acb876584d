"""The node-warm cache: both images, by digest, on the model's nodes before its pods."""

from typing import Any

import pytest

from tests import serving
from tests.mocks import Recording

DAEMON_SET = "kubernetes:apps/v1:DaemonSet"
SERVING = {"kubeai": "kubernetes:kubeai.org/v1:Model"}
INFERENCE_SERVICE = "kubernetes:serving.kserve.io/v1beta1:InferenceService"
DELIVERIES = ("modelcar", "native", "kubeai")


def run(delivery: str, **fields: Any) -> Recording:
    model = {"digest": serving.IMAGE, "delivery": delivery, "nodePool": "l4", "warm": "prepull", **fields}
    server = {"server": {"image": serving.IMAGE.replace("qwen", "vllm")}}
    platforms = {"kserve": server, "kubeai": {"version": "0.24.0", **server}}
    keys: dict[str, Any] = {"cluster": cluster} if (cluster := fields.pop("cluster", None)) else {}
    model = {name: value for name, value in model.items() if name != "cluster"}
    return serving.run(serving.gke({"qwen": model}, platforms=platforms, pullSecrets=serving.PULL_SECRETS, **keys))


def pod(delivery: str, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = run(delivery, **fields).only(DAEMON_SET).inputs["spec"]["template"]["spec"]
    return made


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_both_images_are_pulled_by_digest_on_the_models_nodes(delivery: str) -> None:
    made = pod(delivery)

    images = {container["image"] for container in made["containers"]}
    images |= {volume["image"]["reference"] for volume in made["volumes"]}
    assert images == {serving.IMAGE, serving.IMAGE.replace("qwen", "vllm")}
    assert made["nodeSelector"] == {"oci-model-serving/pool": "l4"}
    assert made["tolerations"][0]["key"] == "nvidia.com/gpu"


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_the_model_comes_after_its_images(delivery: str) -> None:
    recording = run(delivery)

    model = recording.only(SERVING.get(delivery, INFERENCE_SERVICE))
    assert recording.only(DAEMON_SET).urn in model.dependencies


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_an_image_is_warmed_as_the_volume_that_it_will_be(delivery: str) -> None:
    made = pod(delivery)

    assert [volume["image"]["reference"] for volume in made["volumes"]] == [serving.IMAGE]
    assert serving.IMAGE not in {container["image"] for container in made["containers"]}


@pytest.mark.parametrize(
    "cluster", [{"create": {"name": "demo", "version": "1.34"}}, {"name": "existing", "location": "us-central1"}]
)
def test_a_modelcar_runs_its_own_shell_only_where_the_cluster_may_not_mount_images(cluster: dict[str, Any]) -> None:
    made = pod("modelcar", cluster=cluster)

    assert made["volumes"] == []
    assert serving.IMAGE in {container["image"] for container in made["containers"]}


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_the_pods_reach_nothing_and_nobody_reaches_them(delivery: str) -> None:
    recording = run(delivery)
    policy = recording.only("kubernetes:networking.k8s.io/v1:NetworkPolicy", "qwen-prepull")
    made = recording.only(DAEMON_SET)

    spec = policy.inputs["spec"]
    assert (sorted(spec["policyTypes"]), spec["ingress"], spec["egress"]) == (["Egress", "Ingress"], [], [])
    selected = spec["podSelector"]["matchLabels"]
    assert selected.items() <= made.inputs["spec"]["template"]["metadata"]["labels"].items()
    assert policy.urn in made.dependencies


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_the_pods_ask_for_next_to_nothing_and_for_no_gpu_and_pass_restricted(delivery: str) -> None:
    made = pod(delivery)

    for container in made["containers"]:
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert container["resources"]["requests"]["cpu"] == "1m"
        context = container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert made["automountServiceAccountToken"] is False


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_private_registries_are_read_by_the_service_account_that_has_their_credentials(delivery: str) -> None:
    recording = run(delivery)
    made = recording.only(DAEMON_SET)
    accounts = recording.of_type("kubernetes:core/v1:ServiceAccount")

    (account,) = accounts
    assert account.inputs["metadata"]["name"] == made.inputs["spec"]["template"]["spec"]["serviceAccountName"]
    assert account.inputs["imagePullSecrets"] == [{"name": "oci-pull" if delivery == "kubeai" else "private"}]
    assert account.urn in made.dependencies


def test_pulumi_waits_for_the_pull_as_long_as_a_start_may_take() -> None:
    annotations = run("modelcar", startupTimeout=7200).only(DAEMON_SET).inputs["metadata"]["annotations"]

    assert annotations["pulumi.com/timeoutSeconds"] == "7200"


def test_the_pods_are_none_of_the_models_own() -> None:
    # The model's Service, its egress policy and its disruption budget select these labels.
    labels = run("modelcar").only(DAEMON_SET).inputs["spec"]["template"]["metadata"]["labels"]

    assert not {"serving.kserve.io/inferenceservice", "model", "app"} & set(labels)


@pytest.mark.parametrize("warm", ["none", "disk"])
def test_otherwise_there_is_no_daemon_set(warm: str) -> None:
    assert run("modelcar", warm=warm).of_type(DAEMON_SET) == []

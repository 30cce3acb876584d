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


NAMES = ("qwen-prepull", "qwen-prepull-s")
"""The DaemonSets of the weights and of the server."""


def pod(delivery: str, name: str = NAMES[0], **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = run(delivery, **fields).only(DAEMON_SET, name).inputs["spec"]["template"]["spec"]
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
    assert {recording.only(DAEMON_SET, name).urn for name in NAMES} <= set(model.dependencies)


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
def test_the_servers_image_and_the_weights_are_pulled_by_a_pod_each_for_one_pod_pulls_one_after_the_other(
    delivery: str,
) -> None:
    weights, server = (pod(delivery, name) for name in NAMES)

    assert [container["image"] for container in server["containers"]] == [serving.IMAGE.replace("qwen", "vllm")]
    assert server["volumes"] == []
    assert [volume["image"]["reference"] for volume in weights["volumes"]] == [serving.IMAGE]


@pytest.mark.parametrize("name", NAMES)
def test_the_pull_begins_on_a_node_that_is_still_being_set_up(name: str) -> None:
    tolerations = pod("native", name)["tolerations"]

    keys = {toleration["key"] for toleration in tolerations}
    assert {"nvidia.com/gpu", "node.kubernetes.io/not-ready", "node.cloudprovider.kubernetes.io/uninitialized"} <= keys
    assert all(toleration["effect"] == "NoSchedule" for toleration in tolerations)
    assert "nvidia.com/gpu" not in str(pod("native", name)["containers"])  # none is offered before the driver is there


def test_the_models_own_pod_waits_until_its_node_is_set_up() -> None:
    made = serving.one(run("native"), "InferenceService")["spec"]["predictor"]

    assert [toleration["key"] for toleration in made["tolerations"]] == ["nvidia.com/gpu"]


def test_the_names_are_labels_of_the_longest_model() -> None:
    name = "m" * 53
    settings = serving.gke({name: {"digest": serving.IMAGE, "nodePool": "l4", "warm": "prepull"}})

    for made in serving.run(settings).of_type(DAEMON_SET):
        assert all(len(value) <= 63 for value in made.inputs["spec"]["selector"]["matchLabels"].values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_the_pods_reach_nothing_and_nobody_reaches_them(delivery: str, name: str) -> None:
    recording = run(delivery)
    policy = recording.only("kubernetes:networking.k8s.io/v1:NetworkPolicy", name)
    made = recording.only(DAEMON_SET, name)

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
    made = recording.only(DAEMON_SET, NAMES[0])
    accounts = recording.of_type("kubernetes:core/v1:ServiceAccount")

    (account,) = accounts
    assert account.inputs["metadata"]["name"] == made.inputs["spec"]["template"]["spec"]["serviceAccountName"]
    assert account.inputs["imagePullSecrets"] == [{"name": "oci-pull" if delivery == "kubeai" else "private"}]
    assert account.urn in made.dependencies


def test_pulumi_waits_for_the_pull_as_long_as_a_start_may_take() -> None:
    for made in run("modelcar", startupTimeout=7200).of_type(DAEMON_SET):
        assert made.inputs["metadata"]["annotations"]["pulumi.com/timeoutSeconds"] == "7200"


def test_the_pods_are_none_of_the_models_own() -> None:
    # The model's Service, its egress policy and its disruption budget select these labels.
    for made in run("modelcar").of_type(DAEMON_SET):
        labels = made.inputs["spec"]["template"]["metadata"]["labels"]
        assert not {"serving.kserve.io/inferenceservice", "model", "app"} & set(labels)


@pytest.mark.parametrize("warm", ["none", "disk"])
def test_otherwise_there_is_no_daemon_set(warm: str) -> None:
    assert run("modelcar", warm=warm).of_type(DAEMON_SET) == []

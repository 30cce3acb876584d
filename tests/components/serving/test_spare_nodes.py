"""Nodes that wait for a model's next pod: held by pods that give way, counted in the cost, or refused."""

from typing import Any

import pytest

from components.cost import Cost
from components.prediction import predict
from components.settings.reader import SettingsError
from tests import serving
from tests.components.settings.reading import read
from tests.mocks import Recording

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
PRIORITY = "kubernetes:scheduling.k8s.io/v1:PriorityClass"
SERVER = serving.IMAGE.replace("qwen", "vllm")


def stack(pool: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    pools = {"l4": {"accelerator": "nvidia-l4", "zones": ["us-central1-a"], "maxNodes": 4, **(pool or {})}}
    server = {"server": {"image": SERVER}}
    return serving.gke(
        {"qwen": {"digest": serving.IMAGE, "nodePool": "l4", "sizeGb": 1, **model}},
        nodePools=pools,
        platforms={"kserve": server, "kubeai": {"version": "0.24.0", **server}},
    )


def run(pool: dict[str, Any] | None = None, **model: Any) -> Recording:
    return serving.run({**stack(pool, **model), "pullSecrets": serving.PULL_SECRETS})


@pytest.mark.parametrize(("delivery", "namespace"), [("native", "models"), ("kubeai", "kubeai")])
def test_a_pod_of_low_priority_takes_every_gpu_of_a_node_and_no_other_image(delivery: str, namespace: str) -> None:
    recording = run({"warmNodes": 2, "count": 2, "machineType": "g2-standard-24"}, delivery=delivery)
    made, priority = recording.only(DEPLOYMENT).inputs, recording.only(PRIORITY).inputs
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert made["metadata"]["namespace"] == namespace
    assert made["spec"]["replicas"] == 2
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert container["image"] == SERVER  # which the cluster accepts, and the node is to have
    assert pod["priorityClassName"] == priority["metadata"]["name"]
    assert (priority["value"], priority["preemptionPolicy"]) == (-10, "Never")
    assert pod["terminationGracePeriodSeconds"] == 0
    assert pod["nodeSelector"] == {"oci-model-serving/pool": "l4"}
    assert [toleration["key"] for toleration in pod["tolerations"]] == ["nvidia.com/gpu"]
    assert pod["imagePullSecrets"] == [{"name": "oci-pull" if delivery == "kubeai" else "private"}]


def test_the_pods_reach_nothing_and_pass_restricted() -> None:
    recording = run({"warmNodes": 1})
    pod = recording.only(DEPLOYMENT).inputs["spec"]["template"]
    policy = recording.only("kubernetes:networking.k8s.io/v1:NetworkPolicy", "l4-spare-nodes").inputs["spec"]

    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert (policy["ingress"], policy["egress"]) == ([], [])
    context = pod["spec"]["containers"][0]["securityContext"]
    assert (context["runAsNonRoot"], context["capabilities"]) == (True, {"drop": ["ALL"]})
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_nobody_waits_for_pods_that_may_be_pending_for_ever_and_the_model_comes_first() -> None:
    recording = run({"warmNodes": 1})
    made = recording.only(DEPLOYMENT)

    assert made.inputs["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"
    assert {"qwen", "qwen-allowed-images"} <= serving.after(recording, made)


def test_without_the_setting_there_are_none() -> None:
    assert run().of_type(DEPLOYMENT) == []
    assert run().of_type(PRIORITY) == []


def test_a_pool_whose_models_are_all_paused_keeps_no_node() -> None:
    assert run({"warmNodes": 2}, paused=True).only(DEPLOYMENT).inputs["spec"]["replicas"] == 0


def cost(pool: dict[str, Any], **model: Any) -> Cost:
    found = predict(read(stack(pool, **model))).cost
    assert found is not None
    return found


def test_a_warm_node_costs_what_a_node_costs() -> None:
    none, one, two = (cost({"warmNodes": number}).at_min for number in range(3))

    assert one[0] - none[0] == pytest.approx(two[0] - one[0])
    assert one[0] - none[0] > 0.5
    assert cost({"warmNodes": 4}).at_min == cost({"maxNodes": 4, "minNodes": 4}).at_min  # no more than there may be
    assert cost({"warmNodes": 1}).paused == cost({}).paused
    assert cost({"warmNodes": 1}, paused=True).at_min == cost({}, paused=True).at_min


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ({"warmNodes": 5}, "the pool has 4 at most: write nodePools.l4.maxNodes: 6"),
        ({"warmNodes": 9, "perZone": True, "zones": ["us-central1-a", "us-central1-b"]}, r"8 at most: .*maxNodes: 5"),
        ({"warmNodes": 1, "sharing": {"maxClients": 2}}, "cannot take all parts of a shared GPU"),
    ],
)
def test_nodes_that_cannot_be_kept_are_refused(pool: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as raised:
        read(stack(pool))
    assert any("nodePools.l4.warmNodes" in problem for problem in raised.value.problems)


def test_a_pool_that_no_model_is_on_keeps_no_node() -> None:
    values = stack({"warmNodes": 1})
    del values["models"]["qwen"]["nodePool"]

    with pytest.raises(SettingsError, match=r"nodePools\.l4\.warmNodes: is 1, and no model has nodePool: l4"):
        read(values)


def test_a_pool_that_models_turn_to_where_theirs_is_full_keeps_nodes_for_them() -> None:
    values = stack({"warmNodes": 1}, nodePool="spot", fallbackPools=["l4"], replicas={"min": 2})
    values["nodePools"]["spot"] = {**values["nodePools"]["l4"], "spot": True, "warmNodes": 0}
    settings, spare = read(values), serving.run(values).only(DEPLOYMENT).inputs["spec"]

    assert spare["replicas"] == 1
    assert spare["template"]["spec"]["nodeSelector"] == {"oci-model-serving/pool": "l4"}
    assert not any("warmNodes" in text for text in settings.warnings)  # the pods are not counted there as well
    values["models"]["qwen"]["paused"] = True
    assert serving.run(values).only(DEPLOYMENT).inputs["spec"]["replicas"] == 0


def test_nodes_that_gke_makes_for_pods_are_not_kept() -> None:
    values = stack({"warmNodes": 1, "computeClass": "mine"})
    for name in ("maxNodes", "zones"):
        values["nodePools"]["l4"].pop(name)

    with pytest.raises(SettingsError, match=r"nodePools\.l4\.warmNodes: is of a pool that this stack makes"):
        read(values)


def test_a_pool_with_too_little_room_for_both_is_warned_of() -> None:
    settings = read(stack({"warmNodes": 3}, replicas={"min": 2}))

    assert any("nodePools.l4.warmNodes: is 3" in text and "write maxNodes: 5" in text for text in settings.warnings)
    assert not any("warmNodes" in text for text in read(stack({"warmNodes": 1}, replicas={"min": 2})).warnings)

"""Whole stacks of set-ups that people run: images alone, a shared GPU, nodes of others."""

from typing import Any

import pytest

from components.google.cluster import NO_CLUSTER
from oci_model_serving import outputs
from oci_model_serving.errors import InputError
from offline.values import reveal
from smoke.stack import select
from tests.mocks import DIGEST, Recording
from tests.serving import gke, objects, of_kind, run

HUB = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
OURS = "oci-model-serving:index:"
MODEL = {"source": HUB, "sizeGb": 1.1}
CONSUMED = "acme/oci-model-serving/images"
ADOPTED = {"name": "prod", "location": "us-central1"}
IMAGES = {"target": "gke", "registry": {"create": {"repository": "models"}}, "models": {"qwen": MODEL}}


def said(recording: Recording) -> outputs.StackOutputs:
    return outputs.parse(reveal(recording.outputs))


def predictor(recording: Recording) -> dict[str, Any]:
    (service,) = of_kind(recording, "InferenceService")
    found: dict[str, Any] = service["spec"]["predictor"]
    return found


def test_without_a_cluster_images_are_made_and_told_and_nothing_is_served() -> None:
    recording = run({**IMAGES, "platforms": {"kserve": {"version": "v0.20.0"}}})

    assert {resource.type for resource in recording.resources if resource.type.startswith(OURS)} == {
        f"{OURS}{name}" for name in ("Cluster", "ModelRegistry", "ModelImage")
    }
    assert objects(recording) == []
    model = said(recording).models["qwen"]
    assert (model.digest, model.url, model.namespace, model.served) == (DIGEST, "", "", False)
    assert ("info", NO_CLUSTER) in recording.messages


def test_the_image_of_a_stack_without_a_cluster_is_promoted_by_its_digest() -> None:
    images = reveal(run(IMAGES).outputs)

    serving = run(gke({"qwen": {"fromStack": CONSUMED, "nodePool": "l4"}}), stack_outputs={CONSUMED: images})

    promoted = reveal(serving.outputs["models"])["qwen"]
    assert promoted["image"] == images["models"]["qwen"]["image"]
    assert promoted["url"]


def test_who_asks_for_a_server_of_a_stack_without_a_cluster_is_told_that_there_is_none() -> None:
    images = said(run(IMAGES))

    with pytest.raises(outputs.ContractError, match="dev has no cluster, and only the image of model 'qwen': take it"):
        images.model("qwen", stack="dev")
    for keys in ([], ["qwen"]):
        with pytest.raises(InputError, match="has no cluster"):
            select(images, keys)


def test_a_registry_alone_is_a_stack() -> None:
    recording = run({"target": "gke", "registry": {"create": {"repository": "models"}}})

    assert said(recording).registry_url == "us-central1-docker.pkg.dev/demo/models"
    assert said(recording).models == {}


def test_servers_that_share_a_gpu_leave_each_other_memory_and_are_found_by_googles_labels() -> None:
    pool = {"accelerator": "nvidia-l4", "sharing": {"strategy": "TIME_SHARING", "maxClients": 2}}

    found = predictor(run(gke({"a": {**MODEL, "nodePool": "l4"}}, nodePools={"l4": pool})))

    assert "--gpu-memory-utilization=0.45" in found["model"]["args"]
    assert found["model"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert found["nodeSelector"] == {
        "oci-model-serving/pool": "l4",
        "cloud.google.com/gke-gpu-sharing-strategy": "time-sharing",
        "cloud.google.com/gke-max-shared-clients-per-gpu": "2",
    }


def test_what_the_settings_say_of_the_gpus_memory_comes_last_and_counts() -> None:
    pool = {"accelerator": "nvidia-l4", "sharing": {"maxClients": 2}}
    models = {"a": {**MODEL, "nodePool": "l4", "args": ["--gpu-memory-utilization=0.3"]}}

    args = predictor(run(gke(models, nodePools={"l4": pool})))["model"]["args"]

    given = [argument for argument in args if argument.startswith("--gpu-memory-utilization")]
    assert given == ["--gpu-memory-utilization=0.45", "--gpu-memory-utilization=0.3"]


def test_a_gpu_of_ones_own_is_left_to_the_servers_default() -> None:
    args = predictor(run(gke({"a": {**MODEL, "nodePool": "l4"}})))["model"]["args"]

    assert [argument for argument in args if "utilization" in argument] == []


def test_kubeais_profile_asks_for_a_partition_as_for_a_gpu() -> None:
    pool = {"accelerator": "nvidia-tesla-a100", "gpuPartitionSize": "3g.20gb"}
    models = {"a": {**MODEL, "nodePool": "l4", "delivery": "kubeai"}}

    recording = run(gke(models, nodePools={"l4": pool}))

    (model,) = of_kind(recording, "Model")
    assert model["spec"]["resourceProfile"] == "l4:1"
    (release,) = [one for one in recording.resources if one.name == "kubeai" and "Release" in one.type]
    profile = reveal(release.inputs)["values"]["resourceProfiles"]["l4"]
    assert profile["limits"]["nvidia.com/gpu"] == "1"
    assert profile["nodeSelector"]["cloud.google.com/gke-gpu-partition-size"] == "3g.20gb"


def test_pods_on_autopilot_ask_google_for_their_nodes_and_start_a_successor_first() -> None:
    pool = {"accelerator": "nvidia-l4", "spot": True, "serviceAccount": "nodes@x.iam.gserviceaccount.com"}

    recording = run(
        gke({"a": {**MODEL, "nodePool": "l4"}}, cluster={**ADOPTED, "autopilot": True}, nodePools={"l4": pool})
    )

    assert [one for one in recording.resources if one.type.startswith("gcp:container")] == []
    found = predictor(recording)
    assert found["nodeSelector"] == {
        "cloud.google.com/gke-accelerator": "nvidia-l4",
        "cloud.google.com/gke-accelerator-count": "1",
        "cloud.google.com/gke-spot": "true",
    }
    assert found["deploymentStrategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (reader,) = [one for one in recording.resources if one.name == "models-reader-l4"]
    assert reader.inputs["member"] == "serviceAccount:nodes@x.iam.gserviceaccount.com"


def test_a_disk_that_gke_chooses_is_told_with_the_size_that_it_should_have() -> None:
    pool = {"accelerator": "nvidia-l4", "computeClass": "l4", "serviceAccount": "n@x.iam.gserviceaccount.com"}

    recording = run(
        gke({"a": {**MODEL, "nodePool": "l4"}}, cluster=ADOPTED, nodePools={"l4": pool}),
    )

    told = [text for level, text in recording.messages if level == "info" and "nodePools.l4.bootDisk" in text]
    assert any("bootDiskSize: 200" in text for text in told), recording.messages

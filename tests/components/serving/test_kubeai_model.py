"""A model on KubeAI: its URL by the digest's own tag, scaling, pause, offline, egress."""

import json
from typing import Any

import pytest

from components.serving import admission
from components.serving.unservable import UnservableError
from oci_model_serving.reference import digest_tag
from tests import crds, serving
from tests.mocks import DIGEST, Recording, built, plain

ROLLOUT = "command:local:Command"


def run(pool: dict[str, Any] | None = None, platform: dict[str, Any] | None = None, **fields: Any) -> Recording:
    model = {"digest": serving.IMAGE, "delivery": "kubeai", **fields}
    keys: dict[str, Any] = {"platforms": {"kubeai": {"version": "0.24.0", **(platform or {})}}}
    if pool is not None:
        keys["nodePools"] = {"l4": pool, "t4": pool}
    return serving.run(serving.gke({"qwen2.5": model}, **keys))


def model(**fields: Any) -> dict[str, Any]:
    return serving.one(run(**fields), "Model")


def spec(**fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = model(**fields)["spec"]
    return made


def test_the_url_is_the_tag_that_spells_the_digest() -> None:
    assert spec()["url"] == f"oci://registry.example/models/qwen:{digest_tag(DIGEST)}"


def test_that_tag_is_looked_for_in_the_registry_before_the_model_is_made() -> None:
    recording = run()
    check = recording.only(ROLLOUT, "qwen2.5-check")

    assert f"inspect {serving.IMAGE} --for kubeai --require-digest-tag --json" in str(plain(check.inputs["create"]))
    assert check.name in serving.after(recording, recording.only("kubernetes:kubeai.org/v1:Model"))


@pytest.mark.parametrize("builder", ["direct", "docker"])
def test_a_built_images_tag_is_there_before_the_model_is_made_whoever_has_built_it(builder: str) -> None:
    source = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
    models = {"qwen": {"source": source, "delivery": "kubeai", "base": "scratch", "builder": builder}}

    recording = serving.run(serving.gke(models))
    step = recording.only(ROLLOUT, "qwen-tag")

    assert f"tag us-central1-docker.pkg.dev/demo/models/qwen@{DIGEST} --json" in str(plain(step.inputs["create"]))
    assert step.name in serving.after(recording, recording.only("kubernetes:kubeai.org/v1:Model"))


def test_the_url_of_a_built_image_is_its_tag_as_well() -> None:
    source = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
    models = {"qwen": {"source": source, "delivery": "kubeai", "base": "scratch"}}

    made = serving.one(serving.run(serving.gke(models)), "Model")

    assert made["spec"]["url"] == (f"oci://us-central1-docker.pkg.dev/demo/models/qwen:{digest_tag(DIGEST)}")


def test_the_name_and_the_namespace_are_kubeais() -> None:
    made = model()

    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("qwen2-5", "kubeai")


def test_engine_features_image_and_arguments_are_told() -> None:
    made = spec(nodePool="l4", args=["--max-model-len=4096"], platform={"server": {"image": serving.IMAGE}})

    assert (made["engine"], made["features"]) == ("VLLM", ["TextGeneration"])
    assert made["image"] == serving.IMAGE
    assert made["args"] == ["--max-model-len=4096"]


def test_a_model_on_cpu_has_the_cpu_image() -> None:
    assert spec(platform={"server": {"cpuImage": serving.IMAGE}})["image"] == serving.IMAGE


def test_the_hub_is_off_and_the_settings_environment_is_kept() -> None:
    env = spec(env={"VLLM_LOGGING_LEVEL": "DEBUG"})["env"]

    assert env.items() >= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "DEBUG"}.items()


@pytest.mark.parametrize(
    ("replicas", "low", "high"),
    [({}, 1, 1), ({"min": 2}, 2, 2), ({"min": 0, "max": 3}, 0, 3), ({"min": 0}, 0, 1)],
)
def test_kubeai_scales_between_the_settings_and_really_from_zero(replicas: dict[str, int], low: int, high: int) -> None:
    made = spec(replicas=replicas)

    assert (made["minReplicas"], made["maxReplicas"]) == (low, high)
    assert made["autoscalingDisabled"] is False  # said, so that a pause by command is undone
    assert "replicas" not in made  # KubeAI's manager owns it


def test_a_paused_model_has_no_replicas_and_nothing_that_brings_them_back() -> None:
    made = model(paused=True, replicas={"min": 2, "max": 3})

    assert (made["spec"]["autoscalingDisabled"], made["spec"]["replicas"]) == (True, 0)
    assert (made["spec"]["minReplicas"], made["spec"]["maxReplicas"]) == (2, 3)  # what a resume goes back to
    assert crds.problems(made, crds.KUBEAI) == []


def test_kubeais_manager_owns_the_replicas_and_is_overruled_where_the_settings_speak_of_them() -> None:
    # Its PUT of the whole object makes every later apply of `replicas` a conflict.
    assert model()["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true", "pulumi.com/patchForce": "true"}


def watched(**fields: Any) -> dict[str, Any]:
    recording = run(**fields)
    command = recording.only(ROLLOUT, "qwen2-5-rollout")
    assert recording.only("kubernetes:kubeai.org/v1:Model").name in serving.after(recording, command)
    made: dict[str, Any] = json.loads(str(plain(command.inputs["stdin"])))
    return made


def test_pulumi_watches_for_as_many_ready_pods_of_the_new_revision_as_there_are_at_least() -> None:
    made = watched(replicas={"min": 2, "max": 5})

    assert made["replicas"] == 2
    assert made["revision"] == spec(replicas={"min": 2})["env"]["OCI_MODEL_SERVING_REVISION"]


@pytest.mark.parametrize(
    "change",
    [
        {"args": ["--max-model-len=1"]},
        {"env": {"A": "b"}},
        {"resources": {"cpu": "3"}},
        {"gpus": 2},
        {"nodePool": "t4"},
        {"drainTimeout": 60},
    ],
)
def test_what_makes_new_pods_has_a_new_revision_and_nothing_else_has(change: dict[str, Any]) -> None:
    base: dict[str, Any] = {"nodePool": "l4", "pool": {"accelerator": "nvidia-l4", "count": 4}, "gpus": 1}
    first = watched(**base)["revision"]

    assert watched(**{**base, **change})["revision"] != first
    assert watched(**base, replicas={"min": 2, "max": 3})["revision"] == first
    assert watched(**base, paused=True)["revision"] == first


def test_nothing_is_waited_for_where_nobody_waits() -> None:
    assert [one.name for one in run(awaitReady=False).of_type(ROLLOUT)] == ["qwen2.5-check", "qwen2-5-admitted"]


def test_its_scaling_is_the_settings() -> None:
    made = spec(scaling={"targetRequests": 20, "scaleDownDelay": 300})

    assert (made["targetRequests"], made["scaleDownDelaySeconds"]) == (20, 300)
    assert not {"targetRequests", "scaleDownDelaySeconds"} & spec().keys()  # KubeAI's own defaults


def test_egress_is_denied_to_this_models_pods_and_before_they_start() -> None:
    recording = run()
    policy = recording.only("kubernetes:networking.k8s.io/v1:NetworkPolicy", "qwen2-5")

    assert policy.inputs["spec"]["podSelector"] == {"matchLabels": {"model": "qwen2-5"}}
    assert policy.inputs["metadata"]["namespace"] == "kubeai"
    assert policy.urn in recording.only("kubernetes:kubeai.org/v1:Model").dependencies


def test_an_image_that_outgrows_the_disk_is_not_served() -> None:
    models = {"qwen": {"digest": serving.IMAGE, "delivery": "kubeai", "nodePool": "l4"}}

    with pytest.raises(admission.DiskError, match=r"nodePools\.l4\.bootDisk: .*qwen 150 GB"):
        serving.run(serving.gke(models), answer=built(size_bytes=150_000_000_000))


def test_the_output_is_the_one_endpoint_and_the_name_to_ask_for() -> None:
    made = plain(run(platform={"namespace": "llms"}).outputs["models"])["qwen2.5"]

    assert made["url"] == "http://kubeai.llms.svc.cluster.local/openai"
    assert made["served_name"] == made["name"] == "qwen2-5"
    assert (made["platform"], made["delivery"], made["namespace"]) == ("kubeai", "kubeai", "llms")


# What the model is for.


def told(**traits: Any) -> dict[str, Any]:
    models = {"qwen": {"digest": serving.IMAGE, "delivery": "kubeai"}}
    recording = serving.run(serving.gke(models), answer=built(traits={"qwen": traits}))
    made: dict[str, Any] = serving.one(recording, "Model")["spec"]
    return made


@pytest.mark.parametrize(
    ("task", "feature", "args"),
    [
        ("generation", "TextGeneration", []),
        ("embedding", "TextEmbedding", ["--runner=pooling"]),
        ("reranking", "Reranking", ["--runner=pooling"]),
        ("speech", "SpeechToText", []),
    ],
)
def test_kubeai_is_told_what_the_models_files_say(task: str, feature: str, args: list[str]) -> None:
    made = told(task=task)

    assert (made["features"], made["args"]) == ([feature], args)


def test_a_task_that_kubeai_has_no_path_for_is_refused_with_what_would_do() -> None:
    with pytest.raises(UnservableError, match="no path for pooling: write delivery: native or modelcar"):
        told(task="pooling")


def test_a_gguf_overrules_the_folder_that_kubeai_names() -> None:
    assert told(weights_file="Q4/m-00001-of-00002.gguf")["args"] == ["--model=/model/Q4/m-00001-of-00002.gguf"]

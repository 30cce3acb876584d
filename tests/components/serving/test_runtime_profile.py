"""What a server on GPUs is told so that it starts faster: only what its image, its files and its pod are known for."""

import json
from typing import Any

import pytest

from components.serving import server_features
from components.serving.server_features import AUTO_LENGTH, STREAMER
from components.settings.stack import Settings
from offline.plan import Plan
from tests import serving
from tests.components.settings.cases_fit import LLAMA_8B
from tests.components.settings.reading import read
from tests.mocks import Recording, built

STREAMS = {"streams": True, "architecture": "Qwen2ForCausalLM"}
EXTRA = "--model-loader-extra-config="
TWO = {"count": 2, "machineType": "g2-standard-24"}


def stack(
    server: dict[str, Any] | None = None, pool: dict[str, Any] | None = None, **model: Any
) -> tuple[dict[str, Any], str]:
    on_kubeai = model.get("delivery") == "kubeai"
    platforms: dict[str, dict[str, Any]] = {"kserve": {}, "kubeai": {"version": "0.24.0"}}
    platforms["kubeai" if on_kubeai else "kserve"]["server"] = server or {}
    pools = {"l4": {**serving.POOL, **(pool or {})}}
    models = {"qwen": {"digest": serving.IMAGE, "nodePool": "l4", **model}}
    return serving.gke(models, platforms=platforms, nodePools=pools), "Model" if on_kubeai else "InferenceService"


def run(traits: dict[str, Any] | None = None, **given: Any) -> Recording:
    values, _ = stack(**given)
    return serving.run(values, answer=built(traits={"qwen": STREAMS if traits is None else traits}))


def args(**given: Any) -> list[str]:
    _, kind = stack(**{key: value for key, value in given.items() if key != "traits"})
    spec = serving.one(run(**given), kind)["spec"]
    found: list[str] = spec["args"] if kind == "Model" else spec["predictor"]["model"]["args"]
    return found


def env(**given: Any) -> dict[str, Any]:
    entries = serving.one(run(**given), "InferenceService")["spec"]["predictor"]["model"]["env"]
    return {one["name"]: one.get("value") for one in entries}


def shm(**given: Any) -> str:
    volumes = serving.one(run(**given), "InferenceService")["spec"]["predictor"]["volumes"]
    size: str = next(volume["emptyDir"]["sizeLimit"] for volume in volumes if volume["name"] == "shm")
    return size


def choices(settings: Settings) -> dict[str, str]:
    model = settings.models["qwen"]
    return {one.what: one.reason for one in model.tuned(model.traits).choices}


def choice(what: str, **given: Any) -> str:
    """Why it is as it is, as the plan says."""
    return choices(read(stack(**given)[0]))[what]


# What an image is known for.


@pytest.mark.parametrize(
    ("image", "features"),
    [
        ("docker.io/vllm/vllm-openai:v0.23.0", {STREAMER, AUTO_LENGTH}),
        ("vllm/vllm-openai:v0.14.0", {STREAMER, AUTO_LENGTH}),
        ("vllm/vllm-openai:v1.0.0-cu130", {STREAMER, AUTO_LENGTH}),
        ("docker.io/vllm/vllm-openai:v0.13.2", {STREAMER}),
        ("docker.io/vllm/vllm-openai:v0.11.0", set()),
        ("docker.io/vllm/vllm-openai:v0.23.0rc1", set()),
        ("docker.io/vllm/vllm-openai:latest", set()),
        (f"docker.io/vllm/vllm-openai:v0.23.0@sha256:{'0' * 64}", set()),  # the digest counts, and tells nothing
        ("registry.example/vllm/vllm-openai:v0.23.0", set()),
        ("public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo:v0.23.0", set()),
    ],
)
def test_vllms_own_images_are_known_by_their_release_and_no_others(image: str, features: set[str]) -> None:
    assert server_features.known(image) == features


# The loader.


@pytest.mark.parametrize("delivery", ["modelcar", "native"])
def test_weights_are_streamed_where_image_files_and_pod_are_known_for_it(delivery: str) -> None:
    told = args(delivery=delivery)

    assert "--load-format=runai_streamer" in told
    extra = json.loads(next(arg for arg in told if arg.startswith(EXTRA)).removeprefix(EXTRA))
    assert extra == {"concurrency": 7, "memory_limit": 10_000_000_000}  # a g2-standard-8 gives 7 CPUs


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"server": {"features": []}}, "not known for the streamer"),
        ({"server": {"image": serving.IMAGE.replace("qwen", "vllm")}}, "not known for the streamer"),
        ({"task": "embedding"}, "for embedding"),
        ({"pool": TWO}, "each of 2 GPUs"),
        ({"resources": {"memory": "12Gi"}}, "may need 17 GiB, and the pod has 12Gi"),
        ({"args": ["--quantization=bitsandbytes"]}, "args have --quantization"),
        ({"args": ["--load-format=auto"]}, "args have --load-format"),
        ({"args": ["--cpu-offload-gb=4"]}, "args have --cpu-offload-gb"),
    ],
)
def test_the_default_loader_stays_where_something_speaks_against_it_and_the_plan_says_what(
    given: dict[str, Any], why: str
) -> None:
    assert [arg for arg in args(**given) if arg == "--load-format=runai_streamer"] == []
    assert why in choice("--load-format", **given)


@pytest.mark.parametrize("traits", [{}, {"streams": False}, {"weights_file": "m.gguf", "streams": True}])
def test_an_image_that_does_not_say_that_it_streams_is_loaded_as_before(traits: dict[str, Any]) -> None:
    """Those of a state of the version before say nothing of it, so that no pod of theirs is told otherwise."""
    assert not any(arg.startswith(("--load-format", EXTRA)) for arg in args(traits=traits))


def test_a_mirrored_image_streams_once_its_features_are_told() -> None:
    server = {"image": serving.IMAGE.replace("qwen", "vllm"), "features": [STREAMER]}

    told = args(server=server)
    assert "--load-format=runai_streamer" in told
    assert "--max-model-len=auto" not in told


def test_variables_of_the_streamer_are_left_to_the_settings() -> None:
    told = args(env={"RUNAI_STREAMER_CONCURRENCY": "2", "RUNAI_STREAMER_MEMORY_LIMIT": "0"})

    assert "--load-format=runai_streamer" in told
    assert not any(arg.startswith(EXTRA) for arg in told)


def test_what_the_settings_say_comes_last_and_wins() -> None:
    told = args(args=["--max-model-len=8192", "--seed=1"])

    assert told[-2:] == ["--max-model-len=8192", "--seed=1"]
    assert "--max-model-len=auto" not in told


# The length of sequences.


def test_the_server_finds_the_longest_sequence_that_fits_where_it_can() -> None:
    assert "--max-model-len=auto" in args()


@pytest.mark.parametrize("traits", [{"task": "embedding"}, {"task": "speech"}])
def test_of_a_model_that_does_not_generate_the_length_is_its_own(traits: dict[str, Any]) -> None:
    assert not any(arg.startswith("--max-model-len") for arg in args(traits=traits))


def test_copies_of_a_model_in_one_pod_are_not_left_to_find_a_length_each() -> None:
    told = args(pool=TWO, args=["--data-parallel-size=2"])

    assert not any(arg.startswith("--max-model-len") for arg in told)


def test_an_older_image_is_told_the_length_by_the_fit_where_the_models_own_surely_does_not_fit(tmp_path: Any) -> None:
    source = str(LLAMA_8B.write(tmp_path / "weights"))
    server = {"image": "docker.io/vllm/vllm-openai:v0.12.0"}
    values, _ = stack(server=server, digest=None, source=source)
    values["models"]["qwen"].pop("digest")
    model = read(values).models["qwen"]

    (length,) = [arg for arg in model.tuned(model.traits).args if arg.startswith("--max-model-len=")]
    fit = model.fit
    assert fit is not None
    told = int(length.partition("=")[2])
    assert (fit.starts, fit.context) == (True, told)
    assert 16_000 < told < 60_000  # of 131,072; 22 GB less 16 GB of weights


# Several GPUs.


def test_several_gpus_get_the_shared_memory_and_the_variable_by_which_they_find_each_other() -> None:
    assert shm(pool=TWO) == "16Gi"
    assert env(pool=TWO)["NCCL_CUMEM_ENABLE"] == "0"


def test_one_gpu_keeps_what_it_had() -> None:
    assert shm() == "2Gi"
    assert "NCCL_CUMEM_ENABLE" not in env()


@pytest.mark.parametrize(
    ("variables", "value"),
    [({"NCCL_CUMEM_ENABLE": "1"}, "1"), ({"VLLM_USE_NCCL_SYMM_MEM": "1"}, None)],
)
def test_variables_of_the_settings_win(variables: dict[str, str], value: str | None) -> None:
    assert env(pool=TWO, env=variables).get("NCCL_CUMEM_ENABLE") == value


def test_shared_memory_is_the_settings_or_half_of_the_pods_at_most() -> None:
    assert shm(pool=TWO, resources={"shm": "3Gi"}) == "3Gi"
    assert shm(pool=TWO, resources={"memory": "20Gi"}) == "10Gi"
    assert "counts against the pod's 20Gi" in choice("/dev/shm", pool=TWO, resources={"memory": "20Gi"})  # noqa: S108


# Plain, and the platforms.


def test_plain_tells_nothing_and_neither_does_a_server_of_the_models_own() -> None:
    plain = {"server": {"profile": "plain"}, "pool": TWO}
    assert not any(arg.startswith(("--load-format", "--max-model-len")) for arg in args(**plain))
    assert "NCCL_CUMEM_ENABLE" not in env(**plain)
    assert shm(**plain) == "2Gi"
    own = run(pool=TWO)
    other = serving.run(
        serving.gke({"qwen": {"digest": serving.IMAGE, "server": {"image": "r.example/x:v1", "command": ["x"]}}})
    )
    assert "--max-model-len=auto" in str(serving.of_kind(own, "InferenceService"))
    assert "--max-model-len" not in str(serving.of_kind(other, "InferenceService"))


def test_kubeais_models_are_plain_until_it_is_asked_for_since_its_chart_replaces_their_pods_already() -> None:
    assert args(delivery="kubeai") == []

    told = args(delivery="kubeai", server={"profile": "auto"})
    assert {"--load-format=runai_streamer", "--max-model-len=auto"} <= set(told)
    model = serving.one(run(delivery="kubeai", server={"profile": "auto"}, pool=TWO), "Model")
    assert model["spec"]["env"]["NCCL_CUMEM_ENABLE"] == "0"
    # KubeAI leaves it to the pod's memory, and refuses the setting.
    shown = choices(read(stack(delivery="kubeai", server={"profile": "auto"}, pool=TWO)[0]))
    assert ("/dev/shm" in shown, "NCCL_CUMEM_ENABLE" in shown) == (False, True)  # noqa: S108 - the container's own


def test_kubeais_models_are_not_warned_of_a_setting_that_they_refuse() -> None:
    small = {"resources": {"memory": "1Gi"}}
    warned = read(stack(**small)[0]).warnings, read(stack(delivery="kubeai", **small)[0]).warnings
    assert [any(".resources.shm" in text for text in texts) for texts in warned] == [True, False]


@pytest.mark.parametrize(
    ("delivery", "server", "warned"),
    [
        ("kubeai", {"features": [STREAMER]}, True),
        ("kubeai", {"features": [STREAMER], "profile": "auto"}, False),
        ("native", {"features": [STREAMER], "profile": "plain"}, True),
        ("native", {"features": [STREAMER]}, False),
        ("native", {"features": [], "profile": "plain"}, False),
    ],
)
def test_features_that_nobody_asks_for_are_warned_of(delivery: str, server: dict[str, Any], warned: bool) -> None:
    told = [text for text in read(stack(server, delivery=delivery)[0]).warnings if ".server.features" in text]
    assert bool(told) is warned
    assert all("server.profile: auto" in text for text in told)


def test_a_model_without_gpus_is_told_nothing() -> None:
    values, _ = stack()
    values["models"]["qwen"].pop("nodePool")
    settings = read(values)

    assert settings.models["qwen"].tuned(settings.models["qwen"].traits).choices == ()


# The plan.


def test_every_choice_is_in_the_plan_with_its_reason_and_what_to_write_instead() -> None:
    values, _ = stack(pool=TWO)
    recording = serving.run(values)
    predictions = Plan("p", "dev", recording, prediction(values)).data()["predictions"]["models"]["qwen"]["profile"]

    assert [one["what"] for one in predictions] == [
        "--load-format",
        "--max-model-len",
        "--gpu-memory-utilization",
        "/dev/shm",  # noqa: S108 - the container's own
        "NCCL_CUMEM_ENABLE",
    ]
    assert all(one["value"] and one["reason"] and one["instead"].startswith("models.qwen.") for one in predictions)


def prediction(values: dict[str, Any]) -> Any:
    from components.prediction import predict

    return predict(read(values))


def test_a_shared_gpus_part_is_told_as_it_is() -> None:
    settings = read(stack(pool={"sharing": {"maxClients": 2}})[0])
    model = settings.models["qwen"]
    shown = {one.what: one.value for one in model.tuned(model.traits).choices}

    assert shown["--gpu-memory-utilization"] == "0.45"
    assert "vLLM's own" in {one.what: one.value for one in _alone().choices}["--gpu-memory-utilization"]


def _alone() -> Any:
    model = read(stack()[0]).models["qwen"]
    return model.tuned(model.traits)


def test_a_streamed_start_is_predicted_as_one() -> None:
    sized: dict[str, Any] = {"sizeGb": 14.0, "pool": {"secondaryBootDisks": []}}  # of which nothing is cached yet
    fast, slow = (prediction(stack(server=server, **sized)[0]).starts["qwen"] for server in ({}, {"profile": "plain"}))

    assert fast.cold_start.stage("load").seconds < slow.cold_start.stage("load").seconds
    assert fast.improvement is None or "runai_streamer" not in fast.improvement.setting

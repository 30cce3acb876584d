"""Compile caches: an image beside the model's, used where all that it was made of is served, and never in the way."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from components.serving import compile_cache, vllm
from components.settings.reader import SettingsError, parse
from modelimage.cache_key import ANNOTATION, CacheKey
from oci_model_serving.delivery import REVISION_LABEL
from oci_model_serving.outputs import CompileCacheOutput, ModelOutput
from tests import crds, serving
from tests.components.settings.reading import read
from tests.mocks import DIGEST, Recording, built, plain

SERVER = "docker.io/vllm/vllm-openai@sha256:" + "5" * 64
CACHE = f"registry.example/models/qwen-compile-cache@sha256:{'c' * 64}"
KSERVE: dict[str, Any] = {"server": {"image": SERVER}}
KEY: dict[str, Any] = {
    "model": DIGEST,
    "server": SERVER.partition("@")[2],
    "gpu": "nvidia-l4",
    "gpus": 1,
    "args": {"--model": "/mnt/models"},
    "env": {"HOME": "/tmp"},  # noqa: S108 - a pod's
}
VOLUME = {"name": "compile-cache", "image": {"reference": CACHE, "pullPolicy": "IfNotPresent"}}
NOTHING = {"name": "compile-cache", "emptyDir": {}}
MOUNT = {"name": "compile-cache", "mountPath": "/compile-cache", "subPath": "models", "readOnly": True}


def run(key: Mapping[str, Any] | None = None, *, kserve: Mapping[str, Any] = KSERVE, **fields: Any) -> Recording:
    """A stack with a cache of that key, by default the one that fits."""
    model = {"digest": serving.IMAGE, "nodePool": "l4", "compileCache": {"digest": CACHE}, **fields}
    noted = {"qwen-compile-cache": {ANNOTATION: CacheKey.model_validate(key or KEY).written()}}
    settings = serving.gke({"qwen": model}, platforms={"kserve": kserve})
    return serving.run(settings, answer=built(annotations=noted))


def predictor(recording: Recording) -> dict[str, Any]:
    made: dict[str, Any] = serving.one(recording, "InferenceService")["spec"]["predictor"]
    return made


def warnings(recording: Recording) -> list[str]:
    return [text for level, text in recording.messages if level == "warning" and "compileCache" in text]


def refused(kserve: Mapping[str, Any] = KSERVE, **fields: Any) -> str:
    model = {"digest": serving.IMAGE, "nodePool": "l4", "compileCache": {"digest": CACHE}, **fields}
    platforms = {"kserve": kserve, "kubeai": {"version": "0.24.0"}}
    with pytest.raises(SettingsError) as error:
        parse(serving.gke({"qwen": model}, platforms=platforms), stack="dev", project="demo", region="us-central1")
    return str(error.value)


@pytest.mark.parametrize("delivery", ["native", "modelcar"])
def test_a_cache_that_fits_is_mounted_by_digest_and_copied_before_the_server_starts(delivery: str) -> None:
    recording = run(delivery=delivery)
    made = predictor(recording)

    assert VOLUME in made["volumes"]
    assert made["model"]["volumeMounts"] == [MOUNT]
    script = made["model"]["command"][2]
    assert script.index("/compile-cache") < script.index("exec python3 -m vllm.entrypoints.openai.api_server")
    assert warnings(recording) == []


@pytest.mark.parametrize("delivery", ["native", "modelcar"])
def test_kserves_crd_takes_it(delivery: str) -> None:
    assert crds.problems(serving.one(run(delivery=delivery), "InferenceService"), "kserve-v0.20.0") == []


def test_a_model_without_a_cache_is_made_as_before() -> None:
    recording = serving.run(serving.gke({"qwen": {"digest": serving.IMAGE, "nodePool": "l4"}}))
    made = predictor(recording)

    assert made["model"]["command"] == vllm.COMMAND
    assert "volumeMounts" not in made["model"]
    assert "compile_cache" not in plain(recording.outputs["models"])["qwen"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "sha256:" + "9" * 64}, "the model's image was sha256:9"),
        ({"server": "sha256:" + "9" * 64}, "the server's image was sha256:9"),
        ({"gpu": "nvidia-h100-80gb"}, "the GPU was nvidia-h100-80gb and is nvidia-l4"),
        ({"gpus": 4}, "the number of GPUs was 4 and is 1"),
        ({"args": {**KEY["args"], "--max-model-len": "64"}}, "the argument --max-model-len was 64 and is not given"),
        ({"env": {"HOME": "/root"}}, "the variable HOME was /root and is /tmp"),
    ],
)
def test_a_cache_of_anything_else_is_not_used_and_a_warning_says_what_has_changed(
    change: dict[str, Any], reason: str
) -> None:
    recording = run({**KEY, **change})
    made = predictor(recording)

    assert made["volumes"][-1] == NOTHING
    (warning,) = warnings(recording)
    assert reason in warning
    assert f"models.qwen.compileCache: {CACHE} is not used" in warning
    assert "`oms cache make --model qwen`" in warning
    assert plain(recording.outputs["models"])["qwen"]["compile_cache"]["used"] is False


def test_a_cache_of_a_version_that_nobody_knows_is_not_used() -> None:
    noted = {"qwen-compile-cache": {ANNOTATION: '{"version": 9}'}}
    model = {"digest": serving.IMAGE, "nodePool": "l4", "compileCache": {"digest": CACHE}}
    recording = serving.run(serving.gke({"qwen": model}, platforms={"kserve": KSERVE}), answer=built(annotations=noted))

    assert predictor(recording)["volumes"][-1] == NOTHING
    assert "cannot be read" in warnings(recording)[0]


def test_a_plan_that_cannot_know_what_it_was_made_for_shows_it_used() -> None:
    model = {"digest": serving.IMAGE, "nodePool": "l4", "compileCache": {"digest": CACHE}}
    recording = serving.run(serving.gke({"qwen": model}, platforms={"kserve": KSERVE}), answer=None)

    service = recording.only("kubernetes:serving.kserve.io/v1beta1:InferenceService")
    made = plain(service.inputs["spec"])["predictor"]
    assert made["model"]["volumeMounts"] == [MOUNT]
    assert NOTHING not in made["volumes"]
    assert warnings(recording) == []


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"args": ["--max-model-len=4096"]}, {"args": {**KEY["args"], "--max-model-len": "4096"}}),
        (
            {"args": ["--max-model-len", "1", "--max-model-len=4096"]},
            {"args": {**KEY["args"], "--max-model-len": "4096"}},
        ),
        ({"args": ["--no-enable-chunked-prefill"]}, {"args": {**KEY["args"], "--enable-chunked-prefill": "off"}}),
        ({"args": ["-cc.level=2"]}, {"args": {**KEY["args"], "--compilation-config.level": "2"}}),
        ({"args": ["--enable-auto-tool-choice", "--tool-call-parser=hermes", "--max-log-len=9"]}, {}),
        ({"args": ["--gpu-memory-utilization=0.8", "--load-format=runai_streamer"]}, {}),
        ({"servedName": "other"}, {}),
        ({"replicas": {"min": 2}}, {}),
        ({"env": {"VLLM_LOGGING_LEVEL": "DEBUG", "OTEL_SERVICE_NAME": "a"}}, {}),
        (
            {"env": {"VLLM_USE_AOT_COMPILE": "1", "TORCHINDUCTOR_FREEZING": "1"}},
            {"env": {**KEY["env"], "VLLM_USE_AOT_COMPILE": "1", "TORCHINDUCTOR_FREEZING": "1"}},
        ),
    ],
)
def test_what_the_compiler_reads_counts_and_nothing_else(fields: dict[str, Any], key: dict[str, Any]) -> None:
    recording = run({**KEY, **key}, **fields)

    assert warnings(recording) == []
    assert VOLUME in predictor(recording)["volumes"]


def test_a_share_of_a_gpu_is_another_gpu() -> None:
    pool = {"accelerator": "nvidia-h100-80gb", "zones": ["us-central1-a"], "gpuPartitionSize": "1g.20gb", "count": 8}
    model = {"digest": serving.IMAGE, "nodePool": "mig", "compileCache": {"digest": CACHE}, "gpus": 1}
    settings = serving.gke({"qwen": model}, platforms={"kserve": KSERVE}, nodePools={"mig": pool})
    noted = {"qwen-compile-cache": {ANNOTATION: CacheKey.model_validate({**KEY, "gpu": "nvidia-h100-80gb"}).written()}}

    (warning,) = warnings(serving.run(settings, answer=built(annotations=noted)))
    assert "the GPU was nvidia-h100-80gb and is nvidia-h100-80gb/1g.20gb" in warning


def test_adapters_count_by_their_number_and_rank_and_are_mounted_beside_it() -> None:
    args = {**KEY["args"], "--enable-lora": "", "--max-loras": "1", "--max-lora-rank": "8"}
    lora = f"registry.example/models/lora@{DIGEST}"
    model = {
        "digest": serving.IMAGE,
        "nodePool": "l4",
        "compileCache": {"digest": CACHE},
        "adapters": {"sql": {"digest": lora}},
    }
    noted = {"qwen-compile-cache": {ANNOTATION: CacheKey.model_validate({**KEY, "args": args}).written()}}
    answer = built(annotations=noted, traits={"lora": {"lora_rank": 8}})
    recording = serving.run(serving.gke({"qwen": model}, platforms={"kserve": KSERVE}), answer=answer)

    assert warnings(recording) == []
    assert [one["name"] for one in predictor(recording)["model"]["volumeMounts"]] == ["adapter-sql", "compile-cache"]


def test_the_cluster_lets_it_in_and_nodes_pull_it_before() -> None:
    recording = run(warm="prepull", delivery="native")

    patches = [one.inputs["metadata"] for one in recording.resources if one.type.endswith(":NamespacePatch")]
    assert CACHE in [text for one in patches for text in one["annotations"].values()]
    pod = recording.only("kubernetes:apps/v1:DaemonSet", "qwen-prepull").inputs["spec"]["template"]["spec"]
    assert VOLUME in pod["volumes"]
    assert MOUNT in pod["containers"][0]["volumeMounts"]


def test_it_is_checked_and_verified_as_every_image_before_it_is_served() -> None:
    recording = run()

    service = recording.only("kubernetes:serving.kserve.io/v1beta1:InferenceService")
    assert "qwen/_compile-cache-check" in serving.after(recording, service)
    (check,) = [one for one in recording.resources if one.name == "qwen/_compile-cache-check"]
    assert check.runs is not None
    assert check.runs.arguments[:4] == ["inspect", CACHE, "--for", "compile-cache"]


def test_another_cache_is_another_revision_and_the_outputs_have_it() -> None:
    with_it, without = run(), run({**KEY, "gpus": 8})

    labels = [predictor(one)["labels"][REVISION_LABEL] for one in (with_it, without)]
    assert labels[0] != labels[1]
    told = plain(with_it.outputs["models"])["qwen"]["compile_cache"]
    assert ModelOutput.model_validate(plain(with_it.outputs["models"])["qwen"]).compile_cache is not None
    assert CompileCacheOutput.model_validate(told).model_dump() == told
    assert told == {"image": CACHE, "digest": CACHE.partition("@")[2], "size_bytes": 1_000_000, "used": True}


def test_a_start_is_predicted_with_the_cache_where_it_is_used() -> None:
    def constant(recording: Recording) -> str:
        predicted = plain(recording.outputs["models"])["qwen"]["cold_start"]["stages"]["server_start"]
        return str(predicted["constant"])

    assert constant(run()) == "server_start,compiled"
    assert constant(run({**KEY, "gpus": 8})) == "server_start,gpu"  # of something else: the server compiles
    model = {"digest": serving.IMAGE, "nodePool": "l4", "compileCache": {"digest": CACHE}}
    planned = read(serving.gke({"qwen": model}, platforms={"kserve": KSERVE})).models["qwen"]
    assert planned.served(1e9).compiled


def test_it_makes_the_cluster_one_of_image_volumes() -> None:
    assert "image volumes" in refused(delivery="modelcar", kserve={**KSERVE, "deploymentMode": "Knative"})
    settings = serving.gke(
        {"qwen": {"digest": serving.IMAGE, "nodePool": "l4", "compileCache": {"digest": CACHE}}},
        platforms={"kserve": KSERVE},
    )
    read = parse(settings, stack="dev", project="demo", region="us-central1")
    assert read.cluster.needs_image_volume
    assert read.cluster.needs_subpath


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"delivery": "kubeai"}, "compileCache is for KServe: a Model of KubeAI takes neither a further volume nor"),
        ({"nodePool": None}, "compileCache is for GPUs"),
        ({"args": ["--enforce-eager"]}, "is of no use with --enforce-eager"),
        ({"env": {"VLLM_DISABLE_COMPILE_CACHE": "1"}}, "is of no use with VLLM_DISABLE_COMPILE_CACHE"),
        (
            {"env": {"VLLM_USE_X": {"secretKeyRef": {"name": "keys", "key": "a"}}}},
            "vLLM takes VLLM_USE_X into its hash",
        ),
        ({"env": {"VLLM_CACHE_ROOT": "cache"}}, "env.VLLM_CACHE_ROOT is where the compile cache is copied to"),
        ({"server": {"image": "r.example/s:v1", "command": ["x"]}}, "compileCache is vLLM's"),
        ({"compileCache": {"digest": "registry.example/c:latest"}}, "compileCache.digest"),
        ({"compileCache": {}}, "compileCache.digest"),
        ({"kserve": {}}, "platforms.kserve.server.image names a tag, which can move"),
    ],
)
def test_what_cannot_have_one_is_refused_with_the_reason(fields: dict[str, Any], problem: str) -> None:
    given = {key: value for key, value in fields.items() if value is not None}
    if fields.get("nodePool", "") is None:
        given["nodePool"] = None
    assert problem in refused(**given).replace(": is", " is").replace("compileCache: ", "compileCache ")


def test_a_secret_that_vllm_hashes_is_refused_and_another_is_not() -> None:
    assert compile_cache.hidden(["VLLM_API_KEY", "TORCH_X", "DATABASE_URL", "VLLM_LOGGING_LEVEL"]) == [
        "VLLM_API_KEY",
        "TORCH_X",
    ]


def test_a_cache_from_a_registry_that_the_stack_does_not_take_from_is_refused() -> None:
    model = {"digest": serving.IMAGE, "nodePool": "l4", "compileCache": {"digest": "elsewhere.example/c@" + DIGEST}}
    registry = {"create": {"repository": "models"}, "mutableTags": "accept", "allow": ["registry.example"]}
    settings = serving.gke({"qwen": model}, platforms={"kserve": KSERVE}, registry=registry)

    with pytest.raises(SettingsError, match=r"models\.qwen\.compileCache\.digest"):
        parse(settings, stack="dev", project="demo", region="us-central1")


# The shell's part, run for real.


def started(tmp_path: Path, *, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What the container's command does, with the mounts below a folder and a server that says it has started."""
    command = compile_cache.command()
    script = command[2].replace("/mnt/models", f"{tmp_path}/weights").replace("/compile-cache", f"{tmp_path}/image")
    script = script.replace("python3 -m vllm.entrypoints.openai.api_server", "echo started")
    (tmp_path / "weights").mkdir(exist_ok=True)
    (tmp_path / "weights" / "config.json").write_text("{}")
    home = tmp_path / "tmp"
    home.mkdir(exist_ok=True)
    given = {"HOME": str(home), "PATH": "/usr/bin:/bin", **(env or {})}
    return subprocess.run(
        [*command[:2], script, "vllm", "--port=1"], env=given, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "image" / "torch_compile_cache" / "ab" / "model"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"compiled")
    (tmp_path / "image" / ".ready").touch()
    return tmp_path / "image"


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({}, "tmp/.cache/vllm"),
        ({"XDG_CACHE_HOME": "{}/xdg"}, "xdg/vllm"),
        ({"VLLM_CACHE_ROOT": "{}/own root", "XDG_CACHE_HOME": "{}/xdg"}, "own root"),
    ],
)
@pytest.mark.usefixtures("image")
def test_the_files_are_where_vllm_looks_for_them_and_can_be_written_to(
    tmp_path: Path, env: dict[str, str], folder: str
) -> None:
    env = {name: value.format(tmp_path) for name, value in env.items()}
    done = started(tmp_path, env=env)

    copied = tmp_path / folder / "torch_compile_cache" / "ab" / "model"
    assert done.stdout == "started --port=1\n"
    assert copied.read_bytes() == b"compiled"
    assert (tmp_path / folder / ".ready").exists()
    copied.write_bytes(b"more")
    assert not (tmp_path / f"{folder}.part").exists()
    assert compile_cache.folder({"HOME": str(tmp_path / "tmp"), **env}) == str(tmp_path / folder)


def test_without_an_image_the_server_starts_and_nothing_is_said(tmp_path: Path) -> None:
    done = started(tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "started --port=1\n", "")


@pytest.mark.usefixtures("image")
def test_a_server_that_starts_again_in_its_pod_keeps_what_it_has_added(tmp_path: Path) -> None:
    started(tmp_path)
    added = tmp_path / "tmp" / ".cache" / "vllm" / "torch_compile_cache" / "cd"
    added.mkdir()

    assert started(tmp_path).stderr == ""
    assert added.exists()


@pytest.mark.usefixtures("image")
def test_what_a_copy_left_that_was_cut_short_is_taken_away_first(tmp_path: Path) -> None:
    left = tmp_path / "tmp" / ".cache" / "vllm.part" / "torch_compile_cache" / "ab" / "model"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"comp")
    (left.parent / "other").touch()

    started(tmp_path)
    copied = tmp_path / "tmp" / ".cache" / "vllm" / "torch_compile_cache" / "ab"
    assert [file.name for file in copied.iterdir()] == ["model"]
    assert (copied / "model").read_bytes() == b"compiled"


@pytest.mark.usefixtures("image")
def test_a_copy_that_fails_keeps_no_server_from_starting_and_leaves_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / ".cache").write_text("no folder")
    done = started(tmp_path)

    assert (done.returncode, done.stdout) == (0, "started --port=1\n")
    assert "cannot be copied" in done.stderr
    assert "the server compiles" in done.stderr


def test_a_file_that_cannot_be_read_leaves_the_server_without_a_cache_but_not_with_half_of_one(
    tmp_path: Path, image: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    fails = tools / "cp"
    fails.write_text('#!/bin/sh\n/bin/cp "$@"\necho "cp: error reading" >&2\nexit 1\n')
    fails.chmod(0o755)
    done = started(tmp_path, env={"PATH": f"{tools}:/usr/bin:/bin"})

    assert done.stdout == "started --port=1\n"
    assert not (tmp_path / "tmp" / ".cache" / "vllm").exists()
    assert not (tmp_path / "tmp" / ".cache" / "vllm.part").exists()
    assert image.exists()

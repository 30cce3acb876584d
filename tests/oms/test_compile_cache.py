"""`oms cache`: the Job of a stack's model, the line that goes into its file, and what an image says."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelimage.compile_cache import pack_cache
from oms.main import main
from tests.deployed import ROOT, deploy, outputs_of
from tests.recorded_api import RecordedApi
from watch.job_run import JobRun, PackedImage, PodOutput

SERVER = "docker.io/vllm/vllm-openai@sha256:" + "5" * 64
DIGEST = "sha256:" + "7" * 64
MODEL = "qwen2.5-0.5b-instruct"
KEY: dict[str, Any] = {
    "model": DIGEST,
    "server": SERVER.partition("@")[2],
    "gpu": "nvidia-l4",
    "gpus": 1,
    "args": {"--max-model-len": "8192", "--enable-lora": ""},
    "env": {"VLLM_USE_AOT_COMPILE": "1"},
}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: RecordedApi) -> Path:
    """The project with its stack dev, whose server is by digest; its outputs in the file outputs.json."""
    for name in ("Pulumi.yaml", "__main__.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    for name in ("MODELIMAGE_USERNAME", "MODELIMAGE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    write(tmp_path, cluster)
    return tmp_path


def write(folder: Path, cluster: RecordedApi, **changed: Any) -> None:
    settings = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    config = settings["config"]
    config["oci-model-serving:platforms"] = {"kserve": {"server": {"image": SERVER}}}
    config.update({f"oci-model-serving:{key}": value for key, value in changed.items()})
    file = folder / "Pulumi.dev.yaml"
    file.write_text(yaml.safe_dump(settings))
    outputs = outputs_of(deploy("dev", config_file=file, digest=DIGEST))
    (folder / "outputs.json").write_text(json.dumps({**outputs, "kubeconfig": cluster.kubeconfig}))


def make(*more: str, model: str = MODEL) -> int:
    return main(["cache", "make", "--stack", "dev", "--model", model, "--outputs", "outputs.json", *more])


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The Jobs that were run; each has packed an image."""
    jobs: list[Any] = []

    def run(self: JobRun) -> dict[int, PodOutput]:
        jobs.append(self._job)
        image = PackedImage(digest="sha256:" + "e" * 64, size_bytes=7)
        return {1: PodOutput(share=1, layers=1, size_bytes=7, uploaded_bytes=7, image=image)}

    monkeypatch.setattr(JobRun, "run", run)
    return jobs


@pytest.mark.usefixtures("stack")
def test_the_line_to_write_is_printed_and_the_job_is_of_what_is_deployed(
    made: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert make() == 0

    (job,) = made
    out = capsys.readouterr().out
    repository = str(job.destination)
    assert f"write in Pulumi.dev.yaml, below models.{MODEL}:" in out
    assert f"compileCache: {{digest: {repository}@sha256:{'e' * 64}}}" in out
    assert repository.endswith("/qwen2-5-0-5b-instruct-compile-cache")
    assert job.making.image.digest == DIGEST
    assert job.making.key.server == KEY["server"]
    assert (job.place.namespace, job.place.pods) == ("default", 1)


@pytest.mark.usefixtures("stack")
def test_what_it_printed_is_a_setting(made: list[Any], stack: Path, cluster: RecordedApi) -> None:
    assert make("--json", "--to", "registry.example/caches/qwen") == 0
    file = yaml.safe_load((stack / "Pulumi.dev.yaml").read_text())
    models = file["config"]["oci-model-serving:models"]
    line = f"compileCache: {{digest: {made[0].destination}@sha256:{'e' * 64}}}"
    models[MODEL] |= yaml.safe_load(line)
    write(stack, cluster, models=models)

    told = json.loads((stack / "outputs.json").read_text())["models"][MODEL]["compile_cache"]
    assert told["image"] == f"registry.example/caches/qwen@sha256:{'e' * 64}"


@pytest.mark.usefixtures("stack")
def test_where_the_stack_builds_in_its_cluster_the_pod_is_made_unless_told(
    made: list[Any], stack: Path, cluster: RecordedApi
) -> None:
    build = {"namespace": "builds", "serviceAccount": "packer", "registrySecret": "push", "image": "r.example/py:3"}
    write(stack, cluster, clusterBuild=build)
    assert make() == 0
    assert make("--namespace", "other", "--service-account", "me", "--timeout", "900") == 0

    first, second = (job.place for job in made)
    assert (first.namespace, first.service_account, first.registry_secret) == ("builds", "packer", "push")
    assert first.image == "r.example/py:3"
    assert (second.namespace, second.service_account, second.timeout_seconds) == ("other", "me", 900)


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("changed", "words", "told"),
    [
        ({"platforms": {"kserve": {}}}, (), "platforms.kserve.server.image names a tag"),
        ({}, ("--namespace", "models"), "is the models', where the cluster takes no image of a build's step"),
        ({}, ("--to", "oci:folder"), "a pod's disk is gone after it"),
    ],
)
def test_what_can_have_no_cache_is_refused(
    stack: Path,
    cluster: RecordedApi,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, Any],
    words: tuple[str, ...],
    told: str,
) -> None:
    write(stack, cluster, **changed)

    assert make(*words) == 2
    assert told in capsys.readouterr().err


@pytest.mark.usefixtures("stack", "made")
def test_a_model_that_is_not_deployed_is_named_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert make(model="other") == 2
    assert MODEL in capsys.readouterr().err


def test_show_tells_what_a_cache_was_made_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "vllm"
    folder.mkdir()
    (folder / "model").write_bytes(b"compiled")
    reference = pack_cache(str(folder), f"oci:{tmp_path}/layout", KEY).reference

    assert main(["cache", "show", reference]) == 0
    out = capsys.readouterr().out
    assert f"model: {DIGEST}" in out
    assert "gpu: nvidia-l4, 1 a pod" in out
    assert "argument: --max-model-len=8192\nargument: --enable-lora\nvariable: VLLM_USE_AOT_COMPILE=1\n" in out
    assert main(["cache", "show", reference, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["key"] == {"version": 1, **KEY}

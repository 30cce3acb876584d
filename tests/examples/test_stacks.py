"""The two examples that people know from elsewhere, and the one by stream, as this program deploys them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from oci_model_serving.reference import digest_tag
from oms.main import main
from policy.rules import check
from tests import crds, serving
from tests.mocks import DIGEST, Recording, plain

EXAMPLES = serving.ROOT / "examples"
FILES = {name: EXAMPLES / name / f"Pulumi.{name}.yaml" for name in ("qwen-modelcar", "opt-125m-kubeai", "stream")}


@pytest.fixture(autouse=True, scope="module")
def _in_the_project() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(serving.ROOT)
        yield


@pytest.fixture(scope="module")
def qwen() -> Recording:
    return serving.run(serving.settings_of(FILES["qwen-modelcar"]))


@pytest.fixture(scope="module")
def opt() -> Recording:
    return serving.run(serving.settings_of(FILES["opt-125m-kubeai"]))


def test_qwen_is_wired_where_the_runbook_looks_for_it(qwen: Recording) -> None:
    service = serving.one(qwen, "InferenceService", "qwen-oci")

    predictor = service["spec"]["predictor"]
    assert predictor["model"]["storageUri"] == f"oci://us-central1-docker.pkg.dev/demo/models/qwen-oci@{DIGEST}"
    assert predictor["model"]["args"] == ["--served-model-name=qwen2.5-0.5b-instruct", "--max-model-len=auto"]
    assert predictor["model"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    (container,) = serving.one(qwen, "ServingRuntime")["spec"]["containers"]
    assert container["args"][0] == "--model=/mnt/models"
    assert "vllm-openai:v0.23.0" in container["image"]
    assert crds.problems(service, "kserve-v0.19.0") == []


def test_qwens_platform_is_the_runbooks(qwen: Recording) -> None:
    releases = {one.name: one.inputs for one in qwen.of_type("kubernetes:helm.sh/v3:Release")}

    assert releases["kserve-resources"]["version"] == "v0.19.0"
    assert releases["kserve-resources"]["values"]["kserve"]["storage"]["enableModelcar"] is True
    (reader,) = [
        one.inputs
        for one in qwen.of_type("gcp:artifactregistry/repositoryIamMember:RepositoryIamMember")
        if one.inputs["role"] == "roles/artifactregistry.reader"
    ]
    assert reader["member"].startswith("serviceAccount:qwen-l4@")
    (pool,) = plain(qwen.outputs["node_pools"]).values()
    assert pool["disk_size_gb"] == 200


def test_opt_is_the_pages_model_by_digest(opt: Recording) -> None:
    model = serving.one(opt, "Model")

    expected: dict[str, Any] = {
        "features": ["TextGeneration"],
        "url": f"oci://docker.io/myorg/opt-125m-cpu:{digest_tag(DIGEST)}",
        "engine": "VLLM",
        "resourceProfile": "cpu:1",
        "minReplicas": 1,
    }
    assert model["metadata"]["name"] == "opt-125m-cpu"
    assert {key: model["spec"][key] for key in expected} == expected
    assert crds.problems(model, crds.KUBEAI) == []
    assert "vllm-cpu" in model["spec"]["image"]


def test_opts_pickle_is_converted_in_the_build(opt: Recording) -> None:
    (build,) = [one for one in opt.of_type("command:local:Command") if one.name == "opt-125m-cpu-build"]

    assert "--convert safetensors" in build.inputs["create"]


def test_the_streamed_models_pods_reach_their_registry_by_name_and_hold_no_weights() -> None:
    recording = serving.run(serving.settings_of(FILES["stream"]))

    (sidecar,) = serving.one(recording, "InferenceService")["spec"]["predictor"]["initContainers"]
    assert sidecar["args"][0] == f"oci+stream://us-central1-docker.pkg.dev/demo/models/qwen@{DIGEST}"
    (rule,) = serving.one(recording, "FQDNNetworkPolicy")["spec"]["egress"]
    assert rule["matches"] == [{"name": "us-central1-docker.pkg.dev"}]
    (brought,) = serving.of_kind(recording, "DaemonSet")
    assert DIGEST not in json.dumps(brought)


@pytest.mark.parametrize("name", FILES)
def test_an_examples_plan_is_shown_without_a_cloud_and_breaks_no_rule(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["plan", "--stack", "example", "--config-file", str(FILES[name]), "--format", "json"])

    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert [found for found in check(json.loads(shown.out), "example") if found.mandatory] == []

"""The committed stacks, run as `python -m offline` runs them."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import modelimage
from oci_model_serving.reference import digest_tag

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "0123456789abcdef" * 4


def offline(*arguments: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "offline", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def plan(*arguments: str) -> dict[str, Any]:
    done = offline(*arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def inputs(data: dict[str, Any], type_: str) -> list[dict[str, Any]]:
    return [item["inputs"] for item in data["resources"] if item["type"] == type_]


@pytest.fixture(scope="module")
def dev() -> dict[str, Any]:
    return plan("--stack", "dev")


def test_dev_shows_the_registry_and_the_reader_on_the_account_of_its_nodes(dev: dict[str, Any]) -> None:
    (repository,) = inputs(dev, "gcp:artifactregistry/repository:Repository")
    assert repository["dockerConfig"] == {"immutableTags": True}
    accounts = dev["outputs"]["node_service_accounts"]
    readers = inputs(dev, "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember")
    members = {reader["member"] for reader in readers if reader["role"] == "roles/artifactregistry.reader"}
    assert {f"serviceAccount:{email}" for email in accounts.values()} <= members


def test_dev_shows_a_gpu_pool_with_room_for_images(dev: dict[str, Any]) -> None:
    pools = [
        pool for pool in inputs(dev, "gcp:container/nodePool:NodePool") if "guestAccelerators" in pool["nodeConfig"]
    ]
    assert pools
    assert all(pool["nodeConfig"]["bootDisk"]["sizeGb"] >= 200 for pool in pools)


def test_dev_shows_kserve_with_modelcar_and_a_service_that_waits_for_its_build(dev: dict[str, Any]) -> None:
    releases = inputs(dev, "kubernetes:helm.sh/v3:Release")
    (resources,) = [release for release in releases if release["chart"].endswith("kserve-resources")]
    assert resources["values"]["kserve"]["storage"]["enableModelcar"] is True
    (service,) = inputs(dev, "kubernetes:serving.kserve.io/v1beta1:InferenceService")
    assert service["spec"]["predictor"]["model"]["storageUri"] == "known after build of qwen2.5-0.5b-instruct"


def test_prod_waits_for_dev_and_serves_its_digest_when_that_is_known(dev: dict[str, Any], tmp_path: Path) -> None:
    made = plan("--stack", "prod")
    waiting = json.dumps({"resources": made["resources"], "outputs": made["outputs"]})
    assert "known after an update of stack acme/oci-model-serving/dev" in waiting
    assert not re.search(r"sha256:[0-9a-f]{64}", waiting.replace("busybox@sha256:", ""))
    outputs = copy.deepcopy(dev["outputs"])
    for model in outputs["models"].values():
        repository = f"{outputs['registry_url']}/{model['name']}"
        model.update(
            image=f"{repository}@{DIGEST}",
            digest=DIGEST,
            size_bytes=10**9,
            storage_uri=f"oci://{repository}@{DIGEST}",
            revision="0123456789abcdef",
            cold_start=None,
        )
    (tmp_path / "dev.json").write_text(json.dumps(outputs))
    promoted = plan("--stack", "prod", "--outputs", f"acme/oci-model-serving/dev={tmp_path / 'dev.json'}")
    (service,) = inputs(promoted, "kubernetes:serving.kserve.io/v1beta1:InferenceService")
    (model,) = inputs(promoted, "kubernetes:kubeai.org/v1:Model")
    assert service["spec"]["predictor"]["model"]["storageUri"].endswith(f"@{DIGEST}")
    assert model["spec"]["url"].endswith(f":{digest_tag(DIGEST)}")


def test_the_local_stack_builds_and_its_manifests_serve_the_digest_that_was_built(tmp_path: Path) -> None:
    weights = tmp_path / "model"
    modelimage.write_tiny_model(str(weights))
    settings = (ROOT / "Pulumi.local.yaml").read_text()
    (tmp_path / "settings.yaml").write_text(settings.replace("source: .local/model", f"source: {weights}"))
    project = tmp_path / "project"
    project.mkdir()
    for name in ("Pulumi.yaml", "__main__.py", "components", "modelimage", "oci_model_serving", "watch"):
        (project / name).symlink_to(ROOT / name)
    done = offline(
        "--config-file", "../settings.yaml", "--build", "--format", "json", "--manifests", "out", folder=project
    )
    assert done.returncode == 0, done.stderr
    for model in json.loads(done.stdout)["outputs"]["models"].values():
        layout = project / ".local" / "images" / model["name"]
        index = json.loads((layout / "index.json").read_text())
        assert model["digest"] in {manifest["digest"] for manifest in index["manifests"]}
        kind, path = ("inferenceservice", "storageUri") if model["platform"] == "kserve" else ("model", "url")
        (file,) = (project / "out" / "objects").glob(f"70-{kind}-{model['namespace']}-{model['name']}.yaml")
        text = yaml.safe_dump(yaml.safe_load(file.read_text()))
        assert (
            f"{path}: {model['storage_uri']}" in text.replace("\n", " ").replace("  ", " ")
            or model["storage_uri"] in text
        )


def test_a_plan_that_is_made_again_is_the_same(dev: dict[str, Any]) -> None:
    assert plan("--stack", "dev") == dev


def test_wrong_settings_are_one_message_with_all_problems_and_exit_code_2(tmp_path: Path) -> None:
    settings = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    settings["config"]["oci-model-serving:models"]["qwen2.5-0.5b-instruct"]["replicas"] = {"min": 3, "max": 1}
    settings["config"]["oci-model-serving:nodePools"]["l4"]["bootDisk"] = {"sizeGb": 100}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    done = offline("--stack", "dev", "--config-file", str(tmp_path / "settings.yaml"))
    assert done.returncode == 2
    assert "replicas" in done.stderr
    assert "bootDisk" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""

"""Promotion: prod takes the image that dev has built, by digest."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.commands import IMAGE
from oci_model_serving.delivery import REVISION_ENV, REVISION_LABEL, Delivery
from oci_model_serving.outputs import CONTRACT_VERSION
from oci_model_serving.reference import ImageReference
from offline.recording import COMMAND_TYPE, Recording
from offline.values import KnownAfter
from oms.main import main

from .deployed import ROOT, deploy, outputs_of
from .mocks import DIGEST, plain

IMAGE_KEY = re.compile(r"metadata\.annotations\.allowed\.oci-model-serving/.+\.[0-9a-f]{16}")
DEV = "acme/oci-model-serving/dev"
MODEL = "qwen2.5-0.5b-instruct"
OTHER = "sha256:" + "f" * 64
ISVC = "kubernetes:serving.kserve.io/v1beta1:InferenceService"
KUBEAI_MODEL = "kubernetes:kubeai.org/v1:Model"
OWN = "us-central1-docker.pkg.dev/demo-prod/models"
DEVS = "us-central1-docker.pkg.dev/demo/models"


@pytest.fixture(scope="module")
def dev_outputs() -> dict[str, Any]:
    return outputs_of(deploy("dev"))


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def outputs_file(folder: Path, outputs: dict[str, Any], name: str = "dev.json") -> Path:
    file = folder / name
    file.write_text(json.dumps(outputs))
    return file


def of_digest(outputs: dict[str, Any], digest: str) -> dict[str, Any]:
    return dict(json.loads(json.dumps(outputs).replace(DIGEST, digest)))


def prod_settings(folder: Path, **changes: Any) -> Path:
    """Prod's settings with these changes to its KServe model."""
    settings = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())
    settings["config"]["oci-model-serving:models"][MODEL].update(changes)
    file = folder / "Pulumi.prod.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def commands(recording: Recording, key: str) -> list[list[str]]:
    runs = [resource for resource in recording.of_type(COMMAND_TYPE) if resource.name.startswith(f"{key}-")]
    return [run.runs.arguments for run in runs if run.runs is not None and run.runs.module == IMAGE]


def test_a_new_digest_of_dev_is_all_that_changes_in_prod(
    dev_outputs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = []
    for digest in (DIGEST, OTHER):
        file = outputs_file(tmp_path, of_digest(dev_outputs, digest))
        assert main(["plan", "--stack", "prod", "--outputs", f"{DEV}={file}", "--format", "json"]) == 0
        plans.append(tmp_path / f"{digest[-4:]}.json")
        plans[-1].write_text(capsys.readouterr().out)

    assert main(["diff", *map(str, plans), "--stack", "prod", "--format", "json"]) == 0
    diff = json.loads(capsys.readouterr().out)
    assert diff["counts"]["create"] == diff["counts"]["delete"] == 0
    touched = {item["type"] for item in diff["resources"]}
    assert {ISVC, KUBEAI_MODEL} <= touched
    changes = [change for item in diff["resources"] for change in item["changes"]] + diff["outputs"]
    for change in changes:
        if IMAGE_KEY.fullmatch(change["path"]):
            # Another image is another key, and the patch another one: both are allowed until the rollout is over.
            assert any(str(change[side]).endswith((DIGEST, OTHER)) for side in ("before", "after")), change
            continue
        if change["path"].endswith((f".{REVISION_LABEL}", f".{REVISION_ENV}", ".revision")):
            # A hash of what makes the pods: another digest is another revision.
            continue
        before, after = (_without_revision(json.dumps(change[side])) for side in ("before", "after"))
        renamed = before.replace(DIGEST, OTHER).replace(DIGEST.replace(":", "-"), OTHER.replace(":", "-"))
        assert after == renamed != before, change["path"]
    replaced = [change["path"] for item in diff["resources"] for change in item["changes"] if change["replaces"]]
    assert {path.partition("[")[0] for path in replaced if not IMAGE_KEY.fullmatch(path)} <= {"triggers"}


def _without_revision(text: str) -> str:
    # In the watch's stdin, JSON in a JSON string.
    return re.sub(r'(revision\\*": \\*")[0-9a-f]{16}', r"\1", text)


def test_what_else_changes_in_dev_does_not_reach_prod(
    dev_outputs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = json.loads(json.dumps(dev_outputs))
    moved["cluster"]["version"] = "1.36"
    moved["models"][MODEL] |= {"url": "http://elsewhere.example.com", "paused": True, "served_name": "other"}
    plans = []
    for name, outputs in (("before", dev_outputs), ("after", moved)):
        file = outputs_file(tmp_path, outputs)
        assert main(["plan", "--stack", "prod", "--outputs", f"{DEV}={file}", "--format", "json"]) == 0
        plans.append(tmp_path / f"{name}.json")
        plans[-1].write_text(capsys.readouterr().out)
    assert main(["diff", *map(str, plans), "--stack", "prod"]) == 0
    assert capsys.readouterr().out == "No differences.\n"


def test_a_copied_image_is_served_from_prods_own_registry_with_devs_digest(dev_outputs: dict[str, Any]) -> None:
    prod = deploy("prod", stack_outputs={DEV: dev_outputs})
    service = prod.only(ISVC).inputs
    uri = service["spec"]["predictor"]["model"]["storageUri"]
    assert uri == f"oci://{OWN}/qwen2-5-0-5b-instruct@{DIGEST}"
    assert commands(prod, MODEL) == [
        ["copy", dev_outputs["models"][MODEL]["image"], f"{OWN}/qwen2-5-0-5b-instruct", "--for", "modelcar", "--json"]
    ]
    url = prod.only(KUBEAI_MODEL).inputs["spec"]["url"]
    assert url == Delivery.KUBEAI.uri(ImageReference(f"{OWN}/qwen2-5-0-5b-openai", DIGEST))
    assert {model["digest"] for model in prod.outputs["models"].values()} == {DIGEST}
    assert DEVS not in json.dumps(plain(prod.outputs))


def test_without_a_copy_prod_serves_devs_image_and_checks_that_it_exists(
    dev_outputs: dict[str, Any], tmp_path: Path
) -> None:
    prod = deploy("prod", config_file=prod_settings(tmp_path, copy=False), stack_outputs={DEV: dev_outputs})
    image = dev_outputs["models"][MODEL]["image"]
    assert prod.only(ISVC).inputs["spec"]["predictor"]["model"]["storageUri"] == f"oci://{image}"
    assert commands(prod, MODEL) == [["inspect", image, "--for", "modelcar", "--json"]]


@pytest.mark.parametrize("copied", [True, False])
def test_a_literal_digest_promotes_like_a_stack(tmp_path: Path, dev_outputs: dict[str, Any], copied: bool) -> None:
    image = dev_outputs["models"][MODEL]["image"]
    settings = yaml.safe_load(prod_settings(tmp_path).read_text())
    models = settings["config"]["oci-model-serving:models"]
    models[MODEL] = {key: value for key, value in models[MODEL].items() if key != "fromStack"}
    models[MODEL] |= {"digest": image, "copy": copied}
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text(yaml.safe_dump(settings))
    prod = deploy("prod", config_file=file, stack_outputs={DEV: dev_outputs})
    repository = f"{OWN}/qwen2-5-0-5b-instruct" if copied else image.partition("@")[0]
    assert prod.outputs["models"][MODEL]["image"] == f"{repository}@{DIGEST}"


def test_the_promoted_size_counts_against_prods_disks(dev_outputs: dict[str, Any]) -> None:
    huge = json.loads(json.dumps(dev_outputs))
    huge["models"][MODEL]["size_bytes"] = 150_000_000_000
    with pytest.raises(Exception, match=r"150 GB, .* 150 GB\) need 753.*write sizeGb: 753"):
        deploy("prod", size_bytes=150_000_000_000, stack_outputs={DEV: huge})


def test_before_dev_is_deployed_the_plan_names_what_it_waits_for(dev_outputs: dict[str, Any]) -> None:
    pending = {**dev_outputs, "models": {MODEL: {"image": KnownAfter("build of m"), "size_bytes": KnownAfter("b")}}}
    prod = deploy("prod", stack_outputs={DEV: pending})
    uri = prod.only(ISVC).inputs["spec"]["predictor"]["model"]["storageUri"]
    assert uri == KnownAfter(f"an update of stack {DEV}")


def changed(outputs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**outputs, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": {}}, [f"serves no model '{MODEL}'", "it serves none"]),
        ({"models": {"qwen2.5-0.5b-instruct-v2": {}}}, [f"serves no model '{MODEL}'", "did you mean"]),
        ({"contract_version": None}, ["has no output contract_version", "run `pulumi up` on it, or correct"]),
        (
            {"contract_version": CONTRACT_VERSION - 1},
            [f"contract {CONTRACT_VERSION - 1}", "run `pulumi up` on it with"],
        ),
        ({"contract_version": CONTRACT_VERSION + 1}, [f"contract {CONTRACT_VERSION + 1}", "update this program"]),
    ],
)
def test_a_producer_that_cannot_be_promoted_is_told_with_the_remedy(
    dev_outputs: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    said: list[str],
) -> None:
    file = outputs_file(tmp_path, changed(dev_outputs, **changes))
    assert main(["plan", "--stack", "prod", "--outputs", f"{DEV}={file}", "--format", "json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(text in captured.err for text in [DEV, *said]), captured.err
    assert "Traceback" not in captured.err


def test_an_image_by_tag_in_the_outputs_is_refused(
    dev_outputs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tagged = json.loads(json.dumps(dev_outputs))
    tagged["models"][MODEL]["image"] = f"{DEVS}/m:v1"
    file = outputs_file(tmp_path, tagged)
    assert main(["plan", "--stack", "prod", "--outputs", f"{DEV}={file}"]) == 2
    error = capsys.readouterr().err
    assert "names the tag 'v1'" in error
    assert "Traceback" not in error


def test_a_stack_that_there_is_not_is_told_with_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = prod_settings(tmp_path, fromStack="acme/oci-model-serving/staging")
    assert main(["plan", "--stack", "prod", "--config-file", str(settings)]) == 2
    error = capsys.readouterr().err
    assert "acme/oci-model-serving/staging" in error
    assert "--outputs acme/oci-model-serving/staging=FILE" in error
    assert "Traceback" not in error

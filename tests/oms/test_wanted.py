"""What drift is held to: the objects of the settings of today, with the images that are deployed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from oci_model_serving.outputs import StackOutputs, parse
from oms.wanted import wanted_objects
from tests.deployed import ROOT, deploy, outputs_of

OTHER = "sha256:" + "7" * 64


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def deployed(stack: str, **given: Any) -> StackOutputs:
    return parse(outputs_of(deploy(stack, **given)))


def test_every_value_is_known_and_is_that_of_the_deployed_image() -> None:
    outputs = deployed("dev", digest=OTHER)
    (model,) = outputs.models.values()

    found = wanted_objects("dev", outputs, [model])

    assert all(not one.unknown for one in found)
    (service,) = [one.body for one in found if one.body["kind"] == "InferenceService"]
    assert service["spec"]["predictor"]["model"]["storageUri"] == model.storage_uri
    assert OTHER in model.storage_uri
    assert service["spec"]["predictor"]["labels"] == {"oci-model-serving/revision": model.revision}


def test_a_promoted_image_is_taken_from_the_stacks_own_outputs() -> None:
    dev = outputs_of(deploy("dev"))
    outputs = deployed("prod", stack_outputs={"acme/oci-model-serving/dev": dev})

    found = wanted_objects("acme/oci-model-serving/prod", outputs, list(outputs.models.values()))

    uris = {
        (one.body["spec"].get("predictor") or {"model": {"storageUri": one.body["spec"].get("url")}})["model"][
            "storageUri"
        ]
        for one in found
        if one.body["kind"] in {"InferenceService", "Model"}
    }
    assert uris == {model.storage_uri for model in outputs.models.values()}


def test_objects_of_models_that_are_not_asked_for_are_left_out() -> None:
    dev = outputs_of(deploy("dev"))
    outputs = deployed("prod", stack_outputs={"acme/oci-model-serving/dev": dev})
    first, *others = outputs.models.values()

    titles = [one.title for one in wanted_objects("prod", outputs, [first])]

    assert others
    assert any(first.name in title for title in titles)
    assert not any(
        other.name in title.split("/")[-1] and other.name != first.name for other in others for title in titles
    )


def test_what_the_files_say_and_adapters_are_those_that_are_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    (model,) = settings["config"]["oci-model-serving:models"].values()
    model["adapters"] = {
        "sql": {"source": "hf://org/lora@7ae557604adf67be50417f59c2c2f167def9a775"},
        "up": {"fromStack": "acme/oci-model-serving/stage", "model": "other"},
    }
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(yaml.safe_dump(settings))
    for name in ("Pulumi.yaml", "__main__.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    lora = f"registry.example/lora@{OTHER}"
    there = {"other": {"adapters": {"up": {"image": lora, "digest": OTHER, "size_bytes": 1}}}}
    stage = {"acme/oci-model-serving/stage": {"contract_version": 1, "models": there}}
    name = "qwen2-5-0-5b-instruct"
    traits: dict[str, dict[str, Any]] = {
        name: {"weights_file": "m.gguf"},
        f"{name}-sql": {"lora_rank": 64},
        "lora": {"lora_rank": 8},
    }
    recording = deploy("dev", config_file=file, stack_outputs=stage, traits=traits)
    outputs = parse(outputs_of(recording))
    monkeypatch.chdir(tmp_path)

    found = wanted_objects("dev", outputs, list(outputs.models.values()))

    assert all(not one.unknown for one in found)
    (predictor,) = [one.body["spec"]["predictor"] for one in found if one.body["kind"] == "InferenceService"]
    assert {"--model=/mnt/models/m.gguf", "--max-lora-rank=64"} <= set(predictor["model"]["args"])
    assert lora in [volume["image"]["reference"] for volume in predictor["volumes"] if "image" in volume]
    assert predictor["labels"] == {"oci-model-serving/revision": outputs.models["qwen2.5-0.5b-instruct"].revision}


def test_of_a_secret_the_keys_are_wanted_and_no_value_leaves_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = {"server": "registry.example", "username": "me", "password": {"secure": "v1:abc:def"}}
    settings = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    settings["config"]["oci-model-serving:pullSecrets"] = {"private": secret}
    for name in ("Pulumi.yaml", "__main__.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "Pulumi.dev.yaml").write_text(yaml.safe_dump(settings))
    outputs = deployed("dev")
    monkeypatch.chdir(tmp_path)

    found = wanted_objects("dev", outputs, list(outputs.models.values()))

    (body,) = [one.body for one in found if one.body["kind"] == "Secret"]
    assert body["stringData"] == {".dockerconfigjson": ""}
    assert "v1:abc" not in json.dumps([one.body for one in found])


@pytest.mark.parametrize("fits", [True, False])
def test_a_compile_cache_is_where_it_is_used_and_an_empty_folder_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fits: bool
) -> None:
    settings = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    config = settings["config"]
    config["oci-model-serving:platforms"] = {"kserve": {"server": {"image": f"docker.io/vllm/vllm@{OTHER}"}}}
    (model,) = config["oci-model-serving:models"].values()
    model["compileCache"] = {"digest": f"registry.example/cache@{OTHER}"}
    for name in ("Pulumi.yaml", "__main__.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(yaml.safe_dump(settings))
    raw = outputs_of(deploy("dev", config_file=file))
    (told,) = (one["compile_cache"] for one in raw["models"].values())
    told["used"] = fits
    outputs = parse(raw)
    monkeypatch.chdir(tmp_path)

    found = wanted_objects("dev", outputs, list(outputs.models.values()))

    assert all(not one.unknown for one in found)
    (predictor,) = [one.body["spec"]["predictor"] for one in found if one.body["kind"] == "InferenceService"]
    (volume,) = [one for one in predictor["volumes"] if one["name"] == "compile-cache"]
    assert ("image" in volume) == fits

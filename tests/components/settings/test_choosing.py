"""What `delivery: auto` becomes, and that nothing decides but what the settings say of nodes and server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.prediction import predict
from components.settings import choosing, foretelling
from components.settings.deliveries import AskedDelivery
from components.settings.reader import SettingsError
from components.settings.stack import Settings
from modelimage.forecast import Forecast
from modelimage.traits import Traits
from oci_model_serving.delivery import Delivery
from tests.components.settings.reading import read
from tests.serving import IMAGE, gke, local
from tests.weights import write_model

POOL = {
    "accelerator": "nvidia-l4",
    "machineType": "g2-standard-12",
    "zones": ["us-central1-a"],
    "bootDisk": {"sizeGb": 200},
}
SPOT = {**POOL, "spot": True}
ZERO = {"replicas": {"min": 0, "max": 1}, "scaling": {"query": "up"}}
HUB = f"hf://org/name@{'a' * 40}"
_NO_SET, _UNKNOWN = "are not known to be one set of safetensors", "is not known for the streaming loader"
KEDA = {"keda": True, "prometheus": "http://prometheus"}


def stack(pool: Mapping[str, Any], kserve: Mapping[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    models = {"m": {"digest": IMAGE, "sizeGb": 16, "nodePool": "p", "delivery": "auto", **model}}
    return gke(models, nodePools={"p": dict(pool)}, platforms={"kserve": {**KEDA, **(kserve or {})}})


def became(values: dict[str, Any]) -> tuple[Delivery, str]:
    settings = read(values)
    assert settings.models["m"].delivery is settings.choices["m"].delivery
    return settings.choices["m"].delivery, settings.choices["m"].why


@pytest.mark.parametrize(
    ("pool", "model", "why"),
    [
        (SPOT, {}, "nodePools.p.spot"),
        ({**POOL, "flexStart": True}, {}, "nodePools.p.flexStart"),
        (POOL, ZERO, "models.m.replicas.min: 0"),
    ],
    ids=["spot", "flex start", "to zero"],
)
def test_models_whose_pods_come_to_new_nodes_are_streamed(
    pool: dict[str, Any], model: dict[str, Any], why: str
) -> None:
    assert became(stack(pool, **model)) == (Delivery.STREAM, f"pods come to new nodes, which do not last ({why})")


@pytest.mark.parametrize(
    ("pool", "model", "why"),
    [
        ({**SPOT, "minNodes": 1}, {}, "nodePools.p.minNodes: 1"),
        ({**SPOT, "warmNodes": 1}, {}, "nodePools.p.warmNodes: 1"),
        (SPOT, {"warm": "prepull"}, "models.m.warm: prepull"),
        (POOL, {}, "nodes last as long as the pods on them"),
    ],
    ids=["nodes are kept", "nodes are kept beside", "prepulled", "pods are kept"],
)
def test_models_whose_nodes_keep_the_image_mount_it(pool: dict[str, Any], model: dict[str, Any], why: str) -> None:
    delivery, said = became(stack(pool, **model))
    assert delivery is Delivery.NATIVE
    assert why in said


@pytest.mark.parametrize(
    ("kserve", "model", "why"),
    [
        ({}, {"args": ["--load-format=safetensors"]}, "models.m.args has --load-format=safetensors"),
        ({}, {"args": ["--quantization=bitsandbytes"]}, "models.m.args has --quantization=bitsandbytes"),
        ({}, {"env": {"AWS_ENDPOINT_URL": "http://x"}}, "models.m.env.AWS_ENDPOINT_URL"),
        ({}, {"server": {"image": "registry.example/tgi:3"}}, "server names another server"),
        ({}, {"task": "embedding"}, "the model is for embedding"),
        ({"server": {"image": f"registry.example/vllm@sha256:{'b' * 64}"}}, {}, _UNKNOWN),
        ({"server": {"features": []}}, {}, "has no streaming loader"),
        ({}, {"digest": None, "source": "hf://org/name-GGUF@" + "a" * 40}, _NO_SET),
        ({}, {"digest": None, "source": HUB, "files": {"pickle": "allow"}}, _NO_SET),
    ],
)
def test_what_surely_or_perhaps_cannot_be_streamed_is_mounted_and_the_plan_says_why(
    kserve: dict[str, Any], model: dict[str, Any], why: str
) -> None:
    values = stack(SPOT, kserve, **model)
    values["models"]["m"] = {key: value for key, value in values["models"]["m"].items() if value is not None}
    delivery, said = became(values)
    assert delivery is Delivery.NATIVE
    assert said.startswith(("not stream: ", "not stream unless you say so: "))
    assert why in said


def test_several_gpus_that_would_each_read_all_are_no_stream_unless_they_share() -> None:
    pool = {**SPOT, "count": 4, "machineType": "g2-standard-48", "bootDisk": {"sizeGb": 400}}
    assert became(stack(pool)) == (
        Delivery.NATIVE,
        "not stream unless you say so: each of 4 GPUs' processes would read all of the weights",
    )
    assert "by stream " in predict(read(stack(pool))).deliveries["m"].text  # who decides has the numbers
    shared = ["--load-format=runai_streamer", '--model-loader-extra-config={"distributed":true}']
    assert became(stack(pool, args=shared))[0] is Delivery.STREAM


@pytest.mark.parametrize(
    ("kserve", "cluster", "expected"),
    [
        ({"version": "v0.19.0"}, {}, Delivery.MODELCAR),
        ({}, {"version": "1.34", "channel": "RAPID"}, Delivery.MODELCAR),
        ({}, {}, Delivery.NATIVE),
    ],
    ids=["KServe knows no volume", "Kubernetes has none", "both can"],
)
def test_it_is_mounted_as_a_volume_where_kserve_and_the_cluster_can(
    kserve: dict[str, Any], cluster: dict[str, Any], expected: Delivery
) -> None:
    values = stack(POOL, kserve)
    values["cluster"] = {"create": {"name": "demo", **cluster}}
    assert became(values)[0] is expected


def test_a_cluster_without_image_volumes_streams_too() -> None:
    values = stack(SPOT)
    values["cluster"] = {"create": {"name": "demo", "version": "1.34", "channel": "RAPID"}}
    assert became(values)[0] is Delivery.STREAM


def test_without_a_node_pool_nothing_is_known_of_the_nodes() -> None:
    settings = read(local({"m": {"digest": IMAGE, "delivery": "auto"}}))
    assert settings.models["m"].delivery is Delivery.NATIVE
    assert "nothing is known of the nodes" in settings.choices["m"].why


def test_a_folder_that_is_no_set_of_safetensors_is_mounted(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    (model / "config.json").write_text(json.dumps({"architectures": ["Qwen2ForCausalLM"]}))
    values = stack(SPOT, source=str(model))
    del values["models"]["m"]["digest"]
    assert became(values)[0] is Delivery.STREAM
    (model / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    delivery, why = became(values)
    assert delivery is Delivery.NATIVE
    assert "the model is for " in why


FORECASTS = {
    "nothing": {},
    "a set": {"m": Forecast((10,), "safetensors", Traits(streams=True))},
    "no set": {"m": Forecast((10,), "safetensors", Traits())},
    "pickles": {"m": Forecast((10,), "pytorch", Traits())},
}


@pytest.mark.parametrize("told", FORECASTS)
@pytest.mark.parametrize("size_gb", [None, 0.1, 500.0])
def test_neither_the_hub_nor_the_size_moves_a_model(
    monkeypatch: pytest.MonkeyPatch, told: str, size_gb: float | None
) -> None:
    seen: list[Settings] = []

    def unchosen(settings: Settings) -> Settings:
        seen.append(settings)
        return settings

    monkeypatch.setattr(choosing, "chosen", unchosen)
    values = stack(SPOT, source=HUB)
    del values["models"]["m"]["digest"], values["models"]["m"]["sizeGb"]
    read(values)
    sizes = {} if size_gb is None else {"m": size_gb}
    monkeypatch.undo()
    found = choosing.chosen(replace(seen[0], forecasts=FORECASTS[told], image_sizes_gb=sizes))
    assert found.choices["m"].delivery is found.models["m"].delivery is Delivery.STREAM


def test_what_the_hub_says_afterwards_is_told_as_of_every_streamed_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foretelling, "forecasts_of", lambda *_: FORECASTS["pickles"])
    values = stack(SPOT, source=HUB)
    del values["models"]["m"]["digest"]
    with pytest.raises(SettingsError, match=r"models\.m\.delivery: .*the weights are pytorch"):
        read(values)


def test_a_model_that_does_not_ask_keeps_its_delivery_and_is_no_choice() -> None:
    settings = read(stack(SPOT, delivery="modelcar"))
    assert (settings.models["m"].delivery, settings.choices) == (Delivery.MODELCAR, {})


def test_every_delivery_may_be_asked_for_and_auto() -> None:
    assert {asked.value for asked in AskedDelivery} == {*(delivery.value for delivery in Delivery), "auto"}


def test_a_word_that_is_no_delivery_is_refused_with_all_of_them() -> None:
    with pytest.raises(SettingsError, match=r"models\.m\.delivery: is 'fast': write modelcar, .*stream.* or auto"):
        read(stack(SPOT, delivery="fast"))
    with pytest.raises(SettingsError, match=r"models\.m\.delivery: is empty: write"):
        read(stack(SPOT, delivery=None))


def test_the_plan_says_why_and_what_the_other_way_takes() -> None:
    found = predict(read(stack(SPOT))).deliveries["m"]
    assert found.start
    assert found.other
    assert found.start.on_node < found.other.on_node
    assert "delivery auto is stream: pods come to new nodes" in found.text
    assert found.text.endswith("by native 6.8 min")
    assert found.data()["other"]["delivery"] == "native"
    kept = predict(read(stack({**POOL, "minNodes": 1}))).deliveries["m"]
    said = kept.data()
    least, most = said["other"].pop("total")
    assert said == {
        "delivery": "native",
        "why": "nodes have the image before the pod (nodePools.p.minNodes: 1)",
        "other": {"delivery": "stream"},
    }
    assert (least, most) == pytest.approx((180 + found.start.on_node, 480 + found.start.on_node), abs=0.1)


def test_of_a_model_whose_size_is_not_known_the_plan_says_why_alone() -> None:
    values = stack(SPOT)
    del values["models"]["m"]["sizeGb"]
    assert predict(read(values)).deliveries["m"].text.endswith("which do not last (nodePools.p.spot)")

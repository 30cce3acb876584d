"""LoRA adapters: images of their own, mounted by digest beside the model's, and what the server is told of them."""

from collections.abc import Mapping
from typing import Any

import pytest

from components.serving import admission
from components.serving.unservable import UnservableError
from components.settings.reader import SettingsError
from oci_model_serving.delivery import REVISION_LABEL
from tests import crds, serving
from tests.mocks import DIGEST, Recording, built, plain

LORA = f"registry.example/models/lora@{DIGEST}"
OTHER = LORA.replace(DIGEST, "sha256:" + "b" * 64)
ADAPTERS: dict[str, Any] = {"sql": {"digest": LORA}, "chat": {"digest": OTHER.replace("lora", "talk")}}
DELIVERIES = {"modelcar": {}, "native": {}, "fetch": {"version": "v0.21.0"}}


def run(
    adapters: Mapping[str, Any] = ADAPTERS,
    platform: dict[str, Any] | None = None,
    traits: Mapping[str, Mapping[str, Any]] | None = None,
    size_bytes: int = 1_000_000,
    **fields: Any,
) -> Recording:
    model = {"digest": serving.IMAGE, "nodePool": "l4", "adapters": adapters, **fields}
    keys: dict[str, Any] = {"platforms": {"kserve": platform or {}}}
    answer = built(size_bytes=size_bytes, traits=traits)
    return serving.run(serving.gke({"qwen": model}, **keys), answer=answer)


def predictor(**given: Any) -> dict[str, Any]:
    made: dict[str, Any] = serving.one(run(**given), "InferenceService")["spec"]["predictor"]
    return made


@pytest.mark.parametrize(("delivery", "platform"), DELIVERIES.items())
def test_whatever_brings_the_model_adapters_are_volumes_of_their_images_by_digest(
    delivery: str, platform: dict[str, Any]
) -> None:
    made = predictor(delivery=delivery, platform=platform)

    volumes = {volume["name"]: volume for volume in made["volumes"]}
    assert volumes["adapter-sql"]["image"] == {"reference": LORA, "pullPolicy": "IfNotPresent"}
    assert {"name": "adapter-sql", "mountPath": "/adapters/sql", "subPath": "models", "readOnly": True} in made[
        "model"
    ]["volumeMounts"]
    assert set(volumes) == {"shm", "tmp", "adapter-sql", "adapter-chat"}
    assert made["model"]["storageUri"].endswith(serving.IMAGE)


def test_the_server_loads_all_of_them_at_once_before_the_users_own_arguments() -> None:
    made = predictor(args=["--max-model-len=4096"])

    assert made["model"]["args"] == [
        "--served-model-name=qwen",
        "--enable-lora",
        "--lora-modules",
        "sql=/adapters/sql",
        "chat=/adapters/chat",
        "--max-loras=2",
        "--max-model-len=4096",
    ]


@pytest.mark.parametrize(
    ("ranks", "told"),
    [((8, 8), 8), ((64, 8), 64), ((48, 1), 64), ((260, 16), 320), ((8, 0), 16), ((64, 0), 64), ((0, 0), None)],
)
def test_the_servers_rank_is_the_next_that_it_takes_above_all_of_theirs(
    ranks: tuple[int, int], told: int | None
) -> None:
    traits = {"lora": {"lora_rank": ranks[0]}, "talk": {"lora_rank": ranks[1]}}

    args = predictor(traits=traits)["model"]["args"]

    assert [word for word in args if "rank" in word] == ([f"--max-lora-rank={told}"] if told else [])


def test_a_rank_that_the_server_does_not_take_ends_the_update_with_the_adapters_name() -> None:
    with pytest.raises(UnservableError, match="sql: the adapter has rank 1024, and vLLM takes 512 at most"):
        run(traits={"lora": {"lora_rank": 1024}})


@pytest.mark.parametrize("delivery", ["modelcar", "native"])
def test_the_crds_of_both_kserves_take_the_volumes(delivery: str) -> None:
    for version in ("v0.19.0", "v0.20.0") if delivery == "modelcar" else ("v0.20.0",):
        service = serving.one(run(platform={"version": version}, delivery=delivery), "InferenceService")

        assert crds.problems(service, f"kserve-{version}") == []


def test_another_digest_of_an_adapter_is_another_revision() -> None:
    first, second = (predictor(adapters={"sql": {"digest": digest}}) for digest in (LORA, OTHER))

    assert first["labels"][REVISION_LABEL] != second["labels"][REVISION_LABEL]


def test_the_service_waits_for_every_adapters_image() -> None:
    recording = run()

    service = recording.only("kubernetes:serving.kserve.io/v1beta1:InferenceService")
    assert {"qwen/sql-check", "qwen/chat-check", "qwen-check"} <= serving.after(recording, service)


def test_the_outputs_have_each_adapters_image() -> None:
    made = plain(run().outputs["models"])["qwen"]

    told = made["adapters"]["sql"]
    assert {key: told[key] for key in ("image", "digest", "size_bytes")} == {
        "image": LORA,
        "digest": DIGEST,
        "size_bytes": 1_000_000,
    }
    assert told["traits"]["lora_rank"] == 0
    assert set(made["adapters"]) == {"sql", "chat"}


def test_the_watch_is_told_nothing_new_so_that_an_earlier_states_text_stays() -> None:
    text = plain(run().only("command:local:Command", "qwen-rollout").inputs["stdin"])

    assert "adapters" not in text
    assert "task" not in text
    assert "traits" not in text


def test_adapters_count_on_the_disk_of_the_pool() -> None:
    with pytest.raises(admission.DiskError, match=r"nodePools\.l4\.bootDisk: .*qwen/sql 40 GB"):
        run(size_bytes=40_000_000_000)


def test_warm_nodes_hold_the_adapters_too() -> None:
    for delivery in ("modelcar", "native"):
        daemon = serving.one(run(warm="prepull", delivery=delivery), "DaemonSet", "qwen-prepull")["spec"]["template"][
            "spec"
        ]

        references = [volume["image"]["reference"] for volume in daemon["volumes"]]
        assert {LORA, ADAPTERS["chat"]["digest"]} <= set(references)
        assert len(daemon["containers"][0]["volumeMounts"]) == len(references)


def test_a_cluster_must_mount_image_volumes_for_an_adapters_sake() -> None:
    cluster = {"create": {"name": "demo", "version": "1.34"}}
    models = {"qwen": {"digest": serving.IMAGE, "adapters": ADAPTERS}}

    with pytest.raises(SettingsError, match=r"1\.35"):
        serving.run(serving.gke(models, cluster=cluster))
    serving.run(serving.gke({"qwen": {"digest": serving.IMAGE}}, cluster=cluster))


# What a model is for, and a GGUF.


def args(settings: Mapping[str, Any] | None = None, **traits: Any) -> list[str]:
    plain = {"platform": {"server": {"profile": "plain"}}}
    made: list[str] = predictor(adapters={}, traits={"qwen": traits}, **plain, **(settings or {}))["model"]["args"][1:]
    return made


@pytest.mark.parametrize("task", ["embedding", "reranking", "pooling"])
def test_a_model_that_pools_is_run_so(task: str) -> None:
    assert args(task=task) == ["--runner=pooling"]
    assert args({"task": task}) == ["--runner=pooling"]


@pytest.mark.parametrize("task", ["generation", "speech"])
def test_nothing_is_told_that_the_server_decides_itself(task: str) -> None:
    assert args(task=task) == []


def test_a_setting_overrules_what_the_files_say() -> None:
    fields = {"task": "generation", "args": ["--seed=1"]}

    assert args(fields, task="embedding") == ["--runner=generate", "--seed=1"]
    made = plain(run(adapters={}, traits={"qwen": {"task": "embedding"}}, task="generation").outputs["models"])["qwen"]
    assert made["task"] == "generation"


def test_the_outputs_say_what_the_model_is_for() -> None:
    made = plain(run(adapters={}, traits={"qwen": {"task": "reranking"}}).outputs["models"])["qwen"]

    assert made["task"] == "reranking"


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ({}, []),
        ({"has_tokenizer": True}, ["--tokenizer=/mnt/models"]),
        (
            {"has_tokenizer": True, "has_config": True},
            ["--tokenizer=/mnt/models", "--hf-config-path=/mnt/models"],
        ),
    ],
)
def test_a_gguf_is_pointed_at_and_what_lies_beside_it_is_used(beside: dict[str, Any], told: list[str]) -> None:
    assert args(weights_file="m-Q4_K_M.gguf", **beside) == ["--model=/mnt/models/m-Q4_K_M.gguf", *told]
    assert args(**beside) == []

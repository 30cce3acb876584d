"""The nodes that a model is proposed: whatever its shape, what is written is read again without a complaint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components import proposal
from components.google import prices
from components.google.accelerators import ACCELERATORS, AcceleratorError
from components.settings import foretelling, reader
from components.settings.stack_file import find_project, read_config
from components.stack_draft import Option, StackDraft
from modelimage import dimensions
from modelimage.forecast import Forecast
from modelimage.traits import Traits
from oms.init_file import text_of
from tests.serving import ROOT

GB = 1_000_000_000
SOURCE = f"hf://acme/model@{'7' * 40}"
PRICES = prices.shipped()


def forecast(gb: float, layers: int, heads: int, kv_heads: int, context: int, **more: Any) -> Forecast:
    """What a model of such a shape becomes."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 128,
        "hidden_size": heads * 128,
        "max_position_embeddings": context,
        "torch_dtype": "bfloat16",
    }
    size = round(gb * GB)
    traits = Traits(architecture="LlamaForCausalLM", has_config=True, has_tokenizer=True, streams=True)
    its = dimensions.read(json.dumps(config).encode(), size)
    return Forecast(layer_sizes=(size,), format="safetensors", **{"traits": traits, "dimensions": its, **more})


def draft(told: Forecast, monkeypatch: pytest.MonkeyPatch, cluster: str = "new", **more: Any) -> StackDraft:
    """A stack of a model that becomes so."""
    monkeypatch.setattr(foretelling, "forecasts", lambda wanted: dict.fromkeys(wanted, told))
    model = {"source": SOURCE, "sizeGb": told.size_bytes / GB}
    made = {"create": {"name": cluster}}
    return StackDraft("mine", "demo", "us-central1", "model", model, told.size_bytes / GB, **{"cluster": made, **more})


def best(draft_: StackDraft, gpu: str = "") -> Option:
    return proposal.options(draft_, proposal.matching(gpu), PRICES)[0]


def pool(option: Option) -> dict[str, Any]:
    (found,) = option.values["nodePools"].values()
    return dict(found)


LLAMA_70B = (141.1, 80, 64, 8, 131072)


def reread(option: Option, stack: StackDraft, folder: Path) -> Any:
    """What the program reads from the file that is written of an option."""
    project = find_project(ROOT)
    file = folder / "Pulumi.mine.yaml"
    google = {"gcp:project": stack.project, "gcp:region": stack.region}
    file.write_text(text_of(project, file, google, option.values, option.reasons), encoding="utf-8")
    config = read_config(project, "mine", file).values
    values = {key.partition(":")[2]: value for key, value in config.items() if not key.startswith("gcp:")}
    plain = {key: yaml.safe_load(value) if value else {} for key, value in values.items()}
    plain = {key: value for key, value in plain.items() if value != {}}
    return reader.parse(plain, stack="mine", project=config["gcp:project"], region=config["gcp:region"])


@settings(max_examples=60, deadline=None)
@given(
    gb=st.floats(0.1, 900),
    layers=st.integers(2, 130),
    heads=st.sampled_from([8, 12, 14, 16, 28, 32, 40, 64, 96, 128]),
    grouped=st.sampled_from([1, 2, 4]),
    context=st.sampled_from([512, 8192, 32768, 131072, 1048576]),
    gpu=st.sampled_from(["cpu", *ACCELERATORS]),
    cluster=st.from_regex(r"[a-z][a-z0-9]{0,38}", fullmatch=True),
)
def test_what_fits_is_read_again_without_a_problem_or_a_warning(
    tmp_path_factory: pytest.TempPathFactory,
    gb: float,
    layers: int,
    heads: int,
    grouped: int,
    context: int,
    gpu: str,
    cluster: str,
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        stack = draft(forecast(gb, layers, heads, heads // grouped, context), monkeypatch, cluster)
        option = proposal.on_cpu(stack, PRICES) if gpu == "cpu" else best(stack, gpu)
        if option.problems:
            return
        read = reread(option, stack, tmp_path_factory.mktemp("stack"))
    assert read.warnings == ()
    assert list(read.node_pools) == list(option.values.get("nodePools", {}))
    assert read.models["model"].settings.source == SOURCE


def test_a_small_model_has_the_cheapest_gpu_that_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = proposal.options(draft(forecast(16, 36, 32, 8, 40960), monkeypatch), proposal.matching(""), PRICES)

    fitting = [option for option in listed if not option.problems]
    assert fitting[0].title == "nvidia-l4:1"
    assert [option.usd for option in fitting] == sorted(option.usd for option in fitting)
    assert {option.title for option in listed} == {
        f"{name}:{n}" for name, one in ACCELERATORS.items() for n in one.counts
    }
    (t4,) = (option for option in listed if option.title == "nvidia-tesla-t4:1")
    assert "16 GB of weights do not fit into 1 nvidia-tesla-t4" in t4.problems[0]


def test_images_are_on_the_local_ssds_that_hold_them_where_these_cost_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    large = draft(forecast(*LLAMA_70B), monkeypatch)

    assert pool(best(large, "l4"))["localSsd"] == 8
    bundled = best(large, "a100-80gb")
    assert (bundled.machine, "localSsd" in pool(bundled), "bootDisk" in pool(bundled)) == (
        "a2-ultragpu-4g",
        False,
        False,
    )


def test_local_ssds_that_do_not_hold_an_image_are_left_out_for_a_boot_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are quantised when they are loaded are small on the GPU, and not on the disk."""
    told = forecast(170, 4, 64, 8, 8192)
    stack = draft(told, monkeypatch)
    stack = StackDraft(**{**vars(stack), "model": {**stack.model, "args": ["--quantization=bitsandbytes"]}})
    option = best(stack, "nvidia-a100-80gb:1")

    assert option.problems == ()
    assert pool(option)["machineType"] == "a2-ultragpu-1g-nolssd"
    assert pool(option)["bootDisk"]["sizeGb"] >= 170 * 2
    assert "do not hold the image" in option.reasons["nodePools.a100-80gb.machineType"]


def test_a_context_that_leaves_no_room_is_cut_and_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    option = best(draft(forecast(65, 64, 40, 8, 40960), monkeypatch), "l4:4")

    (arg,) = option.values["models"]["model"]["args"]
    assert 4096 <= int(arg.removeprefix("--max-model-len=")) < 40960
    assert "40960 tokens" in option.reasons["models.model.args"]


def test_a_start_that_takes_hours_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    told = forecast(600, 4, 64, 8, 8192)
    stack = draft(told, monkeypatch)
    stack = StackDraft(**{**vars(stack), "model": {**stack.model, "args": ["--quantization=bitsandbytes"]}})
    option = best(stack, "rtx-pro-6000:4")
    waits = option.values["models"]["model"].get("startupTimeout", 3600)

    assert option.problems == ()
    assert option.start
    assert waits >= option.start.cold_start.total[1]


def test_what_is_not_sold_on_demand_is_taken_as_spot_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    option = best(draft(forecast(16, 36, 32, 8, 40960), monkeypatch), "h100-80gb:1")

    assert pool(option)["spot"] is True
    assert "not sold on demand" in option.reasons["nodePools.h100-80gb.spot"]


def test_a_long_name_of_a_cluster_leaves_the_nodes_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    option = best(draft(forecast(16, 36, 32, 8, 40960), monkeypatch, "c" * 40), "l4")

    assert option.problems == ()
    assert len(pool(option)["serviceAccountId"]) <= 30


def test_a_model_without_gpus_has_a_node_that_holds_it_or_is_told_that_none_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def on_cpu(gb: float) -> Option:
        return proposal.on_cpu(draft(forecast(gb, 24, 14, 2, 32768), monkeypatch), PRICES)

    assert [on_cpu(gb).machine for gb in (1, 16)] == ["e2-standard-4", "e2-standard-8"]
    assert "offers" in on_cpu(141).problems[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("l4:2", ["nvidia-l4:2"]),
        ("nvidia-h100-80gb:8", ["nvidia-h100-80gb:8"]),
        ("a100:1", ["nvidia-tesla-a100:1", "nvidia-a100-80gb:1"]),
        ("B200", ["nvidia-b200:8"]),
    ],
)
def test_a_gpu_is_found_by_what_people_call_it(text: str, expected: list[str]) -> None:
    assert [f"{one.name}:{count}" for one, count in proposal.matching(text)] == expected


@pytest.mark.parametrize("text", ["h42", "l4:3", "l4:x", "v100"])
def test_a_gpu_that_there_is_not_is_told_with_those_that_there_are(text: str) -> None:
    with pytest.raises(AcceleratorError, match="write"):
        proposal.matching(text)

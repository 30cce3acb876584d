"""What is said of fit and room: to whom, and that it helps to follow it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelimage.dimensions import Dimensions
from tests.components.settings.cases_fit import BAD, DEEPSEEK, GOOD, LLAMA_8B, args, pool
from tests.components.settings.reading import read
from tests.components.settings.stacks import Bad, Good, judged, stack
from tests.serving import IMAGE, gke, run

FOLLOWED = {
    r"write --max-model-len=(\d+)": ("models.qwen.args", lambda number: [f"--max-model-len={number}"]),
    r"--tensor-parallel-size=(\d+)": ("models.qwen.args", lambda number: [f"--tensor-parallel-size={number}"]),
    r"nodePools\.l4\.maxNodes: (\d+)": ("nodePools.l4.maxNodes", int),
    r"stay pending for ever; write (\d+)": ("nodePools.l4.maxNodes", int),
    r"write gpus: (\d+)": ("models.qwen.gpus", int),
    r"write (\d+Gi) or more": ("models.qwen.resources", lambda memory: {"memory": memory}),
    r"write at most (\d+Gi)": ("models.qwen.resources", lambda memory: {"memory": memory}),
}
"""What a refusal tells to write, and the key that it is written to."""
NUMBERED = {
    case.name: case
    for case in BAD
    if case.name
    in {
        *(
            "the model's own 128k on one L4",
            "100k asked for on one L4",
            "128k of 70B on 2 H100",
            "14 heads over 4 GPUs",
        ),
        *("14 heads over 4 GPUs by hand", "more GPUs than a pod has", "four pods on two GPUs", "memory of four nodes"),
        *("two of 5 on one node of 8", "3 + 3 + 3 on a node of 8", "8B in 8Gi"),
    }
}


@pytest.mark.parametrize("case", NUMBERED.values(), ids=NUMBERED.keys())
def test_who_follows_a_remedy_has_no_refusal_of_that_key_left(case: Bad, tmp_path: Path) -> None:
    told = " ".join(judged(stack(case, tmp_path / "before")).refusals)
    edits: dict[str, Any] = dict(case.edits)
    for pattern, (path, value) in FOLLOWED.items():
        if found := re.search(pattern, told):
            edits[path] = value(found[1])  # type: ignore[operator]
            break
    else:
        pytest.fail(f"no remedy is known here: {told}")
    # A CPU model with more memory asks for a larger system pool next, which is another key.
    edits |= {"cluster.create.systemPool": {"machineType": "n2-highmem-16"}} if "Gi or more" in told else {}

    assert judged(stack(replace(case, edits=edits), tmp_path / "after")).refusals == ()


def test_a_plan_says_how_much_fits_and_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"digest": IMAGE, "sizeGb": 20.5, "nodePool": "l4", "replicas": {"min": 1, "max": 101}}

    messages = run(gke({"qwen": model})).messages

    said = [
        text
        for level, text in messages
        if level == "info" and text.startswith("predicted: models.qwen: 20.5 GB of weights")
    ]
    warned = [text for level, text in messages if level == "warning" and text.startswith("models.qwen.")]
    assert len(said) == 1
    assert {text.partition(":")[0] for text in warned} == {"models.qwen.nodePool", "models.qwen.replicas.max"}


def test_the_fit_is_data_of_the_model(tmp_path: Path) -> None:
    source = str(LLAMA_8B.write(tmp_path / "weights"))
    pools = {"l4": {"accelerator": "nvidia-l4", "count": 4, "zones": ["us-central1-a"], "bootDisk": {"sizeGb": 400}}}
    made = read(gke({"a": {"source": source, "nodePool": "l4"}, "b": {"digest": IMAGE}}, nodePools=pools))

    assert made.models["a"].dimensions.layers == 32
    fit = made.models["a"].fit
    assert fit is not None
    assert (fit.gpus, fit.context, fit.context_that_fits, fit.loads, fit.starts) == (4, 131072, 131072, True, True)
    assert fit.usable_gb == pytest.approx(21.76, abs=0.01)
    assert fit.weights_gb == pytest.approx(16.06, abs=0.01)
    assert fit.kv_gb_per_1k_tokens == pytest.approx(0.131, abs=0.001)
    assert fit.headroom_percent == pytest.approx(53.9, abs=1)
    assert (made.models["b"].fit, made.models["b"].dimensions) == (None, Dimensions())


def test_warnings_are_data_of_a_plan() -> None:
    from offline.plan import Plan

    recording = run(gke({"qwen": {"digest": IMAGE, "sizeGb": 20.5, "nodePool": "l4"}}))
    data = json.loads(json.dumps(Plan("oci-model-serving", "dev", recording).data()["warnings"]))
    assert any(text.startswith("models.qwen.nodePool: 20.5 GB of weights") for text in data)


def test_a_model_without_a_cluster_needs_no_memory() -> None:
    values = {**gke({"qwen": {"digest": IMAGE, "sizeGb": 141}}), "cluster": {}}
    assert [text for text in judged(values).refusals if text.startswith("models.")] == []


def test_no_right_stack_is_warned_of_what_it_does_not_have(tmp_path: Path) -> None:
    quiet = [case for case in GOOD if case.weights is None and "models.qwen.sizeGb" not in case.edits]
    told = {case.name: judged(stack(case, tmp_path)).warnings for case in quiet}
    # Of 3 and 5 GPUs a plan cannot be sure.
    assert {name for name, texts in told.items() if texts} == {
        "5 + 3 on a node of 8",
        "5 + 5 + 3 + 3 on two nodes of 8",
    }


def test_experts_that_are_spread_over_copies_are_not_warned_of(tmp_path: Path) -> None:
    edits = {
        **pool("nvidia-h200-141gb", 8, spot=True),
        **args("-dp=8", "-tp=1", "--enable-expert-parallel", "--max-model-len=8192"),
    }
    found = judged(stack(Good("experts", edits, DEEPSEEK), tmp_path))
    assert (found.refusals, found.warnings) == ((), ())


def test_images_alone_are_not_warned_of_pods_that_nobody_runs(tmp_path: Path) -> None:
    edits = {"cluster": None, "nodePools": None, "models.qwen.nodePool": None, "models.qwen.sizeGb": 16.1}
    found = judged(stack(Good("images", edits), tmp_path))
    assert (found.refusals, found.warnings) == ((), ())

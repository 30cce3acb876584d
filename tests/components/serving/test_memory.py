"""Memory of GPUs: what is foretold is of the order that is reported, and a refusal is of what is sure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.google.gpu_memory import cuda_gb
from components.serving import vllm
from components.serving.engine_args import read
from components.serving.memory import Fit, Memory
from components.serving.parallel import Parallel, default_tensor, parallel
from modelimage.dimensions import Dimensions

LLAMA_8B = Dimensions(
    weights_bytes=16_060_522_496,
    dtype="bfloat16",
    layers=32,
    heads=32,
    context=131072,
    full_layers=32,
    kv_heads=8,
    kv_width=256,
)
LLAMA_70B = replace(LLAMA_8B, weights_bytes=141_107_412_992, layers=80, heads=64, full_layers=80)


def fit(dimensions: Dimensions, accelerator: str, nominal: float, gpus: int = 1, *args: str, **more: Any) -> Fit:
    given = read(args)
    return Memory(given, parallel(given, gpus), cuda_gb(accelerator, nominal), dimensions=dimensions, **more).fit()


def test_a_token_takes_what_vllm_says_of_it() -> None:
    assert fit(LLAMA_8B, "nvidia-l4", 24).kv_gb_per_1k_tokens == pytest.approx(0.131072)  # 128 KiB
    assert fit(LLAMA_70B, "nvidia-h100-80gb", 80, 2).kv_gb_per_1k_tokens == pytest.approx(0.32768)  # 320 KiB
    # Behind as many GPUs as heads each keeps one of its own.
    assert fit(LLAMA_70B, "nvidia-h100-80gb", 80, 16).kv_gb_per_1k_tokens == pytest.approx(2 * 0.32768)


def test_the_context_that_fits_is_of_the_order_that_is_reported() -> None:
    # As reported of vLLM, without a log to cite: 8B in bfloat16 on one L4 keeps 25,000 to 32,000 tokens, 70B on two
    # H100 15,000 to 30,000.
    assert 25_000 < (fit(LLAMA_8B, "nvidia-l4", 24).context_that_fits or 0) < 32_000
    assert 15_000 < (fit(LLAMA_70B, "nvidia-h100-80gb", 80, 2).context_that_fits or 0) < 30_000


def test_latent_attention_is_kept_whole_by_every_gpu() -> None:
    it = Dimensions(688 * 10**9, quantisation="fp8", full_layers=61, kv_heads=1, kv_width=576, latent=True)
    assert fit(it, "nvidia-h200-141gb", 141, 8).kv_gb_per_1k_tokens == pytest.approx(8 * 61 * 576 * 2 * 1000 / 1e9)


def test_a_window_bounds_its_layers() -> None:
    every = replace(LLAMA_8B, full_layers=0, local_layers=32, window=4096, context=32768)
    some = replace(every, full_layers=16, local_layers=16)
    assert fit(every, "nvidia-l4", 24).starts
    assert fit(some, "nvidia-l4", 24).context_that_fits == 32768
    assert (fit(some, "nvidia-l4", 24).headroom_percent or 0) > (fit(LLAMA_8B, "nvidia-l4", 24).headroom_percent or 0)


@pytest.mark.parametrize(
    ("args", "dtype", "gb"),
    [
        ((), "bfloat16", 16.06),
        ((), "float32", 8.03),
        (("--dtype=float32",), "bfloat16", 32.12),
        (("--dtype", "half"), "float32", 8.03),
        (("--quantization=fp8",), "bfloat16", 8.83),
        (("-q", "bitsandbytes"), "bfloat16", 5.62),
        (("--cpu-offload-gb", "4"), "bfloat16", 16.06 - 4.29),
    ],
)
def test_what_the_arguments_make_of_the_files_counts(args: tuple[str, ...], dtype: str, gb: float) -> None:
    made = fit(replace(LLAMA_8B, dtype=dtype), "nvidia-h100-80gb", 80, 1, *args)
    assert made.weights_gb == pytest.approx(gb, abs=0.01)


def test_a_quantised_checkpoint_is_taken_as_it_is() -> None:
    it = replace(LLAMA_8B, quantisation="awq")
    assert fit(it, "nvidia-l4", 24, 1, "--quantization=awq", "--dtype=half").weights_gb == pytest.approx(
        16.06, abs=0.01
    )


def test_nothing_is_refused_of_what_may_be_smaller() -> None:
    size = {"size_gb": 40.0}
    assert not fit(Dimensions(), "nvidia-l4", 24, 1, **size).loads
    assert fit(Dimensions(), "nvidia-l4", 24, 1, "--dtype=bfloat16", **size).loads  # float32 files, perhaps
    assert fit(Dimensions(), "nvidia-l4", 24, 1, "--quantization=bitsandbytes", **size).loads
    assert fit(Dimensions(), "nvidia-l4", 24, 1, '--hf-overrides={"num_hidden_layers": 4}', **size).loads
    assert fit(Dimensions(), "nvidia-l4", 24).loads  # of which nothing is known


def test_the_share_of_the_memory_counts() -> None:
    assert fit(LLAMA_8B, "nvidia-l4", 24).usable_gb == pytest.approx(21.76, abs=0.01)
    assert fit(LLAMA_8B, "nvidia-l4", 24, 1, "--gpu-memory-utilization", "0.5").usable_gb == pytest.approx(
        11.83, abs=0.01
    )
    assert fit(LLAMA_8B, "nvidia-l4", 24, 1, share=0.4).usable_gb == pytest.approx(9.46, abs=0.01)


def test_an_8_bit_cache_holds_twice_as_much() -> None:
    plain, small = (fit(LLAMA_8B, "nvidia-l4", 24, 1, *args) for args in ((), ("--kv-cache-dtype=fp8_e4m3",)))
    assert small.context_that_fits == pytest.approx(2 * (plain.context_that_fits or 0), rel=0.05)


@pytest.mark.parametrize(
    ("args", "gpus", "spread"),
    [
        ((), 1, Parallel()),
        ((), 4, Parallel(tensor=4)),
        (("-tp", "2", "-pp", "2"), 4, Parallel(2, 2)),
        (("-tp=1", "--data_parallel_size=4"), 4, Parallel(1, 1, 4)),
        (("-tp=2", "-dp", "8", "-dpl", "2"), 4, Parallel(2, 1, 2)),
        (("-pp=4",), 4, Parallel(1, 4)),
        (("-pp", "2"), 8, Parallel(4, 2)),
        (("--data-parallel-size=8",), 8, Parallel(1, 1, 8)),
        (("-pp=3",), 4, Parallel(4, 3)),  # the rest is no whole number: refused
        (("-pp=2", "--nnodes=2"), 8, Parallel(8, 2)),
    ],
)
def test_gpus_are_spread_over_as_the_server_does(args: tuple[str, ...], gpus: int, spread: Parallel) -> None:
    assert parallel(read(args), gpus) == spread


@pytest.mark.parametrize(
    ("args", "told"), [((), 8), (("-pp=2",), 4), (("-dp=8",), 1), (("-pp=3",), 8), (("-tp=2",), 8)]
)
def test_the_program_tells_the_server_what_is_predicted(args: tuple[str, ...], told: int) -> None:
    given = read(args)
    assert default_tensor(given, 8) == told
    spread = vllm.spread(default_tensor(given, 8))
    assert parallel(read([*spread, *args]), 8) == parallel(given, 8)


def test_a_fit_is_said_in_words() -> None:
    said = str(fit(LLAMA_8B, "nvidia-l4", 24, 1, "--max-model-len=16384"))
    assert said.startswith("16.1 GB of weights on 1 GPU of which the server uses 21.8 GB each, 8 % left")
    assert said.endswith("one sequence of 29,696 tokens fits (longest: 16,384)")
    assert str(fit(Dimensions(), "nvidia-l4", 24)) == ""

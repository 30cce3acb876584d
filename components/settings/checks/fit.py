"""Whether each model fits into the memory of its GPUs, or of its pod, and is spread over GPUs that it has."""

import math
from collections.abc import Iterator
from dataclasses import replace

from components.google import gpu_sharing
from components.google.accelerators import ACCELERATORS
from components.google.gpu_memory import CUDA_GIB, cuda_gb
from components.serving.memory import UTILISATION, Fit, Memory
from components.serving.scheduling import CPU_ONLY
from components.settings.checks.unread import Problem
from components.settings.models import StackModel
from components.settings.types import GB, GIB, Target, amount

_LITTLE_PERCENT = 10
_CPU_RUNTIME_GIB = 1
"""What vLLM's processes take of a pod beside weights and cache, without GPUs."""
_CPU_CACHE_GIB = 4  # vLLM, "CPU": VLLM_CPU_KVCACHE_SPACE where nobody says
_NAMED = 3
_WITHOUT_BFLOAT16 = frozenset({"nvidia-tesla-t4"})  # compute capability 7.5, and it takes 8.0


def problems(made: StackModel) -> Iterator[Problem]:
    """What surely does not load or start."""
    if made.pool is None:
        yield from _on_cpu(made)
        return
    yield from _spread(made)
    if not (made.gpus and made.machines_known):
        return  # the pool says so
    it = made.in_memory
    if made.gpus > made.pool.gpu_slots or it.spread.gpus > made.gpus:
        return
    fit = it.fit()
    yield from _on_the_host(made)
    if not fit.loads:
        yield ".nodePool", _too_large(made, it, fit)
    elif not fit.starts:
        yield _too_long(it, fit)


def warnings(made: StackModel) -> Iterator[Problem]:
    """What may not load, or leaves little room."""
    if made.pool is None:
        yield from _tight_on_cpu(made)
        return
    it, fit = made.in_memory, made.fit
    if fit is None or fit.weights_gb is None or fit.headroom_percent is None:
        return
    if it.spread.gpus < made.gpus and not it.args.names("--nnodes"):
        yield (
            ".args",
            f"spreads the model over {it.spread.gpus} of its {made.gpus} GPUs, and the others idle: write gpus: "
            f"{it.spread.gpus}, or --tensor-parallel-size={made.gpus // max(it.spread.pipeline * it.spread.data, 1)}",
        )
    if not it.dimensions.heads and it.spread.tensor & (it.spread.tensor - 1):
        yield (
            ".gpus",
            f"splits the attention heads of an unknown model over {it.spread.tensor} GPUs, which vLLM refuses unless "
            f"their number divides: of most models 2, 4 or 8 do; --pipeline-parallel-size splits by layers",
        )
    asked, own = it.args.count("--max-model-len"), it.dimensions.context
    lengthened = "VLLM_ALLOW_LONG_MAX_MODEL_LEN" in made.settings.env or it.args.names("--hf-overrides")
    if asked and own and asked > own and not lengthened:
        yield ".args", f"has --max-model-len={asked}, and the model is made for {own}, above which vLLM does not start"
    if fit.headroom_percent < _LITTLE_PERCENT:
        yield ".nodePool", _tight(it, fit)


def _spread(made: StackModel) -> Iterator[Problem]:
    """Whether the engine asks for GPUs that the pod has, in numbers that divide the model."""
    gpus, it = made.gpus, made.dimensions
    spread = made.spread
    if not gpus or made.args.names("--nnodes") or (made.pool and gpus > made.pool.gpu_slots):
        return
    others = spread.pipeline * spread.data
    if spread.gpus > gpus:
        ways = f"{spread.tensor} by tensors, {spread.pipeline} by layers, {spread.data} copies"
        fitting = gpus // others
        less = f"--tensor-parallel-size={fitting}" if fitting and others > 1 else f"--tensor-parallel-size={gpus}"
        yield (
            ".args",
            f"spreads the model over {spread.gpus} GPUs ({ways}), and a pod has {gpus}: write {less}, or gpus: "
            f"{spread.gpus} on a pool with as many in a node",
        )
    elif it.heads and it.heads % spread.tensor:
        fits = [size for size in range(1, spread.tensor) if it.heads % size == 0]
        told = made.args.names("--tensor-parallel-size")
        best = fits[-1]
        yield (
            ".args" if told else ".gpus",
            f"splits {it.heads} attention heads over {spread.tensor} GPUs, which vLLM refuses: write "
            f"{'--tensor-parallel-size=' if told else 'gpus: '}{best}"
            + (f" (or {_or(fits[:-1])})" if fits[:-1] else ""),
        )
    elif it.layers and spread.pipeline > it.layers:
        yield (
            ".args",
            f"has {it.layers} layers for {spread.pipeline} GPUs: write --pipeline-parallel-size={it.layers} or less",
        )


def _on_the_host(made: StackModel) -> Iterator[Problem]:
    """What the server keeps in the pod's memory for its GPUs, and types that a GPU does not have."""
    args, memory = made.args, made.scheduling.memory
    kept = (args.share("--cpu-offload-gb") or 0.0) * made.spread.gpus + (args.share("--kv-offloading-size") or 0.0)
    if kept * GIB > amount(memory):
        yield (
            ".resources.memory",
            f"is {memory}, and args keep {kept:g} GiB there (--cpu-offload-gb for each GPU, --kv-offloading-size): "
            f"write {math.ceil(kept) + _CPU_CACHE_GIB}Gi or more, or lower these",
        )
    if made.pool and made.pool.machine.accelerator in _WITHOUT_BFLOAT16 and args.value("--dtype") == "bfloat16":
        yield ".args", f"has --dtype=bfloat16, which {made.pool.machine.accelerator} does not have: write --dtype=half"


def _too_large(made: StackModel, it: Memory, fit: Fit) -> str:
    needed, least = fit.weights_gb or 0.0, it.weights_gb(least=True) or 0.0
    named = made.pool.machine.accelerator if made.pool else ""
    shared = made.pool is not None and gpu_sharing.clients(made.pool.settings) > 1
    remedies = _holding(named, needed, replace(it, share=UTILISATION) if shared else it)
    if made.pool and shared:
        one = replace(it, share=UTILISATION)
        if needed < it.gpu_gb * one.utilisation * (1 - _LITTLE_PERCENT / 100):
            remedies = [f"a pool without sharing (remove nodePools.{made.pool.key}.sharing)"]
        else:
            remedies = [f"{remedy} without sharing" for remedy in remedies]
    if it.spread.gpus < made.gpus and needed < made.gpus * fit.usable_gb:
        remedies.insert(0, f"--tensor-parallel-size={made.gpus} in args")
    if it.utilisation < it.share and needed < it.spread.shards * it.gpu_gb * it.share:
        remedies.insert(0, f"--gpu-memory-utilization={it.share:g} in args")
    said = (
        f"{needed:.3g} GB of weights do not fit into {it.spread.shards} {named}, of which the server may use "
        f"{fit.usable_gb:.1f} GB each ({it.utilisation:.0%}): write {_or(remedies)}"
    )
    if not it.dimensions.dtype and least > needed * 0.6:
        said += "; if the files are float32, or hold more than a server loads, say so by --dtype=bfloat16 in args"
    return said


def _holding(accelerator: str, gb: float, it: Memory) -> list[str]:
    """What would hold the weights: the least number of the same GPUs in a node, and of others."""
    found: list[tuple[bool, float, str]] = []
    for name, entry in ACCELERATORS.items():
        usable = cuda_gb(name, CUDA_GIB[name][0]) * it.utilisation * (1 - _LITTLE_PERCENT / 100)
        copies = it.spread.data
        enough = [count for count in entry.counts if count * usable >= gb * copies]
        if enough:
            found.append((name != accelerator, enough[0] * usable, f"a pool of {enough[0]} {name}"))
    listed = [text for _, _, text in sorted(found)[:_NAMED]]
    return listed or ["weights that are quantised: no node of Google's holds these"]


def _too_long(it: Memory, fit: Fit) -> Problem:
    fits = fit.context_that_fits or 0
    cache = (fit.kv_gb_per_1k_tokens or 0.0) * (fit.context or 0) / 1000
    remedy = f"write --max-model-len={fits}" if fits >= 16 else "write more gpus, or quantised weights"
    asked = (
        f"--max-model-len={fit.context}"
        if it.args.names("--max-model-len")
        else f"the model's own {fit.context} tokens"
    )
    return (
        ".args",
        f"{asked}: the KV cache of one sequence takes {cache:.3g} GB, which does not fit beside the weights into "
        f"{it.utilisation:.0%} of the memory of {_gpus(it.spread.shards)}, and vLLM does not start: {remedy}",
    )


def _tight(it: Memory, fit: Fit) -> str:
    left = fit.headroom_percent or 0.0
    beside = "weights and one sequence" if it.dimensions.tells_cache else "the weights"
    taken = f"{fit.weights_gb:.3g} GB of weights on {_gpus(it.spread.shards)} with {fit.usable_gb:.1f} GB to use each"
    how = f"leave {left:.0f} % beside {beside}" if left >= 0 else f"leave no room beside {beside}, by an estimate"
    remedies = ["more gpus", "quantised weights"]
    if fit.context_that_fits and fit.context and fit.context_that_fits < fit.context:
        remedies.insert(0, f"--max-model-len={fit.context_that_fits}")
    elif fit.context and fit.context > 4096:
        remedies.insert(0, "a smaller --max-model-len")
    if it.utilisation < it.share:
        remedies.insert(0, f"--gpu-memory-utilization={it.share:g}")
    verdict = "few requests at a time" if left >= 0 else "vLLM may not start"
    return f"{taken} {how}: {verdict}; write {_or(remedies)}"


def _gpus(number: int) -> str:
    return f"{number} GPU{'s' if number != 1 else ''}"


def _on_cpu(made: StackModel) -> Iterator[Problem]:
    least = made.in_memory.weights_gb(least=True)
    given = made.settings.resources.memory or CPU_ONLY[1]
    if least is None or least * GB <= amount(given):
        return
    said = f"is {given}" if made.settings.resources.memory else f"is missing, and the default is {CPU_ONLY[1]}"
    other = ", or name a nodePool with GPUs" if made.target is Target.GKE else ""
    weights = f"the weights take {made.in_memory.weights_gb():.3g} GB"
    yield ".resources.memory", f"{said}, and {weights}: write {_cpu_gib(made)}Gi or more{other}"


def _tight_on_cpu(made: StackModel) -> Iterator[Problem]:
    taken = made.in_memory.weights_gb()
    given = made.settings.resources.memory or CPU_ONLY[1]
    if taken is not None and taken * GB + _CPU_RUNTIME_GIB * GIB > amount(given):
        yield (
            ".resources.memory",
            f"is {given}, and {taken:.1f} GB of weights with the server's own need leave nothing for its cache: write "
            f"{_cpu_gib(made)}Gi or more",
        )


def _cpu_gib(made: StackModel) -> int:
    told = made.settings.env.get("VLLM_CPU_KVCACHE_SPACE", "")
    cache = int(told) if isinstance(told, str) and told.isdecimal() and int(told) else _CPU_CACHE_GIB
    return cpu_gib(made.in_memory.weights_gb() or 0.0, cache)


def cpu_gib(weights_gb: float, cache_gib: int = _CPU_CACHE_GIB) -> int:
    """GiB of a pod without GPUs, for weights, server and cache."""
    return math.ceil(weights_gb * GB / GIB) + _CPU_RUNTIME_GIB + cache_gib


def _or(words: list[str] | list[int]) -> str:
    texts = [str(word) for word in words]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"

"""Whether a model fits into the memory of its GPUs, and how long a text it can then take. Pure.

vLLM starts when the weights, what it needs while it computes, and the KV cache of one sequence of `--max-model-len`
tokens fit into its share of each GPU (v0.23.0, `request_memory` and `_check_enough_kv_cache_memory`); it refuses to
start otherwise. Two answers are kept apart: what a model takes most likely, of which is warned, and what it takes at
the very least, for which alone a stack is refused.
"""

import math
from dataclasses import dataclass, field

from components.serving.engine_args import EngineArgs
from components.serving.parallel import Parallel
from modelimage.dimensions import Dimensions

UTILISATION = 0.92
"""vLLM's default of `--gpu-memory-utilization` (v0.23.0, vllm/config/cache.py)."""
OVERHEAD_GB = 1.0
OVERHEAD_SHARE = 0.03
"""What a GPU needs beside weights and KV cache: CUDA's context, NCCL, activations of one batch, CUDA graphs. Estimated
from what vLLM's logs in public reports name, 1 to 5 GB, more on large GPUs, whose batches are larger."""
_LEAST_SHARE = 0.95
"""Of files of weights, what is loaded at the least: layers that predict ahead are left out where nothing asks for them
(DeepSeek: 2 %)."""
_BATCHED_TOKENS = 2048  # v0.23.0: 8,192 on GPUs of 70 GiB and more
_BYTES = {"float64": 8.0, "float32": 4.0, "float": 4.0, "bfloat16": 2.0, "float16": 2.0, "half": 2.0}
_CACHE_BYTES = (("fp8", 1.0), ("int8", 1.0), ("nvfp4", 0.5), ("int4", 0.5), ("turboquant", 0.5), ("float16", 2.0))
_ON_LOAD = {"fp8": 0.55, "bitsandbytes": 0.35}
"""Share that is left of weights that the server quantises while it loads them: embeddings stay as they are."""
_UNTOLD = ("--config", "--hf-overrides")
"""Flags that may say anything of the model's size."""
_PARTS = ("--language-model-only", "--mm-encoder-only")
GB = 1_000_000_000


@dataclass(frozen=True)
class Fit:
    """What a model takes of its GPUs; None where nothing tells.

    Attributes:
        gpus: how many the engine uses.
        usable_gb: what the server may use of one GPU.
        weights_gb: what one copy of the weights takes, of all its GPUs together.
        kv_gb_per_1k_tokens: what 1,000 tokens of one sequence take in the KV cache, of all its GPUs together.
        context: tokens of the longest sequence: `--max-model-len`, or what the model is made for.
        context_that_fits: the longest that fits; no more than the model is made for.
        headroom_percent: what is left of the usable memory beside weights, overhead and one sequence; negative where
            they do not fit.
        loads: False where the weights surely do not fit.
        starts: False where one sequence surely does not fit beside them.
    """

    gpus: int = 0
    usable_gb: float = 0.0
    weights_gb: float | None = None
    kv_gb_per_1k_tokens: float | None = None
    context: int | None = None
    context_that_fits: int | None = None
    headroom_percent: float | None = None
    loads: bool = True
    starts: bool = True

    def __str__(self) -> str:
        """As a plan says it."""
        if self.weights_gb is None or self.headroom_percent is None:
            return ""
        said = f"{self.weights_gb:.1f} GB of weights on {self.gpus} GPU{'s' if self.gpus != 1 else ''} of which the "
        said += f"server uses {self.usable_gb:.1f} GB each, {self.headroom_percent:.0f} % left"
        if self.kv_gb_per_1k_tokens is None or self.context_that_fits is None:
            return said
        made_for = f" (longest: {self.context:,})" if self.context else ""
        return f"{said}; one sequence of {self.context_that_fits:,} tokens fits{made_for}"


@dataclass(frozen=True)
class Memory:
    """A model in the memory of the GPUs of a pod.

    Attributes:
        args: what the server is told.
        spread: how it spreads over them.
        gpu_gb: what CUDA has of one of them, in GB.
        size_gb: of the image, where it is known.
        dimensions: of the model, where its files could be looked at.
        adapters_gb: of its LoRA adapters.
        share: of a GPU's memory that the server may use where its arguments do not say.
    """

    args: EngineArgs
    spread: Parallel
    gpu_gb: float
    size_gb: float | None = None
    dimensions: Dimensions = field(default_factory=Dimensions)
    adapters_gb: float = 0.0
    share: float = UTILISATION

    @property
    def utilisation(self) -> float:
        """The share that counts."""
        if self.args.value("--kv-cache-memory-bytes"):
            return 1.0  # the share does not count then
        given = self.args.share("--gpu-memory-utilization")
        return given if given and 0 < given <= 1 else self.share

    @property
    def files_gb(self) -> float | None:
        """What the files of the weights take."""
        return self.dimensions.weights_bytes / GB or self.size_gb

    def weights_gb(self, *, least: bool = False) -> float | None:
        """What one copy takes on all its GPUs: most likely, or at the very least."""
        if self.files_gb is None:
            return None
        offloaded = (self.args.share("--cpu-offload-gb") or 0.0) * (1 << 30) / GB * self.spread.shards
        shares = self._loaded()
        taken = self.files_gb * shares[least] + (0 if least else self.adapters_gb)
        if self.args.is_on("--enable-expert-parallel"):
            taken /= self.spread.data  # experts are spread over the copies
        return max(taken - offloaded, 0.0)

    def fit(self) -> Fit:
        """The verdict."""
        usable = self.gpu_gb * self.utilisation
        weights, least = self.weights_gb(), self.weights_gb(least=True)
        if weights is None or least is None:
            return Fit(gpus=self.spread.gpus, usable_gb=usable)
        shards = self.spread.shards
        overhead = OVERHEAD_GB + OVERHEAD_SHARE * self.gpu_gb
        free = usable - weights / shards - overhead
        free_at_most = usable - least / shards
        if (reserved := self.args.count("--kv-cache-memory-bytes")) is not None:
            free = free_at_most = min(reserved / GB, free_at_most)
        made = Fit(
            gpus=self.spread.gpus,
            usable_gb=usable,
            weights_gb=weights,
            headroom_percent=100 * free / usable,
            loads=free_at_most > 0,
        )
        return self._with_cache(made, free, free_at_most) if self.dimensions.tells_cache else made

    def _with_cache(self, made: Fit, free: float, free_at_most: float) -> Fit:
        asked = self.args.value("--max-model-len")
        context = self.args.count("--max-model-len") or self.dimensions.context or None
        full, local = self._token_gb()
        fits = self._longest(free, full, local)
        if fits is not None and self.dimensions.context and self.dimensions.context < fits:
            fits = max(self.dimensions.context, min(context or 0, fits))
        others = any(self.args.names(name) for name in ("--num-gpu-blocks-override", *_UNTOLD))
        by_itself = asked in {"auto", "-1"} or others
        needed = self._sequence(context, full, local) if context and not by_itself else 0.0
        at_least = self._sequence(context, *self._token_gb(least=True)) if context and not by_itself else 0.0
        return Fit(
            gpus=made.gpus,
            usable_gb=made.usable_gb,
            weights_gb=made.weights_gb,
            kv_gb_per_1k_tokens=1000 * (full + local) * self.spread.shards,
            context=context,
            context_that_fits=fits if fits is not None else context,
            headroom_percent=100 * (free - needed) / made.usable_gb,
            loads=made.loads,
            starts=at_least < free_at_most,
        )

    def _loaded(self) -> tuple[float, float]:
        """The share of its files that a copy of the weights takes: most likely, and at the very least."""
        args, dimensions = self.args, self.dimensions
        told = args.value("--dtype") or "auto"
        likely = least = 1.0
        if not dimensions.quantisation:
            stored = _BYTES.get(dimensions.dtype)
            wanted = _BYTES.get(told, min(stored or 2.0, 2.0))
            if stored:
                likely = least = wanted / stored
            elif wanted <= 2.0 and told != "auto":
                least = 0.5  # float32 files, perhaps
            method = args.value("--quantization") or args.value("--load-format")
            if method in _ON_LOAD or (args.names("--quantization") and stored):
                likely *= _ON_LOAD.get(method or "", 0.55)
                least *= 0.25
        if any(args.names(name) for name in _UNTOLD) or any(args.is_on(name) for name in _PARTS):
            least = 0.0
        return likely, least * _LEAST_SHARE

    def _token_gb(self, *, least: bool = False) -> tuple[float, float]:
        """What a token takes of each GPU in the layers that keep all tokens, and in those that keep a window."""
        it, spread = self.dimensions, self.spread
        heads = 1.0 if it.latent else max(it.kv_heads / spread.tensor, 1.0)
        size = self._cache_bytes(least=least)
        a_layer = heads * it.kv_width * size / spread.pipeline / GB
        if self.args.names("--decode-context-parallel-size"):
            a_layer /= self.args.count("--decode-context-parallel-size") or 1
        full, local = it.full_layers, it.local_layers
        if not least and self.args.is_on("--disable-hybrid-kv-cache-manager"):
            full, local = full + local, 0
        return full * a_layer, local * a_layer

    def _cache_bytes(self, *, least: bool) -> float:
        told = self.args.value("--kv-cache-dtype") or "auto"
        for kind, size in _CACHE_BYTES:
            if told.startswith(kind):
                return size
        if least and (self.dimensions.quantisation or self.args.names("--quantization")):
            return 1.0  # a quantised checkpoint may say so of its cache
        return 4.0 if _BYTES.get(self.args.value("--dtype") or "") == 4.0 else 2.0

    def _window(self) -> int:
        return self.dimensions.window + (self.args.count("--max-num-batched-tokens") or _BATCHED_TOKENS)

    def _sequence(self, tokens: int, full: float, local: float) -> float:
        return full * tokens + local * min(tokens, self._window())

    def _longest(self, free: float, full: float, local: float) -> int | None:
        """The longest sequence that fits; None where any does."""
        if free <= 0:
            return 0
        window = self._window()
        within = free / (full + local)
        if not local or within <= window:
            return _rounded(within)
        return _rounded((free - local * window) / full) if full else None


def _rounded(tokens: float) -> int:
    """Down to what people write: whole thousands of 1,024, or blocks of 16."""
    step = 1024 if tokens >= 2048 else 16
    return math.floor(tokens / step) * step

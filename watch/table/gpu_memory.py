"""A GPU's memory: what a server says when its weights, its KV cache or its graphs do not fit."""

from watch.complaints import Topic
from watch.containers import Whose
from watch.table.row import Row

_OUT_OF_MEMORY = (
    r"(?:CUDA out of memory|CUDA error: out of memory|cudaMalloc failed: out of memory|cudaErrorMemoryAllocation"
    r"|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED|Cuda failure (?:\d+ )?'out of memory')"
)
_FRAMES = r"(?:.{0,400}\n){0,40}?.{0,400}"
"""The rest of a traceback, in bounds: what a server prints is not to keep the search busy."""
_LESS = (
    "take more or larger GPUs (`models.NAME.gpus`, `{setting}.accelerator`), or weights of fewer bits, as FP8 or AWQ; "
    "`pulumi preview` says what fits"
)

ROWS = (
    Row(
        "gpu-memory-taken",
        r"Free memory on device.{0,20}\((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than desired GPU "
        r"memory utilization \((?P<asked>[\d.]+)",
        "{free} of the GPU's {total} GiB are free, and the server is to take {asked} of all: something else uses the "
        "GPU. Write `--gpu-memory-utilization={free_share}` in `models.NAME.args`, or look for what is there "
        "(`kubectl -n {namespace} get pods -o wide --field-selector spec.nodeName={node}`); pods that share a GPU on "
        "purpose have `{setting}.sharing`",
        "https://github.com/vllm-project/vllm/issues/20305",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("gpu-memory", "no-kv-cache"),
    ),
    Row(
        "gpu-memory-moves",
        r"Error in memory profiling",
        "what is free on the GPU changed while the server measured it: another process there started or ended. The "
        "next start may succeed; pods that share a GPU on purpose have `{setting}.sharing`",
        "vLLM v0.23.0, vllm/v1/worker/gpu_worker.py",
        Topic.ENGINE,
        Whose.SERVER,
    ),
    Row(
        "kv-cache-too-small",
        r"(?:that can be stored in KV cache \(|estimated maximum model length is )(?P<length>\d+)",
        "the KV cache has no room for one sequence of the model's whole length: write `--max-model-len={length}`, the "
        "longest that fits, in `models.NAME.args`; for longer ones " + _LESS,
        "https://github.com/vllm-project/vllm/issues/2418",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "kv-cache-too-small-for-one",
        r"at least one request with the model'?s'?s? max seq len \((?P<asked>\d+)\), \((?P<needed>[\d.]+) Gi?B KV "
        r"cache is needed, which is larger than the available KV cache memory \((?P<available>[\d.]+) Gi?B\)"
        r"(?!.{0,300}estimated maximum)",
        "the KV cache has {available} GiB, and one sequence of {asked} tokens takes {needed}: write "
        "`--max-model-len={length_that_fits}` in `models.NAME.args`; for longer ones " + _LESS,
        "https://github.com/vllm-project/vllm/issues/16118",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "no-kv-cache",
        r"No available memory for the cache blocks|Not enough memory\. Please try to increase --mem-fraction-static"
        r"|Not enough memory to handle \d+ prefill tokens",
        "the weights leave no memory for the KV cache: raise the server's share of the GPU in `models.NAME.args` "
        "(vLLM: `--gpu-memory-utilization=0.95`; of `models.NAME.server.args` SGLang: `--mem-fraction-static=0.9`, "
        "TGI: a lower `--max-batch-prefill-tokens`), or " + _LESS,
        "https://github.com/vllm-project/vllm/issues/27508",
        Topic.ENGINE,
        Whose.SERVER,
    ),
    Row(
        "cpu-cache-too-large",
        r"Available memory on node \d+ \((?P<free>[\d.]+)/[\d.]+ GiB\) on kv cache allocation is less than requested",
        "of the server's memory {free} GiB are free for the KV cache, and more is asked for: write a lower "
        "`models.NAME.env.VLLM_CPU_KVCACHE_SPACE` (whole GiB, at most {free}), or raise `models.NAME.resources.memory`",
        "vLLM v0.23.0, vllm/v1/worker/cpu_worker.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "gpu-memory-warmup",
        r"out of memory occurred when warming up sampler with (?P<sequences>\d+) dummy requests",
        "{sequences} sequences at once are too many for what the weights and the KV cache leave: write "
        "`--max-num-seqs={half_the_sequences}` in `models.NAME.args`, or a lower `--gpu-memory-utilization`",
        "https://github.com/vllm-project/vllm/issues/17939",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("gpu-memory", "gpu-memory-graphs"),
    ),
    Row(
        "gpu-memory-graphs",
        r"(?:in (?:capture_model|capture_one_batch_size)\s*\n"
        + _FRAMES
        + r"|Capture (?:cuda )?graph failed.{0,400})"
        + _OUT_OF_MEMORY
        + r"|"
        + _OUT_OF_MEMORY
        + r".{0,800}allocated in private pools",
        "the GPU's memory ran out while CUDA graphs were made, after weights and KV cache: write "
        "`--gpu-memory-utilization=0.85` in `models.NAME.args`, or a lower `--max-num-seqs`, or `--enforce-eager`, "
        "which makes no graphs and is slower (SGLang: a lower `--mem-fraction-static` in `models.NAME.server.args`)",
        "https://github.com/vllm-project/vllm/issues/15105",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("gpu-memory",),
    ),
    Row(
        "gpu-memory-weights",
        r"Failed to load model - not enough GPU memory"
        r"|in (?:load_model|load_weights|make_layers|create_weights|initialize_model|_initialize_model|get_model)\s*\n"
        + _FRAMES
        + _OUT_OF_MEMORY,
        "the weights do not fit into the GPU's memory: " + _LESS,
        "https://github.com/vllm-project/vllm/issues/16343",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("gpu-memory",),
    ),
    Row(
        "gpu-memory",
        _OUT_OF_MEMORY + r"|NVML_SUCCESS == r INTERNAL ASSERT FAILED|failed to allocate buffer for kv cache",
        "the GPU's memory ran out: write a lower `--max-model-len` and `--max-num-seqs` in `models.NAME.args`, and "
        "`--gpu-memory-utilization=0.85` where it is not the weights (llama.cpp: a lower `--ctx-size` in "
        "`models.NAME.server.args`); else " + _LESS,
        "https://github.com/vllm-project/vllm/issues/2140",
        Topic.ENGINE,
        Whose.SERVER,
    ),
)

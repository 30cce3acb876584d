"""Memory, arguments and room: stacks that cannot load or be scheduled, and their neighbours that can."""

from __future__ import annotations

from typing import Any

from tests.components.settings.stacks import Bad, Good, Weights
from tests.serving import IMAGE

_LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16"}
LLAMA_8B = Weights(
    {
        **_LLAMA,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "hidden_size": 4096,
        "max_position_embeddings": 131072,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
    },
    16.06,
)
LLAMA_70B = Weights(
    {
        **_LLAMA,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "hidden_size": 8192,
        "max_position_embeddings": 131072,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
    },
    141.1,
)
QWEN_05B = Weights(
    {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "torch_dtype": "bfloat16",
        "sliding_window": 32768,
        "use_sliding_window": False,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "hidden_size": 896,
        "max_position_embeddings": 32768,
    },
    0.99,
)
DEEPSEEK = Weights(
    {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "fp8"},
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "hidden_size": 7168,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128,
        "v_head_dim": 128,
        "max_position_embeddings": 163840,
        "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
    },
    688.6,
)
GEMMA_27B = Weights(
    {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "torch_dtype": "bfloat16",
        "text_config": {
            "model_type": "gemma3_text",
            "num_hidden_layers": 62,
            "num_attention_heads": 32,
            "head_dim": 128,
            "num_key_value_heads": 16,
            "hidden_size": 5376,
            "sliding_window": 1024,
            "sliding_window_pattern": 6,
            "max_position_embeddings": 131072,
        },
    },
    54.9,
)
GPT_OSS = Weights(
    {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "quantization_config": {"quant_method": "mxfp4"},
        "sliding_window": 128,
        "num_hidden_layers": 36,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "hidden_size": 2880,
        "layer_types": ["sliding_attention", "full_attention"] * 18,
        "max_position_embeddings": 131072,
    },
    65.2,
)
MISTRAL_7B_V01 = Weights(
    {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "torch_dtype": "bfloat16",
        "sliding_window": 4096,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 32768,
    },
    14.5,
)
FLOAT32_13B = Weights(
    {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "float32",
        "hidden_size": 5120,
        "max_position_embeddings": 4096,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 40,
    },
    52.0,
)
QWEN3_NEXT = Weights(
    {
        "architectures": ["Qwen3NextForCausalLM"],
        "model_type": "qwen3_next",
        "torch_dtype": "bfloat16",
        "full_attention_interval": 4,
        "head_dim": 256,
        "num_hidden_layers": 48,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "hidden_size": 2048,
        "linear_num_value_heads": 32,
        "max_position_embeddings": 262144,
    },
    163.0,
)
EMBEDDING = Weights(
    {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "torch_dtype": "float32",
        "hidden_size": 1024,
        "max_position_embeddings": 512,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    },
    1.34,
)


def pool(accelerator: str, count: int, **more: Any) -> dict[str, Any]:
    """Edits that make the pool one of such nodes, with room on the disk for anything."""
    disk = {"sizeGb": 4000, "type": "hyperdisk-balanced" if accelerator in HYPERDISK else "pd-ssd"}
    made = {"accelerator": accelerator, "count": count, "zones": ["us-central1-a"], "maxNodes": 2, "bootDisk": disk}
    return {"nodePools.l4": {**made, **more}}


HYPERDISK = {"nvidia-h200-141gb", "nvidia-b200", "nvidia-rtx-pro-6000"}


def args(*items: str, **edits: Any) -> dict[str, Any]:
    return {"models.qwen.args": list(items), **edits}


def models(**each: dict[str, Any]) -> dict[str, Any]:
    return {"models": {key: {"digest": IMAGE, "sizeGb": 1.1, "nodePool": "l4", **one} for key, one in each.items()}}


def replicas(low: int, high: int | None = None, **more: Any) -> dict[str, Any]:
    return {"replicas": {"min": low, **({"max": high} if high else {})}, **more}


PLAIN = {"platforms.kserve.server": {"profile": "plain"}}
"""The server is told nothing by what is known of its image: what does not fit by itself is refused."""
_ARGS, _POOL, _NODES = "models.qwen.args", "models.qwen.nodePool", "nodePools.l4.maxNodes"
_MIN, _MEMORY, _CPU = "models.qwen.replicas.min", "models.qwen.resources.memory", "models.qwen.resources.cpu"
L4X4 = pool("nvidia-l4", 4)
H100X2 = pool("nvidia-h100-80gb", 2, spot=True)
CPU = {"models.qwen.nodePool": None}

SMALL = models(**{f"e{number}": {"sizeGb": 0.3, "resources": {"shm": "512Mi"}} for number in range(8)})

BAD = [
    Bad(
        "a half of an L4 for what needs one",
        {**pool("nvidia-l4", 1, sharing={"maxClients": 2}), "models.qwen.sizeGb": 16.1},
        path=_POOL,
        words=("(45%): write a pool without sharing (remove nodePools.l4.sharing)",),
    ),
    # Amounts that a pod has by default.
    Bad(
        "a machine of one CPU",
        {**pool("nvidia-tesla-t4", 1, machineType="n1-custom-1-6656"), "models.qwen.sizeGb": 0.3},
        path="models.qwen.resources.cpu",
        words=("default of 1 is more than", "n1-custom-1-6656", "write 90m"),
    ),
    Bad(
        "more that share a GPU than it has shares",
        {**pool("nvidia-l4", 1, maxNodes=1, sharing={"maxClients": 4}), **SMALL},
        path=_NODES,
        words=("1 node of 4 shares", "need 2 at the least", "write 2"),
    ),
    Bad(
        "CPUs that one node does not have for both",
        {
            **pool("nvidia-l4", 2, maxNodes=1),
            **models(**{key: {"gpus": 1, "resources": {"cpu": "15"}} for key in "ab"}),
        },
        path=_NODES,
        words=("need 2 at the least for their cpu", "write 2, less resources.cpu for each"),
    ),
    # Weights that no GPU of the pod can hold.
    Bad("141 GB on 4 L4", {**L4X4, "models.qwen.sizeGb": 141}, path=_POOL, words=("141 GB", "a pool of 8 nvidia-l4")),
    Bad(
        "30 GB on one L4",
        {"models.qwen.sizeGb": 30, **pool("nvidia-l4", 1)},
        path=_POOL,
        words=("30 GB", "2 nvidia-l4"),
    ),
    Bad(
        "70B in bfloat16 on one H100", pool("nvidia-h100-80gb", 1, spot=True), LLAMA_70B, _POOL, ("141 GB of weights",)
    ),
    Bad("DeepSeek on 8 H100", pool("nvidia-h100-80gb", 8), DEEPSEEK, _POOL, ("689 GB", "8 nvidia-h200-141gb")),
    Bad(
        "two copies where one fits",
        {**pool("nvidia-h100-80gb", 4, spot=True), **args("-tp", "1", "--data-parallel-size=4")},
        LLAMA_70B,
        _POOL,
        ("do not fit into 1 nvidia-h100-80gb",),
    ),
    Bad(
        "one GPU of four by hand",
        {**L4X4, **args("-tp=1"), "models.qwen.sizeGb": 60},
        path=_POOL,
        words=("1 nvidia-l4",),
    ),
    Bad(
        "half of the memory by hand",
        {**pool("nvidia-l4", 1), **args("--gpu-memory-utilization=0.5")},
        LLAMA_8B,
        _POOL,
        ("(50%)", "2 nvidia-l4"),
    ),
    Bad("13B of float32 kept so on L4", {**L4X4, **args("--dtype=float32", "-tp=2")}, FLOAT32_13B, _POOL, ("52 GB",)),
    Bad("a T4 for 8B", pool("nvidia-tesla-t4", 1), LLAMA_8B, _POOL, ("16.1 GB of weights",)),
    # Sequences that no cache can hold.
    Bad(
        "the model's own 128k on one L4",
        {**pool("nvidia-l4", 1), **PLAIN},
        LLAMA_8B,
        _ARGS,
        ("131072 tokens", "--max-model-len="),
    ),
    Bad(
        "100k asked for on one L4",
        {**pool("nvidia-l4", 1), **args("--max-model-len", "100k")},
        LLAMA_8B,
        _ARGS,
        ("--max-model-len=100000", "write --max-model-len="),
    ),
    Bad("128k of 70B on 2 H100", {**H100X2, **PLAIN}, LLAMA_70B, _ARGS, ("KV cache of one sequence takes 42.9 GB",)),
    Bad(
        "Gemma's 55 GB on 2 of 4 L4",
        {**L4X4, "models.qwen.gpus": 2},
        GEMMA_27B,
        _POOL,
        ("do not fit into 2 nvidia-l4",),
    ),
    # Little room.
    Bad(
        "80k on one L4 by 8-bit cache",
        {**pool("nvidia-l4", 1), **args("--kv-cache-dtype=fp8", "--max-model-len=70000")},
        LLAMA_8B,
        _POOL,
        ("beside weights and one sequence",),
        warned=True,
    ),
    Bad(
        "70B with 16k on 2 H100",
        {**H100X2, **args("--max-model-len=16384")},
        LLAMA_70B,
        _POOL,
        ("% beside weights",),
        warned=True,
    ),
    Bad(
        "20.5 GB on one L4",
        {**pool("nvidia-l4", 1), "models.qwen.sizeGb": 20.5},
        path=_POOL,
        words=("beside the weights",),
        warned=True,
    ),
    Bad(
        "more context than the model has",
        {**pool("nvidia-l4", 1), **args("--max-model-len=65536")},
        QWEN_05B,
        _ARGS,
        ("made for 32768",),
        warned=True,
    ),
    # GPUs and heads.
    Bad("14 heads over 4 GPUs", {**L4X4}, QWEN_05B, "models.qwen.gpus", ("14 attention heads over 4", "gpus: 2")),
    Bad("14 heads over 4 GPUs by hand", {**L4X4, **args("-tp", "4")}, QWEN_05B, _ARGS, ("--tensor-parallel-size=2",)),
    Bad("by 3 layers of 4 GPUs", {**L4X4, **args("-pp=3")}, path=_ARGS, words=("over 12 GPUs", "size=1")),
    Bad(
        "more GPUs than a pod has",
        args("--tensor-parallel-size", "4"),
        path=_ARGS,
        words=("over 4 GPUs", "a pod has 1"),
    ),
    Bad("the same with underscores", args("--tensor_parallel_size=2"), path=_ARGS, words=("over 2 GPUs",)),
    Bad("the same in short", args("-tp=8"), path=_ARGS, words=("over 8 GPUs",)),
    Bad("the same begun", args("--tensor-parallel", "2"), path=_ARGS, words=("over 2 GPUs",)),
    Bad(
        "GPUs that idle",
        {**L4X4, **args("--tensor-parallel-size=2")},
        path=_ARGS,
        words=("2 of its 4 GPUs",),
        warned=True,
    ),
    Bad(
        "3 GPUs of a model that is not known",
        {**L4X4, "models.qwen.gpus": 3},
        path="models.qwen.gpus",
        words=("over 3",),
        warned=True,
    ),
    Bad("several nodes by hand", args("--nnodes=2"), path=_ARGS, words=("several pods is not possible yet",)),
    Bad(
        "bfloat16 of a T4",
        {**pool("nvidia-tesla-t4", 1), **args("--dtype=bfloat16")},
        path=_ARGS,
        words=("--dtype=half",),
    ),
    Bad(
        "more on the host than the pod has",
        args("--cpu-offload-gb", "40"),
        path=_MEMORY,
        words=("24Gi", "44Gi or more"),
    ),
    Bad("no number", args("--tensor-parallel-size=two"), path=_ARGS, words=("whole number",)),
    # Arguments that the parser refuses, or that are the program's.
    Bad("flag and value in one item", args("--max-model-len 8192"), path=_ARGS, words=("--max-model-len=8192",)),
    Bad("several flags in one item", args("--enforce-eager --seed 1"), path=_ARGS, words=("several flags",)),
    Bad("JSON in the same item", args('--override-generation-config {"top_p": 1}'), path=_ARGS, words=("one item",)),
    Bad("a value of no flag", args("8192"), path=_ARGS, words=("belongs to no flag",)),
    Bad("a second value", args("--max-model-len", "8192", "4096"), path=_ARGS, words=("'4096' after --max-model-len",)),
    Bad(
        "a flag without its value", args("--max-model-len", "--enforce-eager"), path=_ARGS, words=("without its value",)
    ),
    Bad("a value for a switch", args("--enable-prefix-caching=true"), path=_ARGS, words=("takes no value",)),
    Bad("a value after a switch", args("--enforce-eager", "true"), path=_ARGS, words=("'true' after --enforce-eager",)),
    Bad(
        "the name with underscores",
        args("--served_model_name=x"),
        path=_ARGS,
        words=("is --served-model-name, which the program sets",),
    ),
    Bad("the port begun", args("--por", "9"), path=_ARGS, words=("is --port",)),
    Bad("the host", args("--host=127.0.0.1"), path=_ARGS, words=("has --host, which the program sets",)),
    Bad("another model", args("--model=org/name"), path=_ARGS, words=("has --model, which the program sets",)),
    Bad("a socket", args("--uds=/tmp/s"), path=_ARGS, words=("answers no HTTP",)),
    Bad("a tokenizer of the hub", args("--tokenizer", "org/name"), path=_ARGS, words=("a hub name",)),
    Bad("a tokenizer without organization", args("--tokenizer=gpt2"), path=_ARGS, words=("'gpt2', a hub name",)),
    Bad(
        "a draft model of the hub",
        args("--speculative-config", '{"model": "org/draft", "method": "eagle"}'),
        path=_ARGS,
        words=("org/draft",),
    ),
    Bad("the same by its key", args("--speculative-config.model=org/draft"), path=_ARGS, words=("org/draft",)),
    Bad(
        "an adapter of the hub", args("--enable-lora", "--lora-modules", "a=org/lora"), path=_ARGS, words=("org/lora",)
    ),
    Bad(
        "a template by its address",
        args("--chat-template=https://host/t.jinja"),
        path=_ARGS,
        words=("https://host/t.jinja",),
    ),
    Bad("percent for a share", args("--gpu-memory-utilization=90"), path=_ARGS, words=("as 0.9",)),
    Bad(
        "a typing error",
        args("--max-model-length=4096"),
        path=_ARGS,
        words=("did you mean --max-model-len",),
        warned=True,
    ),
    Bad("a flag of an older engine", args("--swap-space=4"), path=_ARGS, words=("v0.23.0 does not know",), warned=True),
    Bad("twice the same", args("--seed=1", "--seed=2"), path=_ARGS, words=("2 times",), warned=True),
    # Models without GPUs.
    Bad("141 GB in 4Gi", {**CPU, "models.qwen.sizeGb": 141}, path=_MEMORY, words=("4Gi", "137Gi")),
    Bad("8B in 8Gi", {**CPU, "models.qwen.resources": {"memory": "8Gi"}}, LLAMA_8B, _MEMORY, ("is 8Gi", "20Gi")),
    Bad(
        "8B on the system pool",
        {**CPU, "models.qwen.resources": {"memory": "24Gi"}},
        LLAMA_8B,
        _MEMORY,
        ("e2-standard-4", "systemPool.machineType"),
    ),
    Bad(
        "3.5 GB in 4Gi", {**CPU, "models.qwen.sizeGb": 3.5}, path=_MEMORY, words=("nothing for its cache",), warned=True
    ),
    # Room.
    Bad(
        "four pods on two GPUs",
        {"models.qwen.replicas": {"min": 4}},
        path=_MIN,
        words=("room for 2 pods", "maxNodes: 4"),
    ),
    Bad(
        "pods of 5 on nodes of 8",
        {**pool("nvidia-l4", 8), "models.qwen.gpus": 5, "models.qwen.replicas": {"min": 3}},
        path=_MIN,
        words=("room for 2 pods",),
    ),
    Bad(
        "two of 5 on one node of 8",
        {**pool("nvidia-l4", 8, maxNodes=1), **models(a={"gpus": 5}, b={"gpus": 5})},
        path=_NODES,
        words=("need 2 at the least", "write 2"),
    ),
    Bad("three models on two nodes", models(a={}, b={}, c={}), path=_NODES, words=("need 3",)),
    Bad(
        "3 + 3 + 3 on a node of 8",
        {**pool("nvidia-l4", 8, maxNodes=1), **models(a={"gpus": 3}, b={"gpus": 3}, c={"gpus": 3})},
        path=_NODES,
        words=("need 2",),
    ),
    Bad(
        "for each zone",
        {"nodePools.l4.perZone": True, "nodePools.l4.maxNodes": 1, "models.qwen.replicas": {"min": 2}},
        path=_MIN,
        words=("maxNodes: 2",),
    ),
    Bad(
        "scaling beyond the pool",
        {"models.qwen.replicas": {"min": 1, "max": 5}},
        path="models.qwen.replicas.max",
        words=("room for 2 pods",),
        warned=True,
    ),
    Bad(
        "two that scale beyond it",
        models(a=replicas(1, 2), b=replicas(1, 2)),
        path=_NODES,
        words=("may ask for 4",),
        warned=True,
    ),
    Bad("memory of four nodes", {"models.qwen.resources": {"memory": "128Gi"}}, path=_MEMORY, words=("27Gi",)),
    Bad("memory of the machine's whole", {"models.qwen.resources": {"memory": "32Gi"}}, path=_MEMORY, words=("27Gi",)),
    Bad(
        "memory that the system's pods want",
        {"models.qwen.resources": {"memory": "28Gi"}},
        path=_MEMORY,
        words=("27Gi",),
        warned=True,
    ),
    Bad("CPUs of the machine's whole", {"models.qwen.resources": {"cpu": "8"}}, path=_CPU, words=("write at most 7",)),
    Bad(
        "two pods that want a node's memory each",
        {
            **pool("nvidia-l4", 2, maxNodes=1),
            **models(a={"gpus": 1, "resources": {"memory": "60Gi"}}, b={"gpus": 1, "resources": {"memory": "60Gi"}}),
        },
        path=_NODES,
        words=("need 2",),
    ),
    Bad(
        "shared memory above the pod's",
        {"models.qwen.resources": {"shm": "64Gi"}},
        path="models.qwen.resources.shm",
        words=("24Gi",),
        warned=True,
    ),
    Bad(
        "a queued pool",
        {"nodePools.l4.queuedProvisioning": True},
        path=_POOL,
        words=("ProvisioningRequest", "flexStart"),
    ),
    Bad(
        "16 GPUs of nodes of 8",
        {**pool("nvidia-h100-80gb", 8), "models.qwen.gpus": 16},
        path="models.qwen.gpus",
        words=("several nodes is not possible yet",),
    ),
    Bad(
        "Knative without room for an update",
        {"platforms.kserve": {"deploymentMode": "Knative", "gateway": "none"}, "nodePools.l4.maxNodes": 1},
        path=_POOL,
        words=("every update",),
        warned=True,
    ),
]

GOOD = [
    Good("the model's own 128k on one L4, of which what fits is taken", pool("nvidia-l4", 1), LLAMA_8B),
    Good(
        "the same on an image that does not find it, told by the fit",
        {**pool("nvidia-l4", 1), "platforms.kserve.server": {"image": IMAGE}},
        LLAMA_8B,
    ),
    Good("a small model"),
    Good("141 GB on 2 H200's worth of H100", {**pool("nvidia-h100-80gb", 4, spot=True), "models.qwen.sizeGb": 141}),
    Good("141 GB on 8 L4", {**pool("nvidia-l4", 8), "models.qwen.sizeGb": 141}),
    Good("141 GB on 2 RTX PRO 6000", {**pool("nvidia-rtx-pro-6000", 2), "models.qwen.sizeGb": 141}),
    Good("70B on 4 H100", {**pool("nvidia-h100-80gb", 4, spot=True)}, LLAMA_70B),
    Good("70B with 8k on 2 H100", {**H100X2, **args("--max-model-len=8192")}, LLAMA_70B),
    Good("70B of which the cache is its own affair", {**H100X2, **args("--max-model-len=auto")}, LLAMA_70B),
    Good(
        "70B, 8-bit on load, on 2 A100",
        {**pool("nvidia-a100-80gb", 2), **args("--quantization=fp8", "--max-model-len=8k")},
        LLAMA_70B,
    ),
    Good(
        "70B, 4-bit on load, on one H100",
        {**pool("nvidia-h100-80gb", 1, spot=True), **args("--quantization", "bitsandbytes", "--max-model-len=4096")},
        LLAMA_70B,
    ),
    Good("float32 files on 2 L4", {**pool("nvidia-l4", 2)}, FLOAT32_13B),
    Good(
        "float32 files of an image by digest",
        {**pool("nvidia-l4", 2), "models.qwen.sizeGb": 52, **args("--dtype=bfloat16")},
    ),
    Good("offloaded to the host", {**pool("nvidia-l4", 1), "models.qwen.sizeGb": 26, **args("--cpu-offload-gb=10")}),
    Good("8B with 16k on one L4", {**pool("nvidia-l4", 1), **args("--max-model-len=16384")}, LLAMA_8B),
    Good("8B with 16k as two items", {**pool("nvidia-l4", 1), **args("--max-model-len", "16k")}, LLAMA_8B),
    Good("8B with 128k on 4 L4", {**L4X4}, LLAMA_8B),
    Good(
        "8B with 40k in 8-bit cache",
        {**pool("nvidia-l4", 1), **args("--kv-cache-dtype=fp8", "--max-model-len=40000")},
        LLAMA_8B,
    ),
    Good("latent attention: all of DeepSeek's 160k", {**pool("nvidia-h200-141gb", 8, spot=True)}, DEEPSEEK),
    Good("Gemma's windows: 128k on 2 H100", {**H100X2}, GEMMA_27B),
    Good("gpt-oss: 128k on one H100", {**pool("nvidia-h100-80gb", 1, spot=True)}, GPT_OSS),
    Good("a window on all layers: 32k on one L4", {**pool("nvidia-l4", 1)}, MISTRAL_7B_V01),
    Good("layers without a cache: 256k on 4 H100", {**pool("nvidia-h100-80gb", 4, spot=True)}, QWEN3_NEXT),
    Good("an embedding model has no cache", {}, EMBEDDING),
    Good("14 heads over 2 GPUs", {**pool("nvidia-l4", 2)}, QWEN_05B),
    Good("14 heads: 2 by tensors, 2 by layers", {**L4X4, **args("-tp=2", "-pp=2")}, QWEN_05B),
    Good("by layers alone", {**L4X4, **args("--pipeline-parallel-size=4")}),
    Good("by layers, and tensors by what is left", {**pool("nvidia-l4", 8), **args("-pp", "2")}),
    Good("whole copies alone", {**pool("nvidia-l4", 8), **args("--data-parallel-size=8")}),
    Good("14 heads: 2 by tensors, 2 copies", {**L4X4, **args("-tp", "2", "--data-parallel-size", "2")}, QWEN_05B),
    Good("layers and tensors by hand", {**L4X4, **args("--tensor_parallel_size=2", "--pipeline_parallel_size=2")}),
    Good("the tensors of the program once more", {**L4X4, **args("--tensor-parallel-size=4")}),
    Good(
        "longer than it is made for, asked for twice",
        {
            **pool("nvidia-l4", 1),
            **args("--max-model-len=65536"),
            "models.qwen.env": {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"},
        },
        QWEN_05B,
    ),
    # Arguments.
    Good("flag and value as two items", args("--max-model-len", "8192", "--gpu-memory-utilization", "0.9")),
    Good("a switch and its opposite", args("--enforce-eager", "--no-enable-prefix-caching")),
    Good("keys of JSON", args("--compilation-config.level", "3", "--kernel-config.a.b=1")),
    Good("JSON as a value with spaces", args("--override-generation-config", '{"temperature": 0.5}')),
    Good("keys of JSON in short", args("-cc.mode=3", "-O.level", "2")),
    Good("a file of arguments", {**pool("nvidia-l4", 1), **args("--config=/etc/vllm.yaml")}, LLAMA_8B),
    Good("half precision of a T4", {**pool("nvidia-tesla-t4", 1), **args("--dtype=half")}),
    Good("a level at once", args("-O3", "-qfp8")),
    Good("a number below zero", args("--max-logprobs", "-1")),
    Good("several values", args("--allowed-media-domains", "a.org", "b.org", "--seed=1")),
    Good("a parser of calls", args("--enable-auto-tool-choice", "--tool-call-parser", "hermes")),
    Good("a tokenizer in the image", args("--tokenizer=/mnt/models")),
    Good("a GGUF by its file", args("--model=/mnt/models/x-Q4_K_M.gguf", "--tokenizer=/mnt/models")),
    Good("a generation configuration by its word", args("--generation-config=vllm")),
    Good(
        "n-grams need no draft model", args("--speculative-config", '{"method": "ngram", "num_speculative_tokens": 4}')
    ),
    Good("a draft model in the image", args("--speculative-config.model=/mnt/models/draft")),
    Good("an adapter in the server's image", args("--enable-lora", "--lora-modules", "a=/adapters/a", "b=/adapters/b")),
    Good("a template in the server's image", args("--chat-template=examples/tool_chat_template_hermes.jinja")),
    Good("middleware twice", args("--middleware=a.b", "--middleware=c.d")),
    # Models without GPUs.
    Good("half a billion parameters on CPU", {**CPU}, QWEN_05B),
    Good(
        "8B on a larger system pool",
        {
            **CPU,
            "models.qwen.resources": {"memory": "24Gi", "cpu": "8"},
            "cluster.create.systemPool": {"machineType": "n2-highmem-16"},
        },
        LLAMA_8B,
    ),
    Good(
        "8B on a machine that is not known",
        {
            **CPU,
            "models.qwen.resources": {"memory": "240Gi"},
            "cluster.create.systemPool": {"machineType": "m3-ultramem-32"},
        },
        LLAMA_8B,
    ),
    Good("12Gi on the default system pool", {**CPU, "models.qwen.resources": {"memory": "10Gi", "cpu": "3"}}),
    # Room.
    Good("two pods on two GPUs", {"models.qwen.replicas": {"min": 2}}),
    Good(
        "three of 2 GPUs and one of 2 on a node of 8",
        {**pool("nvidia-l4", 8, maxNodes=1), **models(a={"gpus": 2, **replicas(3)}, b={"gpus": 2})},
    ),
    Good("5 + 3 on a node of 8", {**pool("nvidia-l4", 8, maxNodes=1), **models(a={"gpus": 5}, b={"gpus": 3})}),
    Good(
        "5 + 5 + 3 + 3 on two nodes of 8",
        {**pool("nvidia-l4", 8), **models(a={"gpus": 5, **replicas(2)}, b={"gpus": 3, **replicas(2)})},
    ),
    Good(
        "for each of two zones",
        {
            "nodePools.l4": {
                "accelerator": "nvidia-l4",
                "zones": ["us-central1-a", "us-central1-b"],
                "perZone": True,
                "maxNodes": 1,
            },
            "models.qwen.replicas": {"min": 2},
        },
    ),
    Good(
        "for each zone of a cluster whose zones are not known",
        {
            "nodePools.l4": {"accelerator": "nvidia-l4", "perZone": True, "maxNodes": 1},
            "models.qwen.replicas": {"min": 3},
        },
    ),
    Good("a third model that is paused", models(a={}, b={}, c={"paused": True})),
    Good("from zero", {"models.qwen.delivery": "kubeai", "models.qwen.replicas": {"min": 0, "max": 2}}),
    Good("the most memory that is offered", {"models.qwen.resources": {"memory": "27Gi", "cpu": "7"}}),
    Good("halves of a node", {**pool("nvidia-l4", 2, maxNodes=1), **models(a={"gpus": 1}, b={"gpus": 1})}),
    Good(
        "unequal halves of a node",
        {
            **pool("nvidia-l4", 2, maxNodes=1),
            **models(a={"gpus": 1, "resources": {"memory": "60Gi"}}, b={"gpus": 1, "resources": {"memory": "20Gi"}}),
        },
    ),
    Good(
        "eight that share a GPU, with CPU and memory by default",
        {**pool("nvidia-l4", 1, maxNodes=1, sharing={"maxClients": 8}), **SMALL},
    ),
    Good(
        "eight that share the GPU of a machine of 4 CPUs",
        {**pool("nvidia-l4", 1, maxNodes=1, machineType="g2-standard-4", sharing={"maxClients": 8}), **SMALL},
    ),
    Good(
        "four that share a T4",
        {
            **pool("nvidia-tesla-t4", 1, maxNodes=1, machineType="n1-standard-4", sharing={"maxClients": 4}),
            **models(**{key: {"sizeGb": 0.3} for key in "abcd"}),
        },
    ),
    Good(
        "one on a machine of one CPU, as told",
        {
            **pool("nvidia-tesla-t4", 1, machineType="n1-custom-1-6656"),
            "models.qwen.sizeGb": 0.3,
            "models.qwen.resources": {"cpu": "90m"},
        },
    ),
    Good("flex-start", {"nodePools.l4.flexStart": True}),
    Good("a queued pool without models", {"nodePools.q": {"accelerator": "nvidia-l4", "queuedProvisioning": True}}),
    Good(
        "Knative with room for an update",
        {
            "platforms.kserve": {
                "deploymentMode": "Knative",
                "gateway": "none",
                "server": {"image": f"registry.example/vllm@sha256:{'a' * 64}"},
            }
        },
    ),
    Good(
        "a large shared memory in a large pod",
        {**pool("nvidia-h100-80gb", 8), "models.qwen.resources": {"shm": "64Gi"}},
    ),
]

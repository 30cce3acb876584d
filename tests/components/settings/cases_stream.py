"""What can be loaded by delivery stream and what cannot: servers, files, arguments, clusters, ways to the registry."""

from __future__ import annotations

from typing import Any

from tests.components.settings.stacks import Bad, Good, Weights
from tests.mocks import DIGEST

QWEN, KSERVE = "models.qwen", "platforms.kserve"
STREAM: dict[str, Any] = {
    f"{QWEN}.delivery": "stream",
    f"{QWEN}.digest": f"us-central1-docker.pkg.dev/demo/models/qwen@{DIGEST}",
}
FEATURES = {f"{KSERVE}.server": {"image": f"us-docker.pkg.dev/p/r/vllm@{DIGEST}", "features": ["runai-streamer"]}}
UNTOLD = {f"{KSERVE}.server": {"image": f"us-docker.pkg.dev/p/r/vllm@{DIGEST}"}}
ADAPTER = {f"{QWEN}.adapters": {"sql": {"digest": f"us-central1-docker.pkg.dev/demo/models/lora@{DIGEST}"}}}
CAUSAL = Weights({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}, 1.0)
ON_CPU = {"cpuImage": f"r.example/vllm@{DIGEST}", "features": ["runai-streamer"]}
CACHE = f"us-central1-docker.pkg.dev/demo/models/c@{DIGEST}"
REACH = f"{KSERVE}.stream"

GOOD: list[Good] = [
    Good("vLLM's own image", STREAM),
    Good("an image of others that has the streamer", {**STREAM, **FEATURES}),
    Good("a cluster without image volumes", {**STREAM, "cluster.create.version": "1.33"}),
    Good("a sandboxed pool", {**STREAM, "nodePools.l4.sandbox": "gvisor", "nodePools.l4.maxNodes": 2}),
    Good("adapters as image volumes", {**STREAM, **ADAPTER}),
    Good("weights of one set of safetensors", {f"{QWEN}.delivery": "stream"}, CAUSAL),
    Good("the streamer named once more", {**STREAM, f"{QWEN}.args": ["--load-format=runai_streamer"]}),
    Good("drafts without weights", {**STREAM, f"{QWEN}.args": ['--speculative-config={"method":"ngram"}']}),
    Good("a chat template of the server's image", {**STREAM, f"{QWEN}.args": ["--chat-template=/vllm/t.jinja"]}),
    Good("quantised by the server", {**STREAM, f"{QWEN}.args": ["--quantization=fp8"]}),
    Good("the server's image brought before", {**STREAM, f"{QWEN}.warm": "prepull"}),
    Good("a public registry on another cluster", {
        "target": "local", "registry": {"url": "registry.example/models"}, "cluster": None, "nodePools": None,
        "models": {"qwen": {"digest": f"registry.example/models/qwen@{DIGEST}", "delivery": "stream"}},
        KSERVE: {"version": "v0.20.0", "server": ON_CPU},
    }),
    *(Good(f"the registry by {one}", {**STREAM, REACH: {"reach": one}}) for one in ("private", "restricted", "fqdn")),
    Good("the registry's own addresses", {**STREAM, REACH: {"cidrs": ["192.0.2.0/24"]}}),
    Good("a sidecar with just its memory", {**STREAM, REACH: {"processes": 4, "memory": "288Mi"}}),
]  # fmt: skip

BAD: list[Bad] = [
    Bad(
        "another server",
        {**STREAM, f"{QWEN}.server": {"image": "docker.io/lmsysorg/sglang:v0.5.0", "command": ["serve"]}},
        path=f"{QWEN}.delivery",
        words=("server names another server", "remove server, or write delivery: native"),
    ),
    Bad(
        "Knative",
        {**STREAM, f"{KSERVE}.deploymentMode": "Knative", f"{KSERVE}.gateway": "none"},
        path=f"{QWEN}.delivery",
        words=("a sidecar, which Knative takes from nobody",),
    ),
    Bad(
        "an image of vLLM from before the streamer",
        {**STREAM, f"{KSERVE}.server": {"image": "docker.io/vllm/vllm-openai:v0.10.2"}},
        path=f"{QWEN}.delivery",
        words=("has no streaming loader", "platforms.kserve.server.image"),
    ),
    Bad(
        "vLLM's own image for CPUs",
        {**STREAM, f"{QWEN}.nodePool": None},
        path=f"{QWEN}.delivery",
        words=("has no streaming loader", "platforms.kserve.server.cpuImage"),
    ),
    Bad(
        "features without the streamer",
        {**STREAM, f"{KSERVE}.server": {"features": ["max-model-len-auto"]}},
        path=f"{QWEN}.delivery",
        words=("has no streaming loader",),
    ),
    Bad(
        "an image that nobody knows",
        {**STREAM, **UNTOLD},
        path=f"{QWEN}.delivery",
        words=("is not known for the streaming loader", "server.features: [runai-streamer]"),
        warned=True,
    ),
    *(
        Bad(
            f"{flag} in args",
            {**STREAM, f"{QWEN}.args": [flag]},
            path=f"{QWEN}.args",
            words=words,
        )
        for flag, words in {
            "--load-format=sharded_state": ("--load-format=sharded_state", "runai_streamer"),
            "--load-format=gguf": ("--load-format=gguf",),
            "--quantization=bitsandbytes": ("a loader of its own",),
            "--tokenizer=/mnt/models": ("a path below /mnt/models, where delivery stream mounts nothing",),
            "--chat-template=/mnt/models/chat.jinja": ("a path below /mnt/models",),
            '--speculative-config={"method":"mtp","num_speculative_tokens":1}': ("vllm#42060",),
            '--speculative-config={"model":"/mnt/models/draft"}': ("vllm#42060",),
        }.items()
    ),
    Bad(
        "a draft that a newer server may load",
        {**STREAM, **FEATURES, f"{QWEN}.args": ['--speculative-config={"method":"mtp"}']},
        path=f"{QWEN}.args",
        words=("vllm#42060", "at least up to v0.23.0"),
        warned=True,
    ),
    Bad(
        "a compile cache",
        {**STREAM, **FEATURES, f"{QWEN}.compileCache": {"digest": CACHE}},
        path=f"{QWEN}.compileCache",
        words=("is found by nothing with delivery stream",),
    ),
    Bad(
        "the door's own variable",
        {**STREAM, f"{QWEN}.env": {"AWS_ENDPOINT_URL": "http://minio:9000"}},
        path=f"{QWEN}.env.AWS_ENDPOINT_URL",
        words=("is set by delivery stream",),
    ),
    Bad(
        "weights on a disk",
        {**STREAM, f"{QWEN}.warm": "disk", "nodePools.l4.secondaryBootDisks": ["global/images/w"]},
        path=f"{QWEN}.warm",
        words=("streamed past the disk", "write prepull"),
    ),
    Bad(
        "adapters on a cluster without image volumes",
        {**STREAM, **ADAPTER, "cluster.create.version": "1.33"},
        path="cluster.create.version",
        words=("1.35",),
    ),
    Bad(
        "two GPUs that read the weights each",
        {**STREAM, "nodePools.l4.count": 2},
        path=f"{QWEN}.delivery",
        words=("each of 2 GPUs' processes reads all of the weights",),
        warned=True,
    ),
    Bad(
        "a registry of Google's from outside of its cloud",
        {"target": "local", "registry": None, "cluster": None, "nodePools": None, **STREAM, f"{QWEN}.nodePool": None},
        path=f"{QWEN}.delivery",
        words=("a login of its own", "add us-central1-docker.pkg.dev to pullSecrets"),
    ),
    Bad(
        "a tokenizer of the hub's, for which no path is mounted either",
        {**STREAM, f"{QWEN}.args": ["--tokenizer=Qwen/Qwen2.5-0.5B-Instruct"]},
        path=f"{QWEN}.args",
        words=("while the hub is off (weights come from the image only): remove it, for the server finds",),
    ),
    Bad(
        "an address of the registry, which Kubernetes takes for no range",
        {**STREAM, REACH: {"cidrs": ["192.0.2.7"]}},
        path=f"{REACH}.cidrs.0",
        words=("write 192.0.2.7/32",),
    ),
    Bad(
        "a sidecar without the memory of its processes",
        {**STREAM, REACH: {"processes": 4, "memory": "128Mi"}},
        path=f"{QWEN}.delivery",
        words=("memory is 128Mi", "its 4 processes need 288Mi"),
    ),
    Bad(
        "two ways to say where the registry is",
        {**STREAM, REACH: {"reach": "private", "cidrs": ["192.0.2.0/24"]}},
        path=f"{QWEN}.delivery",
        words=("cidrs is of reach: port",),
    ),
    Bad(
        "hosts that no rule names",
        {**STREAM, REACH: {"hosts": ["storage.googleapis.com"]}},
        path=f"{QWEN}.delivery",
        words=("hosts is of reach: fqdn",),
    ),
    Bad(
        "Google's addresses for another registry",
        {**STREAM, f"{QWEN}.digest": f"registry.example/models/qwen@{DIGEST}", REACH: {"reach": "restricted"}},
        path=f"{QWEN}.delivery",
        words=("Google's own addresses", "registry.example"),
    ),
    Bad(
        "Google's addresses outside of its cloud",
        {
            "target": "local", "registry": None, "cluster": None, "nodePools": None, **STREAM, f"{QWEN}.nodePool": None,
            f"{QWEN}.digest": f"registry.example/models/qwen@{DIGEST}", REACH: {"reach": "private"},
        },
        path=f"{QWEN}.delivery",
        words=("reach is private, which is Google's",),
    ),
]  # fmt: skip

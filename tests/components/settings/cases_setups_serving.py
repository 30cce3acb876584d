"""Set-ups on the serving side that people run: secrets, placement, other servers, other KServes, their own gateways."""

from __future__ import annotations

from typing import Any

from tests.components.settings.stacks import Bad, Good
from tests.serving import IMAGE

QWEN = "models.qwen"
KSERVE = "platforms.kserve"
SGLANG: dict[str, Any] = {
    "image": "docker.io/lmsysorg/sglang:v0.5.0",
    "command": ["python3", "-m", "sglang.launch_server"],
    "args": ["--model-path=/mnt/models", "--host=0.0.0.0", "--port=30000"],
    "port": 30000,
}
LLAMA_CPP: dict[str, Any] = {
    "image": "ghcr.io/ggml-org/llama.cpp:server-cuda-b6000",
    "args": ["--model", "/mnt/models/model.gguf", "--port", "8080"],
}
TEI: dict[str, Any] = {
    "image": "ghcr.io/huggingface/text-embeddings-inference:89-1.8",
    "command": ["text-embeddings-router"],
    "args": ["--model-id=/mnt/models", "--port=8080"],
}
TWO_POOLS: dict[str, Any] = {
    "nodePools.spot": {"accelerator": "nvidia-l4", "zones": ["us-central1-a"], "spot": True, "maxNodes": 2}
}
GIVEN = {f"{KSERVE}.gatewayInstall": False}
FROM_SECRET = {"secretKeyRef": {"name": "keys", "key": "vllm"}}
TOKEN = "hf_aB3dE5gH7jK9mN1pQ3sT5vW7yZ0cF2hJ4"
ZONE = {"topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}


GOOD: list[Good] = [
    Good("a variable from a Secret", {f"{QWEN}.env": {"VLLM_API_KEY": FROM_SECRET, "A": "b"}}),
    Good("the name of a token's file", {f"{QWEN}.env": {"HF_TOKEN_PATH": "/var/token", "HF_TOKEN": "/var/run/token"}}),
    Good("switches with a word of secrets in their names", {f"{QWEN}.env": {"TOKENIZERS_PARALLELISM": "false"}}),
    Good(
        "names and addresses that only look like secrets'",
        {
            f"{QWEN}.env": {
                "COMPASS": "north",
                "BYPASS": "cache",
                "PWD": "x/y",
                "OLDPWD": "/x",
                "DATABASE_URL": "postgres://u:$(DB_PASSWORD)@h/db",
                "HTTPS_PROXY": "http://proxy.example.com:3128",
                "MAIL": "http://user@host:80/a:b@c",
                "TAG": "sk-projection-of-the-weights-onto-a-plane",
            }
        },
    ),
    *(
        Good(
            f"{low} replicas over a pool of {first} nodes and its fallback",
            {
                **TWO_POOLS,
                "nodePools.l4.maxNodes": first,
                f"{QWEN}.fallbackPools": ["spot"],
                f"{QWEN}.replicas": {"min": low},
            },
        )
        for first, low in ((2, 4), (3, 5))
    ),
    Good(
        "a spread over a label of one's own",
        {"nodePools.l4.labels": {"rack": "a"}, f"{QWEN}.topologySpread": [{"topologyKey": "rack"}]},
    ),
    Good(
        "a gateway's address by its name",
        {f"{KSERVE}.gateway": "gke", f"{KSERVE}.gatewayAddress": "models", f"{KSERVE}.prometheus": "http://prom:9090"},
    ),
    Good(
        "no NAT, and the server's image in Artifact Registry",
        {
            "cluster.create.newNetwork": {"nat": False},
            f"{KSERVE}.server": {"image": "us-docker.pkg.dev/project/images/vllm:v0.23.0"},
        },
    ),
    Good("a file with the hub's token", {f"{QWEN}.args": ["--hf-token"]}),
    Good("numbers and references", {f"{QWEN}.env": {"MAX_TOKEN": "4096", "API_KEY": "$(OTHER)"}}),
    Good(
        "a priority, labels and a spread",
        {
            f"{QWEN}.priorityClass": "serving-high",
            f"{QWEN}.labels": {"team": "search", "example.com/cost-center": "42"},
            f"{QWEN}.topologySpread": [ZONE, {"topologyKey": "kubernetes.io/hostname"}],
        },
    ),
    Good(
        "labels that Kubernetes recommends, and a queue",
        {f"{QWEN}.labels": {"app.kubernetes.io/part-of": "search", "kueue.x-k8s.io/queue-name": "gpus"}},
    ),
    Good("a priority on KubeAI", {f"{QWEN}.delivery": "kubeai", f"{QWEN}.priorityClass": "serving-high"}),
    Good("spot first, else on demand", {**TWO_POOLS, f"{QWEN}.nodePool": "spot", f"{QWEN}.fallbackPools": ["l4"]}),
    Good(
        "the same on KubeAI",
        {**TWO_POOLS, f"{QWEN}.nodePool": "spot", f"{QWEN}.fallbackPools": ["l4"], f"{QWEN}.delivery": "kubeai"},
    ),
    Good(
        "a larger node as fallback, with gpus",
        {
            "nodePools.big": {"accelerator": "nvidia-l4", "count": 2, "zones": ["us-central1-a"]},
            f"{QWEN}.fallbackPools": ["big"],
            f"{QWEN}.gpus": 1,
        },
    ),
    Good("SGLang by modelcar", {f"{QWEN}.server": SGLANG}),
    Good(
        "llama.cpp by an image volume, with its own entrypoint",
        {f"{QWEN}.server": LLAMA_CPP, f"{QWEN}.delivery": "native"},
    ),
    Good("text-embeddings-inference", {f"{QWEN}.server": TEI, f"{QWEN}.task": "embedding"}),
    Good(
        "SGLang with an argument that vLLM has not", {f"{QWEN}.server": SGLANG, f"{QWEN}.args": ["--tp 2", "--model=x"]}
    ),
    Good("KServe 0.17 that is there", {f"{KSERVE}.version": "v0.17.0", f"{KSERVE}.install": False}),
    Good("KServe 0.18 that is there", {f"{KSERVE}.version": "v0.18.1", f"{KSERVE}.install": False}),
    Good("a newer KServe", {f"{KSERVE}.version": "v0.21.0", f"{QWEN}.delivery": "native"}),
    Good("a shared Gateway", {**GIVEN, f"{KSERVE}.gatewayName": "shared", f"{KSERVE}.gatewayNamespace": "infra"}),
    Good("a listener of it", {**GIVEN, f"{KSERVE}.gatewayName": "shared", f"{KSERVE}.gatewaySection": "https"}),
    Good("a static address", {f"{KSERVE}.gatewayAddress": "models-ip"}),
    Good("several hosts", {f"{QWEN}.hosts": ["chat.example.org", "api.models.example.com"]}),
]
BAD: list[Bad] = [
    Bad("a number as a variable", {f"{QWEN}.env": {"X": 1}}, path=f"{QWEN}.env.X", words=(".X: is the number 1: put",)),
    Bad("a text as arguments", {f"{QWEN}.args": "--x"}, path=f"{QWEN}.args", words=("write a list",)),
    Bad(
        "a machine made to measure of no multiple",
        {
            "nodePools.l4.accelerator": "nvidia-tesla-t4",
            "nodePools.l4.machineType": "custom-8-52-ext",
        },
        path="nodePools.l4",
        words=("write 7424",),
    ),
    Bad(
        "a label that the program sets",
        {f"{QWEN}.labels": {"app.kubernetes.io/managed-by": "me"}},
        path=f"{QWEN}.labels",
        words=("has app.kubernetes.io/managed-by", "remove it"),
    ),
    Bad(
        "a label that KServe sets",
        {f"{QWEN}.labels": {"serving.kserve.io/inferenceservice": "other"}},
        path=f"{QWEN}.labels",
        words=("has serving.kserve.io/inferenceservice", "remove it"),
    ),
    Bad(
        "a token by its name", {f"{QWEN}.env": {"HF_TOKEN": "secretvalue"}}, None, f"{QWEN}.env.HF_TOKEN", ("--secret",)
    ),
    Bad(
        "a token by its form",
        {f"{QWEN}.env": {"X": "hf_aB3dE5gH7jK9mN1pQ3sT5vW7yZ0cF2hJ4l"}},
        None,
        f"{QWEN}.env.X",
        ("--secret",),
    ),
    Bad("a password", {f"{QWEN}.env": {"DB_PASSWORD": "hunter2"}}, None, f"{QWEN}.env.DB_PASSWORD", ("secretEnv",)),
    Bad(
        "a key in the arguments",
        {f"{QWEN}.args": ["--api-key=sk-123"]},
        None,
        f"{QWEN}.args",
        ("--secret", "VLLM_API_KEY"),
    ),
    *(
        Bad(
            f"a token of the hub in the arguments: {given[0]}",
            {f"{QWEN}.args": given},
            None,
            f"{QWEN}.args",
            ("in plain text", "secretEnv.HF_TOKEN"),
        )
        for given in (
            [f"--hf-token={TOKEN}"],
            [f"--hf_token={TOKEN}"],
            ["--hf-token", TOKEN],
        )
    ),
    *(
        Bad(f"a secret in {name}", {f"{QWEN}.env": {name: value}}, None, f"{QWEN}.env.{name}", ("secretEnv",))
        for name, value in (
            ("OPENAI", "sk-proj-" + "a1b2c3d4e5f6" * 3),
            ("DATABASE_URL", "postgres://u:p@h/db"),
            ("CACHE", "redis://:hunter2@cache:6379/0"),
            ("HTTPS_PROXY", "http://user:word@proxy.example.com:3128"),
            ("DB_PASS", "x"),
            ("PASS", "hunter2"),
            ("DB_PWD", "hunter2"),
            ("DB_PASSWD", "hunter2"),
        )
    ),
    Bad(
        "more replicas than the pool and its fallback have nodes",
        {**TWO_POOLS, f"{QWEN}.fallbackPools": ["spot"], f"{QWEN}.replicas": {"min": 5}},
        None,
        f"{QWEN}.replicas.min",
        ("is 5", "l4, spot together have room for 4", "nodePools.l4.maxNodes: 3, or replicas.min: 4"),
    ),
    Bad(
        "the fallback has models of its own",
        {
            **TWO_POOLS,
            f"{QWEN}.fallbackPools": ["spot"],
            f"{QWEN}.replicas": {"min": 4},
            "models.own": {"digest": IMAGE, "sizeGb": 1.1, "nodePool": "spot"},
        },
        None,
        f"{QWEN}.replicas.min",
        ("room for 3 pods of 1 GPU beside 1 GPU of other models", "nodePools.l4.maxNodes: 3"),
    ),
    *(
        Bad(
            f"another server's image that moves: {image}",
            {f"{QWEN}.server": {**SGLANG, "image": image}},
            None,
            f"{QWEN}.server.image",
            ("can change under you",),
        )
        for image in ("x/y", "docker.io/lmsysorg/sglang:latest")
    ),
    Bad(
        "another server with more weights than its GPU holds",
        {f"{QWEN}.server": SGLANG, f"{QWEN}.sizeGb": 60, "nodePools.l4.bootDisk": {"sizeGb": 400}},
        path=f"{QWEN}.nodePool",
        words=("60 GB are more than the memory of 1 GPU",),
        warned=True,
    ),
    Bad(
        "the whole memory of the GPU",
        {f"{QWEN}.args": ["--gpu-memory-utilization=0.98"]},
        path=f"{QWEN}.args",
        words=("CUDA's own context", "write 0.92"),
        warned=True,
    ),
    Bad(
        "a spread over a label that no node has",
        {f"{QWEN}.topologySpread": [{"topologyKey": "zone"}]},
        None,
        f"{QWEN}.topologySpread",
        ("topologyKey zone", "write topology.kubernetes.io/zone"),
    ),
    Bad(
        "a gateway's address by its number",
        {f"{KSERVE}.gateway": "gke", f"{KSERVE}.gatewayAddress": "34.1.2.3"},
        None,
        f"{KSERVE}.gatewayAddress",
        ("write the name",),
    ),
    Bad(
        "a Prometheus without a scheme",
        {f"{KSERVE}.prometheus": "prom:9090"},
        None,
        f"{KSERVE}.prometheus",
        ("write http://prom:9090",),
    ),
    Bad(
        "no way to Docker Hub",
        {"cluster.create.newNetwork": {"nat": False}},
        path="cluster.create.newNetwork.nat",
        words=("docker.io/vllm/vllm-openai", "write true"),
        warned=True,
    ),
    Bad("the same in two items", {f"{QWEN}.args": ["--api-key", "sk-123"]}, None, f"{QWEN}.args", ("--secret",)),
    Bad("secrets in plain", {f"{QWEN}.secretEnv": {"K": "v"}}, None, f"{QWEN}.secretEnv", ("plain text", "--secret")),
    Bad("a variable that is none", {f"{QWEN}.env": {"1A": "b"}}, None, f"{QWEN}.env", ("no environment variable",)),
    Bad(
        "a Secret's key on KubeAI",
        {f"{QWEN}.env": {"A": FROM_SECRET}, f"{QWEN}.delivery": "kubeai"},
        None,
        f"{QWEN}.env.A",
        ("secretEnv",),
    ),
    Bad(
        "labels on KubeAI",
        {f"{QWEN}.labels": {"a": "b"}, f"{QWEN}.delivery": "kubeai"},
        None,
        f"{QWEN}.labels",
        ("is for KServe",),
    ),
    Bad(
        "a spread on KubeAI",
        {f"{QWEN}.topologySpread": [ZONE], f"{QWEN}.delivery": "kubeai"},
        None,
        f"{QWEN}.topologySpread",
        ("is for KServe",),
    ),
    Bad(
        "another server on KubeAI",
        {f"{QWEN}.server": SGLANG, f"{QWEN}.delivery": "kubeai"},
        None,
        f"{QWEN}.server",
        ("is for KServe",),
    ),
    Bad(
        "a label of the platform's",
        {f"{QWEN}.labels": {"serving.kserve.io/inferenceservice": "x"}},
        None,
        f"{QWEN}.labels",
        ("platform",),
    ),
    Bad(
        "a spread on Knative",
        {f"{QWEN}.topologySpread": [ZONE], f"{KSERVE}.deploymentMode": "Knative", f"{KSERVE}.gateway": "none"},
        None,
        f"{QWEN}.topologySpread",
        ("Knative",),
    ),
    Bad(
        "a fallback that is not there",
        {f"{QWEN}.fallbackPools": ["none"]},
        None,
        f"{QWEN}.fallbackPools",
        ("does not exist",),
    ),
    Bad("a fallback to itself", {f"{QWEN}.fallbackPools": ["l4"]}, None, f"{QWEN}.fallbackPools", ("twice",)),
    Bad(
        "a fallback with other GPUs",
        {
            "nodePools.t4": {"accelerator": "nvidia-tesla-t4", "zones": ["us-central1-a"]},
            f"{QWEN}.fallbackPools": ["t4"],
        },
        None,
        f"{QWEN}.fallbackPools",
        ("same accelerator",),
    ),
    Bad(
        "a fallback with more GPUs and no gpus",
        {
            "nodePools.big": {"accelerator": "nvidia-l4", "count": 2, "zones": ["us-central1-a"]},
            f"{QWEN}.fallbackPools": ["big"],
        },
        None,
        f"{QWEN}.fallbackPools",
        ("write gpus",),
    ),
    Bad(
        "a fallback of nothing",
        {f"{QWEN}.fallbackPools": ["l4"], f"{QWEN}.nodePool": None},
        None,
        f"{QWEN}.fallbackPools",
        ("nodePool",),
    ),
    Bad("modelcar without a command", {f"{QWEN}.server": LLAMA_CPP}, None, f"{QWEN}.server.command", ("native",)),
    Bad(
        "adapters of another server",
        {f"{QWEN}.server": SGLANG, f"{QWEN}.adapters": {"a": {"digest": IMAGE}}},
        None,
        f"{QWEN}.adapters",
        ("is for vLLM",),
    ),
    Bad("a server without an image", {f"{QWEN}.server": {"args": ["x"]}}, None, f"{QWEN}.server.image", ()),
    Bad(
        "a health path without a slash",
        {f"{QWEN}.server": {**SGLANG, "health": "health"}},
        None,
        f"{QWEN}.server.health",
        ("/health",),
    ),
    Bad(
        "KServe 0.17 that is to be installed",
        {f"{KSERVE}.version": "v0.17.0"},
        None,
        f"{KSERVE}.version",
        ("install: false",),
    ),
    Bad(
        "KServe before 0.17",
        {f"{KSERVE}.version": "v0.15.2", f"{KSERVE}.install": False},
        None,
        f"{KSERVE}.version",
        ("v0.17.0",),
    ),
    Bad(
        "an image volume on KServe 0.18",
        {f"{KSERVE}.version": "v0.18.0", f"{KSERVE}.install": False, f"{QWEN}.delivery": "native"},
        None,
        f"{QWEN}.delivery",
        ("v0.20.0",),
    ),
    Bad(
        "a Gateway's name of one that is made here",
        {f"{KSERVE}.gatewayName": "shared"},
        None,
        f"{KSERVE}.gatewayName",
        ("gatewayInstall: false",),
    ),
    Bad(
        "an address of a Gateway that is there",
        {**GIVEN, f"{KSERVE}.gatewayAddress": "ip"},
        None,
        f"{KSERVE}.gatewayAddress",
        ("gatewayInstall: true",),
    ),
    Bad(
        "hosts without Google's gateway",
        {f"{KSERVE}.gateway": "none", f"{QWEN}.hosts": ["chat.example.org"]},
        None,
        f"{QWEN}.hosts",
        ("gateway: gke",),
    ),
    Bad("a host that is none", {f"{QWEN}.hosts": ["https://chat"]}, None, f"{QWEN}.hosts", ("chat.example.com",)),
    Bad("a host twice", {f"{QWEN}.hosts": ["a.example.org", "a.example.org"]}, None, f"{QWEN}.hosts", ("leads to",)),
    Bad(
        "another model's host",
        {
            f"{QWEN}.hosts": ["other-models.example.com"],
            "models.other": {"digest": IMAGE, "sizeGb": 1.1, "nodePool": "l4"},
        },
        None,
        f"{QWEN}.hosts",
        ("models.other",),
    ),
]

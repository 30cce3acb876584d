"""What one key says about another: each contradiction by its own, with key path and remedy."""

import copy
from pathlib import Path
from typing import Any

import pytest

from components.settings.checks.serving import is_pinned
from tests.components.settings.reading import problems, read
from tests.serving import IMAGE, gke, local
from tests.weights import write_model

HUB = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
KEDA = {"keda": True, "prometheus": "http://prometheus:9090"}
ZERO = {"replicas": {"min": 0}, "scaling": {"query": "sum(x)"}}


def with_model(**fields: Any) -> dict[str, Any]:
    image = {} if {"source", "fromStack", "digest"} & set(fields) else {"digest": IMAGE}
    return gke({"qwen": {**image, "nodePool": "l4", **fields}})


def with_kserve(kserve: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**with_model(**fields), "platforms": {"kserve": kserve, "kubeai": {"version": "0.24.0"}}}


def with_pool(**fields: Any) -> dict[str, Any]:
    pool = {"accelerator": "nvidia-l4", "zones": ["us-central1-a"], **fields}
    return {**with_model(), "nodePools": {"l4": pool}}


GOOD: dict[str, dict[str, Any]] = {
    "a digest on a pool": with_model(),
    "a digest on CPU": gke({"qwen": {"digest": IMAGE}}),
    "the hub": with_model(source=HUB, builder="docker"),
    "a bucket, in Cloud Build": with_model(source="gs://weights/qwen", builder="cloudbuild"),
    "the hub, in the stack's cluster": with_model(source=HUB, builder="cluster"),
    "a bucket, in the stack's cluster": {
        **with_model(source="gs://weights/qwen", builder="cluster"),
        "clusterBuild": {
            "pods": 8,
            "shares": 32,
            "serviceAccount": "packer",
            "nodeSelector": {"cloud.google.com/gke-spot": "true"},
            "tolerations": ["cloud.google.com/gke-spot=true:NoSchedule"],
            "env": {"PIP_INDEX_URL": "https://mirror.example/simple"},
        },
    },
    "the hub, in a local cluster": local(
        {"q": {"source": HUB, "builder": "cluster", "delivery": "native"}}, cluster={"kubeconfig": "kubeconfig"}
    ),
    "an artifact of a registry": with_model(source=f"oci://{IMAGE}", modelpack=True),
    "an artifact of a registry, in Cloud Build": with_model(source=f"oci://{IMAGE}", builder="cloudbuild"),
    "an image of a layout": with_model(source=f"oci:images/qwen@{IMAGE.partition('@')[2]}", builder="docker"),
    "Arm machines": gke({"qwen": {"source": HUB, "platform": "linux/arm64"}}),
    "promotion": with_model(fromStack="acme/oci-model-serving/stage"),
    "promotion under another key": with_model(fromStack="acme/oci-model-serving/stage", model="other", copy=True),
    "native": with_model(delivery="native", source=HUB, base="scratch"),
    "kubeai": with_model(delivery="kubeai", source=HUB, base="scratch"),
    "kubeai from zero": with_model(delivery="kubeai", replicas={"min": 0, "max": 3}),
    "KEDA from zero": with_kserve(KEDA, **ZERO),
    "KEDA from one": with_kserve(KEDA, replicas={"min": 1, "max": 4}, scaling={"query": "sum(x)", "target": 500}),
    "Knative from zero": with_kserve({"deploymentMode": "Knative", "gateway": "none"}, replicas={"min": 0}),
    "the CPU's utilization": with_model(replicas={"min": 1, "max": 4}, scaling={"target": 100}),
    "paused": with_model(paused=True),
    "modelcar on the older KServe": with_kserve({"version": "v0.19.0"}),
    "a warm disk": with_model(warm="disk"),
    "prepull": with_model(warm="prepull"),
    "modelcar in gVisor beside an image volume elsewhere": {
        **gke(
            {"a": {"digest": IMAGE, "nodePool": "safe"}, "b": {"digest": IMAGE, "nodePool": "l4", "delivery": "native"}}
        ),
        "nodePools": {"safe": {"accelerator": "nvidia-l4", "sandbox": "gvisor"}, "l4": {"accelerator": "nvidia-l4"}},
    },
    "adapters of every origin": with_model(
        adapters={
            "sql": {"source": HUB},
            "chat-2": {"digest": IMAGE},
            "up": {"fromStack": "acme/oci-model-serving/stage", "model": "other", "adapter": "down", "copy": True},
        }
    ),
    "the same adapter name of two models": gke(
        {
            "a": {"digest": IMAGE, "adapters": {"x": {"digest": IMAGE}}},
            "b": {"digest": IMAGE, "adapters": {"x": {"digest": IMAGE}}},
        }
    ),
    "an embedding model on KubeAI": with_model(delivery="kubeai", task="embedding"),
    "nothing": {},
    "a local model": local({"qwen": {"digest": IMAGE, "delivery": "native"}}),
}


@pytest.mark.parametrize("values", GOOD.values(), ids=GOOD.keys())
def test_a_stack_without_contradictions_is_read(values: dict[str, Any]) -> None:
    assert set(read(values).models) == set(values.get("models", {}))


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    # Where the image comes from.
    ("two images", with_model(source=HUB, digest=IMAGE), "models.qwen", "has source and digest: write exactly one"),
    ("no image", gke({"qwen": {"nodePool": "l4"}}), "models.qwen", "has no image: write exactly one of source, digest"),
    (
        "a branch",
        with_model(source="hf://Qwen/Qwen@main"),
        "models.qwen.source",
        "write hf://Qwen/Qwen@<40-hex commit>",
    ),
    ("another scheme", with_model(source="s3://weights/qwen"), "models.qwen.source", "write a folder, hf://"),
    ("a bucket of wrong form", with_model(source="gs://A/x"), "models.qwen.source", "write gs://bucket/prefix"),
    (
        "an image by a tag",
        with_model(source="oci://registry.example/models/qwen:v1"),
        "models.qwen.source",
        "'v1' is a tag, which may mean another image tomorrow: write oci://registry.example/models/qwen@sha256:<64 hex "
        "digits>; `oms image inspect registry.example/models/qwen:v1` prints it",
    ),
    (
        "an image of no host",
        with_model(source="oci://qwen"),
        "models.qwen.source",
        "write oci://HOST/REPO@sha256:…: 'qwen' names no registry host",
    ),
    (
        "a layout without a digest",
        with_model(source="oci:images/qwen"),
        "models.qwen.source",
        "there is no digest: write oci:images/qwen@sha256:<64 hex digits>",
    ),
    (
        "a layout in Cloud Build",
        with_model(source=f"oci:images/qwen@{IMAGE.partition('@')[2]}", builder="cloudbuild"),
        "models.qwen.builder",
        "cloudbuild cannot see a folder of this machine",
    ),
    ("a ModelPack of an image", with_model(modelpack=True), "models.qwen.modelpack", "is for source: remove it"),
    (
        "a ModelPack by Docker",
        with_model(source=HUB, builder="docker", modelpack=True),
        "models.qwen.modelpack",
        "is for the other builders",
    ),
    ("a platform that there is not", with_model(platform="linux/arm"), "models.qwen.platform", "linux/arm64"),
    (
        "an image for Arm on a pool of x86-64",
        with_model(platform="linux/arm64"),
        "models.qwen.platform",
        "but the machines of pool 'l4' are x86-64: remove it",
    ),
    ("no such folder", with_model(source="nowhere"), "models.qwen.source", "no folder 'nowhere'"),
    ("no path at all", with_model(source="a" * 5000), "models.qwen.source", "write the path of a folder of weights"),
    ("a wrong stack", with_model(fromStack="stage"), "models.qwen.fromStack", "write organization/project/stack"),
    (
        "this stack itself",
        with_model(fromStack="acme/oci-model-serving/dev"),
        "models.qwen.fromStack",
        "this stack itself",
    ),
    ("a model of no stack", with_model(model="other"), "models.qwen.model", "write fromStack as well"),
    ("a copy of a source", with_model(source=HUB, copy=True), "models.qwen.copy", "is for digest and fromStack"),
    ("a builder for a digest", with_model(builder="docker"), "models.qwen.builder", "is for source: remove it"),
    ("a base for a digest", with_model(base="scratch"), "models.qwen.base", "is for source: remove it"),
    ("modelcar from scratch", with_model(source=HUB, base="scratch"), "models.qwen.base", "runs sh, ln and sleep"),
    (
        "Docker on a layout",
        with_model(source=HUB, builder="docker", base="oci:base"),
        "models.qwen.base",
        "which Docker cannot build on",
    ),
    ("files of an image", with_model(files={"ignore": ["onnx/*"]}), "models.qwen.files", "is for source: remove it"),
    (
        "files by an absolute path",
        with_model(source=HUB, files={"ignore": ["/models/onnx/*"]}),
        "models.qwen.files.ignore.0",
        "'/models/onnx/*' is not relative to the model's root: write for example",
    ),
    (
        "shards that fit into no layer",
        with_model(source=HUB, files={"shardGb": 12}),
        "models.qwen.files.shardGb",
        "is 12: write auto, keep, or 0.1 to 9.4 GB",
    ),
    ("a token in plain text", {"hubToken": "hf_secret"}, "hubToken", "`pulumi config set --secret hubToken`"),
    ("a token of two lines", {"hubToken": "hf_secret\nx"}, "hubToken", "has a space or a line break"),
    ("no version of a secret", {"hubToken": "projects/p/secrets/s"}, "hubToken", "versions/VERSION (or latest)"),
    ("a token that is a map", {"hubToken": {"a": "hf_secret"}}, "hubToken", "is not a text: write a token"),
    ("a zone to build in", {"cloudBuild": {"region": "us-central1-a"}}, "cloudBuild.region", "default: gcp:region"),
    # Deliveries and platforms.
    (
        "kubeai without the platform",
        {**with_model(delivery="kubeai"), "platforms": {"kserve": {}}},
        "models.qwen.delivery",
        "platforms.kubeai is not set: write platforms: {kubeai: {version: …}} with a chart whose CRD knows oci://",
    ),
    (
        "native on the older KServe",
        with_kserve({"version": "v0.19.0"}, delivery="native"),
        "models.qwen.delivery",
        "set platforms.kserve.version to v0.20.0 or later, or write delivery: modelcar",
    ),
    ("an old KServe", with_kserve({"version": "v0.18.0"}), "platforms.kserve.version", "write v0.19.0 or later"),
    (
        "models among Kubernetes' own",
        with_kserve({"modelNamespace": "kube-system"}),
        "platforms.kserve.modelNamespace",
        "write a namespace of its own",
    ),
    (
        "two platforms in one namespace",
        {
            **gke({"a": {"digest": IMAGE}, "b": {"digest": IMAGE, "delivery": "kubeai"}}),
            "platforms": {"kubeai": {"version": "0.24.0", "namespace": "kserve"}},
        },
        "platforms.kubeai.namespace",
        "is KServe's own namespace",
    ),
    ("one namespace", with_kserve({"modelNamespace": "kserve"}), "platforms.kserve.modelNamespace", "of its own"),
    (
        "a certificate for example.com",
        with_kserve({"certificate": "wildcard"}),
        "platforms.kserve.certificate",
        "your own domain",
    ),
    (
        "KEDA with Knative",
        with_kserve({**KEDA, "deploymentMode": "Knative", "gateway": "none"}),
        "platforms.kserve.keda",
        "remove one of the two",
    ),
    (
        "a gateway with Knative",
        with_kserve({"deploymentMode": "Knative"}),
        "platforms.kserve.gateway",
        "is gke, but Knative routes to its revisions by itself: write none",
    ),
    (
        "a server that moves",
        with_kserve({"server": {"image": "vllm/vllm-openai:latest"}}),
        "platforms.kserve.server.image",
        "which can change under you",
    ),
    (
        "a server without tag",
        {
            **with_model(delivery="kubeai"),
            "platforms": {"kubeai": {"version": "0.24.0", "server": {"cpuImage": "a/b"}}},
        },
        "platforms.kubeai.server.cpuImage",
        "which can change under you",
    ),
    # Scaling: what KServe really does.
    ("zero on CPU's utilization", with_model(replicas={"min": 0}), "models.qwen.replicas.min", "silently takes for 1"),
    (
        "zero without a query",
        with_kserve(KEDA, replicas={"min": 0}),
        "models.qwen.scaling.query",
        "KEDA needs the PromQL that wakes the model",
    ),
    ("a query without KEDA", with_model(scaling={"query": "x"}), "models.qwen.scaling.query", "platforms.kserve.keda"),
    (
        "a query without address",
        with_kserve({"keda": True}, scaling={"query": "x"}),
        "models.qwen.scaling.query",
        "set platforms.kserve.prometheus",
    ),
    (
        "more than the whole CPU",
        with_model(replicas={"min": 1, "max": 2}, scaling={"target": 101}),
        "models.qwen.scaling.target",
        "write 1 to 100",
    ),
    ("min over max", with_model(replicas={"min": 3, "max": 2}), "models.qwen.replicas.max", "is 2, below min (3)"),
    (
        "a Gateway of nobody's",
        with_kserve({"gateway": "none", "gatewayInstall": False}),
        "platforms.kserve.gatewayInstall",
        "is of gateway: gke only: remove it",
    ),
    (
        "a Gateway of another stack's with namespaces of ours",
        with_kserve({"gateway": "gke", "gatewayInstall": False, "gatewayNamespaces": ["b"]}),
        "platforms.kserve.gatewayNamespaces",
        "write it there",
    ),
    (
        "pulled by the pod, by a KServe that cannot",
        with_model(delivery="fetch"),
        "models.qwen.delivery",
        "is fetch, which KServe v0.20.0 does not know: set platforms.kserve.version to v0.21.0",
    ),
    (
        "pulled by the pod, from Google's registry, with nothing to show",
        with_kserve(
            {"version": "v0.21.0"}, delivery="fetch", digest="us-docker.pkg.dev/p/r/m@" + IMAGE.partition("@")[2]
        ),
        "models.qwen.delivery",
        "add us-docker.pkg.dev to pullSecrets",
    ),
    (
        "KubeAI's scaling on KServe",
        with_model(scaling={"scaleDownDelay": 60}),
        "models.qwen.scaling.scaleDownDelay",
        "delivery kubeai",
    ),
    (
        "KServe's scaling on KubeAI",
        with_model(delivery="kubeai", scaling={"target": 5}),
        "models.qwen.scaling.target",
        "is for KServe: remove it",
    ),
    (
        "shm on KubeAI",
        with_model(delivery="kubeai", resources={"shm": "4Gi"}),
        "models.qwen.resources.shm",
        "is for KServe: remove it",
    ),
    # What the program sets itself.
    ("the model's path", with_model(args=["--model=/x"]), "models.qwen.args", "has --model, which the program sets"),
    ("the port", with_model(args=["--port", "1"]), "models.qwen.args", "has --port, which the program sets"),
    ("the hub, again", with_model(env={"HF_HUB_OFFLINE": "0"}), "models.qwen.env", "which is always 1: remove it"),
    ("PYTHONPATH", with_model(env={"PYTHONPATH": "/x"}), "models.qwen.env", "which KServe's webhook refuses"),
    # Where it runs.
    ("no such pool", with_model(nodePool="h100"), "models.qwen.nodePool", "does not exist: the stack's pools are l4"),
    ("GPUs without pool", gke({"qwen": {"digest": IMAGE, "gpus": 1}}), "models.qwen.gpus", "there is no nodePool"),
    ("too many GPUs", with_model(gpus=2), "models.qwen.gpus", "a node of pool 'l4' has 1"),
    ("no GPU on a pool", with_model(gpus=0), "models.qwen.gpus", "whose nodes would idle"),
    ("warm without pool", gke({"qwen": {"digest": IMAGE, "warm": "prepull"}}), "models.qwen.warm", "name a nodePool"),
    (
        "a warm disk that is none",
        {**with_model(warm="disk"), "nodePools": {"l4": {"accelerator": "nvidia-l4"}}},
        "models.qwen.warm",
        "nodePools.l4.secondaryBootDisks is empty",
    ),
    (
        "an image volume in gVisor",
        {**with_model(delivery="native"), "nodePools": {"l4": {"accelerator": "nvidia-l4", "sandbox": "gvisor"}}},
        "models.qwen.nodePool",
        "gVisor, which has no image volumes",
    ),
    # Names.
    ("two of one name", gke({"a.b": {"digest": IMAGE}, "a-b": {"digest": IMAGE}}), "models.a-b", "rename one"),
    (
        "two of one name on two platforms, which would share image and folder",
        gke({"a.b": {"digest": IMAGE, "delivery": "native"}, "a-b": {"digest": IMAGE, "delivery": "kubeai"}}),
        "models.a-b",
        "has the same name in Kubernetes and in the registry as models.a.b (a-b): rename one",
    ),
    (
        "two names that differ in case",
        gke({"A.b": {"digest": IMAGE, "delivery": "native"}, "a.b": {"digest": IMAGE, "delivery": "kubeai"}}),
        "models.a.b",
        "as models.A.b (a-b): rename one",
    ),
    ("a digit first", gke({"2b": {"digest": IMAGE}}), "models.2b", "begins with a letter"),
    (
        "too long for KubeAI",
        gke({"q" * 41: {"digest": IMAGE, "delivery": "kubeai"}}),
        f"models.{'q' * 41}",
        "has 41 characters: KubeAI takes 40",
    ),
    ("too long for KServe", gke({"q" * 54: {"digest": IMAGE}}), f"models.{'q' * 54}", "KServe takes 53"),
    (
        "too long for DNS",
        {
            **gke({"q" * 50: {"digest": IMAGE}}),
            "platforms": {"kserve": {"modelNamespace": "n" * 13}, "kubeai": {"version": "0.24.0"}},
        },
        f"models.{'q' * 50}",
        "DNS takes 63",
    ),
    (
        "another name on KubeAI",
        with_model(delivery="kubeai", servedName="other"),
        "models.qwen.servedName",
        "KubeAI serves it as 'qwen'",
    ),
    # Google's side.
    ("no registry", {**with_model(), "registry": {}}, "registry", "is missing: write {create: {repository: models}}"),
    ("no cluster", {**with_model(), "cluster": {}}, "cluster", "is missing: write {create: {name: …}}"),
    ("a cluster somewhere", {**with_model(), "cluster": {"name": "x"}}, "cluster.location", "region or zone"),
    ("a kubeconfig for GKE", {**with_model(), "cluster": {"kubeconfig": "k"}}, "cluster.kubeconfig", "local target"),
    (
        "a cluster that is too old",
        {**with_model(delivery="native"), "cluster": {"create": {"name": "demo", "version": "1.34"}}},
        "cluster.create.version",
        "ImageVolume off",
    ),
    (
        "a subnetwork of no network",
        {**with_model(), "cluster": {"create": {"name": "demo", "subnetwork": "s"}}},
        "cluster.create.network",
        "is missing",
    ),
    (
        "a network without subnetwork",
        {**with_model(), "cluster": {"create": {"name": "demo", "network": "n"}}},
        "cluster.create.subnetwork",
        "is missing",
    ),
    (
        "a system pool that shrinks upward",
        {**with_model(), "cluster": {"create": {"name": "demo", "systemPool": {"minNodes": 4}}}},
        "cluster.create.systemPool.maxNodes",
        "is below minNodes (4)",
    ),
    ("a machine that does not fit", with_pool(machineType="n1-standard-4"), "nodePools.l4", "n1-standard-4"),
    ("an unknown accelerator", with_pool(accelerator="nvidia-l5"), "nodePools.l4", "nvidia-l5"),
    ("a pool that shrinks upward", with_pool(minNodes=2), "nodePools.l4.maxNodes", "is 1, below minNodes (2)"),
    ("spot and reserved", with_pool(spot=True, reservation="r"), "nodePools.l4", "has spot and reservation"),
    ("queued and spot", with_pool(queuedProvisioning=True, spot=True), "nodePools.l4.queuedProvisioning", "excludes"),
    ("a run's end", with_pool(maxRunDuration=3600), "nodePools.l4.maxRunDuration", "is for flexStart"),
    ("flex-start that waits", with_pool(flexStart=True, minNodes=1), "nodePools.l4.minNodes", "write 0"),
    (
        "thresholds that cross",
        with_pool(imageGcHighThresholdPercent=50),
        "nodePools.l4.imageGcLowThresholdPercent",
        "lower it",
    ),
    (
        "a small disk for the image",
        {**with_model(sizeGb=90), "nodePools": {"l4": {"accelerator": "nvidia-l4", "count": 8}}},
        "nodePools.l4.bootDisk",
        "90",
    ),
    (
        "the cluster's own pool",
        {**with_model(nodePool="system"), "nodePools": {"system": {"accelerator": "nvidia-l4"}}},
        "nodePools.system",
        "is taken, by the cluster's own pool",
    ),
    (
        "a pool of the CPU profile's name",
        {**with_model(nodePool="cpu"), "nodePools": {"cpu": {"accelerator": "nvidia-l4"}}},
        "nodePools.cpu",
        "is taken, by the cluster's own pool or KubeAI's CPU profile",
    ),
    (
        "a pool of a KubeAI model's name",
        {**with_model(delivery="kubeai", nodePool="qwen"), "nodePools": {"qwen": {"accelerator": "nvidia-l4"}}},
        "nodePools.qwen",
        "is also the name of a KubeAI model",
    ),
    (
        "a zone elsewhere",
        with_pool(zones=["europe-west4-a"]),
        "nodePools.l4.zones",
        "has europe-west4-a, but the cluster is in us-central1",
    ),
    (
        "a control plane that nobody reaches",
        {
            **with_model(),
            "cluster": {"create": {"name": "demo", "privateEndpoint": True, "dnsEndpoint": False}},
        },
        "cluster.create.dnsEndpoint",
        "nobody could reach the API server",
    ),
    (
        "an account's name of 31 characters",
        {**with_model(), "cluster": {"create": {"name": "c" * 28}}},
        "nodePools.l4.serviceAccountId",
        "which has 31 characters: Google takes 30",
    ),
    # The local target.
    (
        "Google's registry, locally",
        local({}, registry={"create": {"repository": "m"}}),
        "registry.create",
        "needs Google",
    ),
    ("Google's cluster, locally", local({}, cluster={"name": "x", "location": "y"}), "cluster", "is Google's"),
    ("pools, locally", local({}, nodePools={"l4": {"accelerator": "nvidia-l4"}}), "nodePools", "need Google"),
    (
        "Google's gateway, locally",
        local({"q": {"digest": IMAGE}}, platforms={"kserve": {"gateway": "gke"}}),
        "platforms.kserve.gateway",
        "write envoy or none",
    ),
    (
        "Docker without registry",
        local({"q": {"source": HUB, "builder": "docker", "delivery": "native"}}, registry={}),
        "models.q.builder",
        "docker pushes to a registry",
    ),
    (
        "Cloud Build, locally",
        local({"q": {"source": HUB, "builder": "cloudbuild", "delivery": "native"}}),
        "models.q.builder",
        "cloudbuild needs Google",
    ),
    (
        "a build in a cluster that there is not",
        local({"q": {"source": HUB, "builder": "cluster", "delivery": "native"}}),
        "models.q.builder",
        "cluster needs a cluster, and the stack has none: set oci-model-serving:cluster",
    ),
    (
        "a build in a cluster, to a folder",
        local(
            {"q": {"source": HUB, "builder": "cluster", "delivery": "native"}},
            registry={},
            cluster={"kubeconfig": "kubeconfig"},
        ),
        "models.q.builder",
        "pods push to a registry",
    ),
    (
        "a conversion by many pods",
        with_model(source=HUB, builder="cluster", files={"convert": "safetensors"}),
        "models.qwen.files.convert",
        "write builder direct or cloudbuild",
    ),
    (
        "a base that pods do not see",
        with_model(source=HUB, builder="cluster", base="oci:.local/base"),
        "models.qwen.base",
        "a folder of this machine, which pods cannot see",
    ),
    (
        "fewer shares than pods",
        {**with_model(), "clusterBuild": {"pods": 4, "shares": 2}},
        "clusterBuild.shares",
        "fewer than the 4 pods",
    ),
    (
        "a token in plain sight of a Job",
        {**with_model(), "clusterBuild": {"env": {"HF_TOKEN": "x"}}},
        "clusterBuild.env.HF_TOKEN",
        "write hubToken, clusterBuild.hubTokenSecret",
    ),
    (
        "a variable that the build sets",
        {**with_model(), "clusterBuild": {"env": {"PYTHONPATH": "/x"}}},
        "clusterBuild.env.PYTHONPATH",
        "remove it",
    ),
    (
        "a toleration that is none",
        {**with_model(), "clusterBuild": {"tolerations": ["spot: true"]}},
        "clusterBuild.tolerations.0",
        "write KEY, KEY=VALUE or KEY=VALUE:NoSchedule",
    ),
    (
        "an image with a scheme",
        {**with_model(), "clusterBuild": {"image": "https://mirror.example/python"}},
        "clusterBuild.image",
        "without a scheme",
    ),
    ("no pods", {**with_model(), "clusterBuild": {"pods": 0}}, "clusterBuild.pods", "1"),
    (
        "a copy to nowhere",
        local({"q": {"digest": IMAGE, "copy": True}}, registry={}),
        "models.q.copy",
        "needs a registry to copy into",
    ),
    (
        "two origins of an adapter",
        with_model(adapters={"sql": {"source": HUB, "digest": IMAGE}}),
        "models.qwen.adapters.sql",
        "exactly one of source, digest and fromStack",
    ),
    (
        "an adapter's branch",
        with_model(adapters={"sql": {"source": "hf://org/lora@main"}}),
        "models.qwen.adapters.sql.source",
        "write hf://org/lora@<40-hex",
    ),
    (
        "an adapter of no other stack",
        with_model(adapters={"sql": {"digest": IMAGE, "adapter": "x"}}),
        "models.qwen.adapters.sql.adapter",
        "write fromStack as well",
    ),
    (
        "adapters on KubeAI",
        with_model(delivery="kubeai", adapters={"sql": {"digest": IMAGE}}),
        "models.qwen.adapters",
        "write delivery: native or modelcar",
    ),
    (
        "adapters on Knative",
        with_kserve({"deploymentMode": "Knative", "gateway": "none"}, adapters={"sql": {"digest": IMAGE}}),
        "models.qwen.adapters",
        "deploymentMode to Standard",
    ),
    (
        "an adapter that no volume can be called after",
        with_model(adapters={"SQL_1": {"digest": IMAGE}}),
        "models.qwen.adapters.SQL_1",
        "lower case letters",
    ),
    (
        "an adapter called as the model",
        with_model(servedName="sql", adapters={"sql": {"digest": IMAGE}}),
        "models.qwen.adapters.sql",
        "name by which the model itself is served",
    ),
    (
        "an adapter called as another model's image",
        gke({"qwen": {"digest": IMAGE, "adapters": {"sql": {"digest": IMAGE}}}, "qwen-sql": {"digest": IMAGE}}),
        "models.qwen.adapters.sql",
        "the same name in the registry as models.qwen-sql (qwen-sql): rename one",
    ),
    (
        "an adapter in gVisor beside a modelcar",
        {
            **with_model(adapters={"sql": {"digest": IMAGE}}),
            "nodePools": {"l4": {"accelerator": "nvidia-l4", "sandbox": "gvisor"}},
        },
        "models.qwen.nodePool",
        "has no image volumes",
    ),
    (
        "adapters told twice",
        with_model(adapters={"sql": {"digest": IMAGE}}, args=["--lora-modules", "a=/b"]),
        "models.qwen.args",
        "has --lora-modules, which the program sets itself",
    ),
    (
        "a task that there is not",
        with_model(task="translation"),
        "models.qwen.task",
        "write generation, embedding, reranking, speech or pooling",
    ),
    (
        "a task without a path on KubeAI",
        with_model(delivery="kubeai", task="pooling"),
        "models.qwen.task",
        "no path for pooling",
    ),
]


@pytest.mark.parametrize(("values", "path", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_contradiction_is_refused_with_its_key_and_the_remedy(values: dict[str, Any], path: str, said: str) -> None:
    found = problems(copy.deepcopy(values))

    told = [text for text in found if text.startswith(f"oci-model-serving:{path}: ")]
    assert any(said in text for text in told), found
    assert len(found) == 1, found


def test_cloud_build_cannot_pack_a_folder(tmp_path: Path) -> None:
    (found,) = problems(with_model(source=str(write_model(tmp_path / "model")), builder="cloudbuild"))

    assert found.startswith("oci-model-serving:models.qwen.builder: cloudbuild cannot see a folder of this machine")


def test_cloud_build_takes_the_hubs_token_from_secret_manager_only() -> None:
    built_there = with_model(source=HUB, builder="cloudbuild")

    (found,) = problems({**built_there, "hubToken": "hf_secret"}, secret=["hubToken"])
    assert found.startswith("oci-model-serving:models.qwen.builder: ")
    assert "write hubToken: projects/P/secrets/S/versions/V, or builder: direct" in found
    assert read({**built_there, "hubToken": "projects/p/secrets/hub/versions/latest"}).models["qwen"].hub_token


def test_pods_cannot_pack_a_folder(tmp_path: Path) -> None:
    (found,) = problems(with_model(source=str(write_model(tmp_path / "model")), builder="cluster"))

    assert found.startswith("oci-model-serving:models.qwen.builder: cluster: pods cannot see a folder of this machine")


def test_pods_read_no_token_from_secret_manager_but_one_from_a_secret_of_the_cluster() -> None:
    named = {**with_model(source=HUB, builder="cluster"), "hubToken": "projects/p/secrets/hub/versions/latest"}

    (found,) = problems(named)
    assert "write clusterBuild.hubTokenSecret" in found
    assert read({**named, "clusterBuild": {"hubTokenSecret": "hub"}}).models["qwen"].token is None
    assert read({**named, "hubToken": "hf_secret"}, secret=["hubToken"]).models["qwen"].token


def test_a_cluster_that_was_refused_is_not_called_missing() -> None:
    made = with_model(source=HUB, builder="cluster")
    assert not any(".builder" in found for found in problems({**made, "cluster": {"nam": "x"}}))


def test_no_message_has_the_token() -> None:
    for token in ("hf_secret", "hf_secret x", {"a": "hf_secret"}, ["hf_secret"], "projects/hf_secret"):
        assert "hf_secret" not in " ".join(problems({"hubToken": token}))


def test_project_and_region_are_asked_for_by_the_command_that_sets_them() -> None:
    found = problems(with_model(), project="", region="")

    assert found == [
        "gcp:project: is missing: `pulumi config set gcp:project PROJECT`",
        "gcp:region: is missing: `pulumi config set gcp:region us-central1` (or another region)",
    ]


def test_nothing_is_concluded_from_what_could_not_be_read() -> None:
    values = with_model(delivery="ftp")
    values["nodePools"] = {"l4": {"accelerator": "nvidia-l4", "count": "one"}}

    assert {text.split(": ")[0] for text in problems(values)} == {
        "oci-model-serving:models.qwen.delivery",
        "oci-model-serving:nodePools.l4.count",
    }


@pytest.mark.parametrize(
    ("image", "pinned"),
    [
        (IMAGE, True),
        ("docker.io/vllm/vllm-openai:v0.23.0", True),
        ("docker.io/vllm/vllm-openai:latest", False),
        ("docker.io/vllm/vllm-openai", False),
        ("localhost:5000/vllm", False),
        (IMAGE.replace("@", ":v1@"), False),
        ("registry.example/vllm@sha256:abc", False),
    ],
)
def test_a_server_image_is_pinned_by_digest_or_by_a_versions_tag(image: str, pinned: bool) -> None:
    assert is_pinned(image) is pinned

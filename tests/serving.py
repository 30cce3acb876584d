"""The whole program on plain settings, and every combination of settings that decides what a model becomes."""

import json
import runpy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from offline.manifests import kubernetes_objects
from offline.plan import Plan
from offline.values import reveal
from tests.mocks import DIGEST, Recording, Resource, built, record

ROOT = Path(__file__).parents[1]
NAMESPACE = "oci-model-serving"
IMAGE = f"registry.example/models/qwen@{DIGEST}"
POOL = {
    "accelerator": "nvidia-l4",
    "zones": ["us-central1-a"],
    "maxNodes": 100,
    "secondaryBootDisks": ["global/images/weights"],
    "imageStreaming": True,
}
PULL_SECRETS = {"private": {"server": "registry.example", "username": "reader", "password": "hunter2"}}


def gke(models: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    """Settings of a stack on GKE with one L4 pool; `keys` replace or add whole keys."""
    return {
        "target": "gke",
        "registry": {"create": {"repository": "models"}, "mutableTags": "accept"},
        "cluster": {"create": {"name": "demo"}},
        "nodePools": {"l4": POOL},
        "platforms": {"kserve": {}, "kubeai": {"version": "0.24.0"}},
        "models": models,
        **keys,
    }


def local(models: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    """Settings of a local stack with a registry; `keys` replace or add whole keys."""
    return {
        "registry": {"url": "registry.example/models", "mutableTags": "accept"},
        "platforms": {"kserve": {}, "kubeai": {"version": "0.24.0"}},
        "models": models,
        **keys,
    }


def run(settings: Mapping[str, Any], **arguments: Any) -> Recording:
    """Record the program with these settings, images answered as built; `arguments` as of `record`."""
    secrets = [f"{NAMESPACE}:pullSecrets"] if "pullSecrets" in settings else []
    given: dict[str, Any] = {"stack_name": "dev", "project": NAMESPACE, "answer": built(), "secret_keys": secrets}
    given |= arguments
    return record(
        lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"),
        config={
            "gcp:project": "demo",
            "gcp:region": "us-central1",
            **{
                f"{NAMESPACE}:{key}": value if isinstance(value, str) else json.dumps(value)
                for key, value in settings.items()
            },
        },
        **given,
    )


def objects(recording: Recording) -> list[dict[str, Any]]:
    """The Kubernetes objects of a recording as the API server gets them, secrets in the clear."""
    return [reveal(dict(item.body)) for item in kubernetes_objects(Plan(NAMESPACE, "dev", recording))]


def of_kind(recording: Recording, kind: str) -> list[dict[str, Any]]:
    """The objects of one kind."""
    return [body for body in objects(recording) if body["kind"] == kind]


def one(recording: Recording, kind: str, name: str | None = None) -> dict[str, Any]:
    """The one object of this kind (and name); a `LookupError` otherwise."""
    found = [body for body in of_kind(recording, kind) if name in {None, body["metadata"]["name"]}]
    if len(found) != 1:
        raise LookupError(f"{len(found)} objects of {kind} {name or ''}")
    return found[0]


def after(recording: Recording, resource: Resource) -> set[str]:
    """Names of all resources that are there before this one is registered.

    A resource waits for its parent, and that for what it depends on.
    """
    by_urn = {made.urn: made for made in recording.resources}
    found: set[str] = set()
    waiting = [resource]
    while waiting:
        late = waiting.pop()
        for early in (by_urn[urn] for urn in (*late.dependencies, late.parent) if urn in by_urn):
            if early.urn not in found:
                found.add(early.urn)
                waiting.append(early)
    return {by_urn[urn].name for urn in found}


SCALINGS: dict[str, dict[str, Any]] = {
    "fixed": {"replicas": {"min": 2}},
    "cpu": {"replicas": {"min": 1, "max": 3}, "scaling": {"target": 70}},
    "query": {"replicas": {"min": 1, "max": 3}, "scaling": {"query": "sum(vllm:num_requests_running)", "target": 8}},
    "zero": {"replicas": {"min": 0, "max": 2}, "scaling": {"query": "sum(vllm:num_requests_running)"}},
}
"""How a model on KServe may scale."""
KUBEAI_SCALINGS: dict[str, dict[str, Any]] = {
    "fixed": {"replicas": {"min": 2}},
    "range": {"replicas": {"min": 1, "max": 3}},
    "zero": {"replicas": {"min": 0, "max": 2}},
}
"""How a model on KubeAI may scale."""


WARM: dict[str, dict[str, Any]] = {
    "cold": {"nodePool": "l4"},
    "prepull": {"nodePool": "l4", "warm": "prepull"},
    "disk": {"nodePool": "l4", "warm": "disk"},
    "cpu": {},
}
"""Where a model may run, and how its nodes get the image."""


PLACED: dict[str, Any] = {"nodePool": "spot", "fallbackPools": ["l4"], "priorityClass": "high", "warm": "prepull"}
OF_KSERVE: dict[str, Any] = {
    "env": {"A": "b", "KEY": {"secretKeyRef": {"name": "keys", "key": "a"}}},
    "labels": {"team": "search"},
    "topologySpread": [{}, {"topologyKey": "kubernetes.io/hostname", "maxSkew": 2}],
    "server": {"image": "docker.io/lmsysorg/sglang:v0.5.0", "command": ["python3"], "args": ["-m", "x"], "port": 30000},
}
"""What a model may say of its pods, on either platform, and on KServe."""


@dataclass(frozen=True)
class Case:
    """One stack of the matrix: its models differ in delivery, pause, scaling, hardware and warm cache."""

    kserve: str
    gateway: str
    pull_secret: bool

    def __str__(self) -> str:
        return f"{self.kserve}-{self.gateway}-{'private' if self.pull_secret else 'public'}"

    @property
    def settings(self) -> dict[str, Any]:
        """The stack's settings."""
        certificate = {"domain": "models.test", "certificate": "wildcard"} if self.gateway == "gke" else {}
        platform = {
            "version": self.kserve,
            "gateway": self.gateway,
            "keda": True,
            "prometheus": "http://prometheus.monitoring:9090",
            **certificate,
        }
        return gke(
            dict(self._models()),
            nodePools={"l4": POOL, "spot": {**POOL, "spot": True}},
            platforms={"kserve": platform, "kubeai": {"version": "0.24.0"}},
            **({"pullSecrets": PULL_SECRETS} if self.pull_secret else {}),
        )

    def _models(self) -> Iterator[tuple[str, dict[str, Any]]]:
        deliveries = ["modelcar", "kubeai"] if self.kserve == "v0.19.0" else ["modelcar", "native", "kubeai"]
        for delivery in deliveries:
            scalings = KUBEAI_SCALINGS if delivery == "kubeai" else SCALINGS
            for at, (name, scaling) in enumerate(scalings.items()):
                for paused in (False, True):
                    # Each way to warm meets each delivery, paused or not; with each scaling as well it takes minutes.
                    warm, hardware = list(WARM.items())[(at + paused) % len(WARM)]
                    key = f"{delivery}-{name}-{warm}-{'paused' if paused else 'live'}"
                    yield key, {"digest": IMAGE, "delivery": delivery, "paused": paused, **scaling, **hardware}
        adapters = {"sql": {"digest": IMAGE.replace("qwen", "lora")}}
        for delivery in deliveries:
            of: dict[str, Any] = (
                {"task": "embedding"} if delivery == "kubeai" else {"adapters": adapters, **WARM["prepull"]}
            )
            yield f"{delivery}-told", {"digest": IMAGE, "delivery": delivery, **of}
            hosts = {"hosts": [f"{delivery}.example.org"]} if self.gateway == "gke" else {}
            own = {} if delivery == "kubeai" else {**OF_KSERVE, **hosts}
            yield f"{delivery}-placed", {"digest": IMAGE, "delivery": delivery, **PLACED, **own}
        yield "streamed", {"digest": IMAGE, "delivery": "stream", "nodePool": "l4", "adapters": adapters}


MATRIX = [
    Case(kserve, gateway, pull_secret=(row + column) % 2 == 1)
    for row, kserve in enumerate(("v0.19.0", "v0.20.0"))
    for column, gateway in enumerate(("gke", "envoy", "none"))
]


def settings_of(path: Path) -> dict[str, Any]:
    """The settings in a stack's file, keys without the project's namespace."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))["config"]
    prefix = f"{NAMESPACE}:"
    return {key[len(prefix) :]: value for key, value in config.items() if key.startswith(prefix)}

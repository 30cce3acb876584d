"""What a model's environment, server and placement say about its delivery, its pools and each other."""

from collections.abc import Iterator

from components.google.pool_origin import NodeOrigin
from components.serving import vllm
from components.settings.checks.serving import is_pinned
from components.settings.checks.unread import Problem
from components.settings.google import NodePoolSettings
from components.settings.models import StackModel
from components.settings.stack import Settings
from oci_model_serving.delivery import Delivery

_RESERVED = ("oci-model-serving/", "serving.kserve.io/", "serving.knative.dev/")
_SET = frozenset({"app", "component", "app.kubernetes.io/managed-by"})
"""What KServe and the program set on pods, beside labels with these prefixes. Other labels of Kubernetes' own domains
are for anybody to set (Kubernetes, "Recommended Labels"; Kueue's `kueue.x-k8s.io/queue-name`)."""
_KSERVE_ONLY = {"labels": "labels", "topology_spread": "topologySpread", "hosts": "hosts", "server": "server"}


def problems(settings: Settings, made: StackModel) -> Iterator[Problem]:
    """Check a model's environment, server, placement and hosts."""
    yield from _environment(made)
    yield from _server(made)
    yield from _placement(settings, made)
    yield from _fallbacks(settings, made)
    if made.settings.hosts and made.delivery is not Delivery.KUBEAI and settings.kserve.gateway != "gke":
        yield (
            ".hosts",
            "is of platforms.kserve.gateway: gke only: remove it, and route to the model where your gateway is",
        )


def hosts(settings: Settings) -> Iterator[Problem]:
    """Whether each host leads to one model."""
    taken: dict[str, str] = {}
    own = {
        f"{model.name}-{settings.kserve.model_namespace}.{settings.kserve.domain}": f"models.{key}"
        for key, model in settings.models.items()
    }
    for key, model in settings.models.items():
        for host in model.settings.hosts:
            other = own.get(host) or taken.setdefault(host, f"models.{key}")
            if other != f"models.{key}" or model.settings.hosts.count(host) > 1 or host in own:
                yield f"models.{key}.hosts", f"has {host}, which leads to {other} already: remove it here or there"


def _environment(made: StackModel) -> Iterator[Problem]:
    model = made.settings
    for name, value in model.env.items():
        if not isinstance(value, str) and made.delivery is Delivery.KUBEAI:
            yield (
                f".env.{name}",
                "is taken from a Secret by key, which KubeAI cannot: write its value into secretEnv, with --secret",
            )
    for name in model.secret_env:
        if name in model.env:
            yield f".secretEnv.{name}", "is in env as well: keep one"
        if name in vllm.OFFLINE_ENV:
            yield f".secretEnv.{name}", "is always 1: remove it, weights come from the image only"


def _server(made: StackModel) -> Iterator[Problem]:
    server = made.settings.server
    if server is None or made.delivery is Delivery.KUBEAI:
        return
    if not is_pinned(server.image):
        yield (
            ".server.image",
            f"is {server.image!r}, which can change under you: write host/path@sha256:… (or at least a version's tag)",
        )
    if made.delivery is Delivery.MODELCAR and not server.command:
        yield (
            ".server.command",
            "is missing: with delivery modelcar the server has to wait for the weights before its own command, which "
            "only you know; write it (the image's entrypoint), or delivery: native",
        )
    if made.adapters:
        yield ".adapters", "is for vLLM: remove it, and tell your server of adapters by its own arguments"


def warnings(made: StackModel) -> Iterator[Problem]:
    """Weights above the memory of the GPUs: what another server than vLLM makes of them is its own matter."""
    if made.settings.server is None or not made.gpus or not made.machines_known or made.size_gb is None:
        return
    memory = made.in_memory.gpu_gb * made.gpus
    if made.size_gb > memory:
        yield (
            ".nodePool",
            f"{made.size_gb:.3g} GB are more than the memory of {made.gpus} GPU{'s' if made.gpus > 1 else ''} "
            f"({memory:.1f} GB): write more gpus or a pool with larger ones, unless its server keeps a part elsewhere",
        )


def _placement(settings: Settings, made: StackModel) -> Iterator[Problem]:
    model = made.settings
    given = {name: key for name, key in _KSERVE_ONLY.items() if getattr(model, name)}
    if made.delivery is Delivery.KUBEAI:
        for key in given.values():
            yield f".{key}", "is for KServe, a Model of KubeAI has no such field: remove it, or write another delivery"
        return
    if settings.kserve.deployment_mode == "Knative":
        # Knative serving, pkg/apis/serving/fieldmask.go: priority and spread are behind feature flags, off by default.
        for name, key in (("topology_spread", "topologySpread"), ("priority_class", "priorityClass")):
            if getattr(model, name):
                yield f".{key}", "is refused by Knative by default: write deploymentMode: Standard, or remove it"
    yield from _spread(made)
    for label in model.labels:
        prefix = label.rpartition("/")[0]
        if label in _SET or f"{prefix}/".endswith(_RESERVED):
            yield ".labels", f"has {label}, which the platform sets itself: remove it, or choose a prefix of your own"


def _spread(made: StackModel) -> Iterator[Problem]:
    """Labels that tell no nodes apart, since none of the pools has them; those of others may have any."""
    pools = [pool for pool in (made.pool, *made.fallbacks) if pool]
    if not pools or any(pool.origin is not NodeOrigin.MADE for pool in pools):
        return
    for spread in made.settings.topology_spread:
        key = spread.topology_key
        if "/" not in key and not any(key in pool.settings.labels for pool in pools):
            yield (
                ".topologySpread",
                f"has topologyKey {key}, a label that no node has: write topology.kubernetes.io/zone or "
                f"kubernetes.io/hostname, or add it to nodePools.{pools[0].key}.labels",
            )


def _fallbacks(settings: Settings, made: StackModel) -> Iterator[Problem]:
    names = made.settings.fallback_pools
    if not names:
        return
    if made.settings.node_pool is None:
        yield ".fallbackPools", "is missing nodePool, the pool that is preferred: name it"
        return
    if len(set(names)) < len(names) or made.settings.node_pool in names:
        yield ".fallbackPools", "names a pool twice: name each once, the preferred one as nodePool"
    for name in dict.fromkeys(names):
        if name not in settings.node_pools:
            known = ", ".join(settings.node_pools) or "none"
            yield ".fallbackPools", f"has {name!r}, which does not exist: the stack's pools are {known}"
    for pool in made.fallbacks if made.pool else ():
        yield from _alike(made, pool.settings, pool.key)


def _alike(made: StackModel, other: NodePoolSettings, key: str) -> Iterator[Problem]:
    """Whether a pod that is made for the preferred pool can run on another one."""
    own = made.pool.settings if made.pool else other
    if other.accelerator != own.accelerator:
        yield (
            ".fallbackPools",
            f"has {key!r} with {other.accelerator}, but the model is placed for {own.accelerator}: name pools of the "
            "same accelerator",
        )
    elif made.settings.gpus is None and other.count != own.count:
        yield (
            ".fallbackPools",
            f"has {key!r} with {other.count} GPUs a node, nodePool has {own.count}: write gpus, what a pod gets",
        )
    elif made.gpus > other.count:
        yield ".fallbackPools", f"has {key!r} with {other.count} GPUs a node, fewer than gpus ({made.gpus}): remove it"

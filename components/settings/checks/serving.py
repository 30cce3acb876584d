"""What models and platforms say about each other: deliveries, scaling, gateways, namespaces and names."""

import re
from collections.abc import Collection, Iterator

from components.settings import deliveries
from components.settings.checks.unread import Problem, touches
from components.settings.models import StackModel
from components.settings.serving import KServeSettings
from components.settings.stack import Settings
from components.settings.types import Target
from oci_model_serving.delivery import KSERVE, KUBEAI, Delivery
from oci_model_serving.reference import is_by_digest, is_google, split

_KUBEAI_NAME = 40  # CRD models.kubeai.org, rule on metadata.name
_KUBEAI_SCALING = {"target_requests": "targetRequests", "scale_down_delay": "scaleDownDelay"}
_SERVED_SINCE, _INSTALLED_SINCE = (0, 17), (0, 19)
_OF_GIVEN_GATEWAY = {
    "gateway_name": "gatewayName",
    "gateway_namespace": "gatewayNamespace",
    "gateway_section": "gatewaySection",
}
_PREDICTOR_NAME = 63 - len("-predictor")  # the Service and Deployment that KServe derives (Kubernetes: 63 characters)


def delivery(settings: Settings, made: StackModel, unread: Collection[str]) -> Iterator[Problem]:
    """What a delivery needs of its platform."""
    kserve, model = settings.kserve, made.settings
    if model.delivery is Delivery.KUBEAI:
        refused = "platforms" in unread or touches("platforms.kubeai", unread)
        if settings.kubeai is None and not refused:
            yield (
                ".delivery",
                "is kubeai, but platforms.kubeai is not set: write platforms: {kubeai: {version: …}} with a chart "
                "whose CRD knows oci:// (later than 0.23.2), or another delivery",
            )
        if "shm" in model.resources.model_fields_set:
            yield ".resources.shm", "is for KServe: remove it, KubeAI leaves /dev/shm to the pod's memory"
        return
    if not deliveries.knows(kserve.version, model.delivery):
        since = deliveries.SINCE[model.delivery]
        yield (
            ".delivery",
            f"is {model.delivery.value}, which KServe {kserve.version} does not know: set platforms.kserve.version to "
            f"v{since[0]}.{since[1]}.0 or later, or write delivery: modelcar",
        )
    if model.delivery is Delivery.FETCH:
        held = {secret.server for secret in settings.pull_secrets.values()}
        if is_google(made.image_host) and made.image_host not in held and "pullSecrets" not in unread:
            yield (
                ".delivery",
                f"is {model.delivery.value}, whose pods pull by themselves, without the node's credentials: add "
                f"{made.image_host} to pullSecrets, or write delivery: native or modelcar",
            )
        if model.warm != "none":
            yield ".warm", f"is for images that nodes pull: remove it, the pods of delivery {model.delivery.value} do"


def replicas(settings: Settings, made: StackModel) -> Iterator[Problem]:
    """Whether the model can have as many pods as it asks for."""
    model = made.settings
    low, high = model.replicas.min, model.replicas.max
    if high is not None and high < low:
        yield ".replicas.max", f"is {high}, below min ({low}): raise it or lower min"
    kserve = settings.kserve
    if low > 0 or model.delivery is Delivery.KUBEAI or kserve.deployment_mode == "Knative":
        return
    if not kserve.keda:
        yield (
            ".replicas.min",
            "is 0, which KServe silently takes for 1: set platforms.kserve.keda to true (with scaling.query), "
            "platforms.kserve.deploymentMode to Knative, or paused to true for as long as nobody asks",
        )
        return
    if not model.scaling.query:
        yield ".scaling.query", "is missing: with replicas.min 0, KEDA needs the PromQL that wakes the model"


def scaling(settings: Settings, made: StackModel) -> Iterator[Problem]:
    """Whether something scales on what the model names."""
    model = made.settings
    kserve, given, replicas = settings.kserve, model.scaling, model.replicas
    if model.delivery is Delivery.KUBEAI:
        for name in sorted(given.model_fields_set - _KUBEAI_SCALING.keys()):
            yield (
                f".scaling.{name}",
                "is for KServe: remove it, KubeAI scales on the requests that it sees (scaling.targetRequests)",
            )
        return
    for name in sorted(given.model_fields_set & _KUBEAI_SCALING.keys()):
        yield f".scaling.{_KUBEAI_SCALING[name]}", "is for delivery kubeai: remove it"
    if given.query and not kserve.keda:
        yield ".scaling.query", "is for KEDA: set platforms.kserve.keda to true (where KEDA is present), or remove it"
    elif given.query and not kserve.prometheus:
        yield ".scaling.query", "needs an address to query: set platforms.kserve.prometheus"
    by_cpu = not given.query and (replicas.max or replicas.min) > replicas.min
    if by_cpu and given.target > 100 and kserve.deployment_mode == "Standard":
        yield ".scaling.target", f"is {given.target}, but without a query it is CPU in percent: write 1 to 100"


def platforms(settings: Settings) -> Iterator[Problem]:
    """What contradicts itself in the platforms that are used."""
    kserve = settings.kserve
    if KSERVE in settings.platforms:
        yield from _gateway(settings)
        if kserve.keda and kserve.deployment_mode == "Knative":
            yield "platforms.kserve.keda", "is for deploymentMode Standard: remove one of the two"
        if kserve.prometheus and not re.match(r"https?://", kserve.prometheus):
            yield (
                "platforms.kserve.prometheus",
                f"is {kserve.prometheus!r}, without a scheme: write http://{kserve.prometheus} (or https://)",
            )
        yield from _version(kserve)
        yield from _namespaces(settings)
    servers = {"kserve": kserve.server} if KSERVE in settings.platforms else {}
    if settings.kubeai and KUBEAI in settings.platforms:
        servers["kubeai"] = settings.kubeai.server
    for platform, server in servers.items():
        for name, image in (("image", server.image), ("cpuImage", server.cpu_image)):
            if not is_pinned(image):
                yield (
                    f"platforms.{platform}.server.{name}",
                    f"is {image!r}, which can change under you: write host/path@sha256:… (or at least a version's tag)",
                )


def _version(kserve: KServeSettings) -> Iterator[Problem]:
    """Whether the program can install a version, or serve on one that is there already.

    Since v0.17 the deployment mode is called Standard (kserve #4608) and the charts have their present names.
    """
    known = deliveries.minor(kserve.version)
    if known < _SERVED_SINCE:
        yield (
            "platforms.kserve.version",
            f"is {kserve.version}, in which a deployment mode Standard is not known: upgrade to v0.17.0 or later",
        )
    elif known < _INSTALLED_SINCE and kserve.install:
        yield (
            "platforms.kserve.version",
            f"is {kserve.version}, whose charts differ: write v0.19.0 or later, or install: false where it is there",
        )


def _gateway(settings: Settings) -> Iterator[Problem]:
    kserve = settings.kserve
    if kserve.gateway == "gke" and settings.target is Target.LOCAL:
        yield "platforms.kserve.gateway", "is gke, which is Google's: write envoy or none"
    if kserve.deployment_mode == "Knative" and kserve.gateway != "none":
        yield (
            "platforms.kserve.gateway",
            f"is {kserve.gateway}, but Knative routes to its revisions by itself: write none",
        )
    if kserve.certificate and (kserve.gateway != "gke" or kserve.domain == "example.com"):
        yield "platforms.kserve.certificate", "needs gateway: gke and your own domain: set both, or remove it"
    for given in sorted(kserve.model_fields_set & {"gateway_install", "gateway_namespaces"}):
        if kserve.gateway != "gke":
            key = "gatewayInstall" if given == "gateway_install" else "gatewayNamespaces"
            yield f"platforms.kserve.{key}", "is of gateway: gke only: remove it"
    for name, key in _OF_GIVEN_GATEWAY.items():
        if getattr(kserve, name) and (kserve.gateway_install or kserve.gateway != "gke"):
            yield (
                f"platforms.kserve.{key}",
                "names a Gateway that is there already: set gateway: gke and gatewayInstall: false, or remove it",
            )
    if kserve.gateway_address and (not kserve.gateway_install or kserve.gateway != "gke"):
        yield (
            "platforms.kserve.gatewayAddress",
            "is for the Gateway that this stack makes: set gateway: gke and gatewayInstall: true, or remove it",
        )
    elif kserve.gateway_address and re.fullmatch(r"[0-9.]+|[0-9a-f:]*:[0-9a-f:]*", kserve.gateway_address):
        yield (
            "platforms.kserve.gatewayAddress",
            f"is {kserve.gateway_address}, an address itself: write the name by which it is reserved, as `gcloud "
            "compute addresses list` shows it",
        )
    if kserve.gateway_namespaces and not kserve.gateway_install:
        yield (
            "platforms.kserve.gatewayNamespaces",
            "is for the stack that makes the Gateway: write it there, and remove it here",
        )


def _namespaces(settings: Settings) -> Iterator[Problem]:
    kserve, spaces = settings.kserve, [settings.kserve.namespace]
    if settings.kubeai and KUBEAI in settings.platforms:
        spaces.append(settings.kubeai.namespace)
    if kserve.model_namespace in {*spaces, "default"} or kserve.model_namespace.startswith("kube-"):
        yield "platforms.kserve.modelNamespace", f"is {kserve.model_namespace!r}: write a namespace of its own"
    if len(set(spaces)) < len(spaces):
        yield "platforms.kubeai.namespace", "is KServe's own namespace: write another one"


def is_pinned(image: str) -> bool:
    """Whether an image has a digest or a tag other than `latest`."""
    _, tag, digest = split(image)
    return is_by_digest(image) if digest else tag not in {"", "latest"}


def names(settings: Settings) -> Iterator[Problem]:
    """Whether each model has a name of its own that Kubernetes, the platforms and DNS take, and each image one."""
    taken: dict[str, str] = {}
    for key, model in settings.models.items():
        path = f"models.{key}"
        if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", model.name):
            yield path, f"its Kubernetes name would be {model.name!r}: write a key that begins with a letter"
        yield from _length(settings, path, model)
        # Whatever their platforms: a model's image, layout folder and Docker context are called by this name as well.
        other = taken.setdefault(model.name, path)
        if other != path:
            yield path, f"has the same name in Kubernetes and in the registry as {other} ({model.name}): rename one"
    for key, model in settings.models.items():
        for adapter in model.adapters:
            path = f"models.{key}.adapters.{adapter.label}"
            other = taken.setdefault(adapter.name, path)
            if other != path:
                yield path, f"has the same name in the registry as {other} ({adapter.name}): rename one"


def features(settings: Settings) -> Iterator[Problem]:
    """What is said of a server's image where nobody asks for it."""
    for platform in settings.platforms:
        server = (settings.kubeai or settings.kserve).server if platform is KUBEAI else settings.kserve.server
        on_gpus = [model for model in settings.models_of(platform) if model.pool and not model.settings.server]
        if server.features and on_gpus and not any(model.auto for model in on_gpus):
            path = f"platforms.{platform.name}.server"
            yield f"{path}.features", f"is without effect in profile plain: write {path}.profile: auto, or remove it"


def _length(settings: Settings, path: str, model: StackModel) -> Iterator[Problem]:
    name, served = model.name, model.settings.served_name
    if model.delivery is Delivery.KUBEAI:
        if len(name) > _KUBEAI_NAME:
            yield path, f"its name {name!r} has {len(name)} characters: KubeAI takes {_KUBEAI_NAME}, shorten the key"
        if served not in {None, name}:
            yield f"{path}.servedName", f"is {served!r}: KubeAI serves it as {name!r}, remove servedName"
        return
    if len(name) > _PREDICTOR_NAME:
        yield path, f"its name {name!r} has {len(name)} characters: KServe takes {_PREDICTOR_NAME}, shorten the key"
    host = f"{name}-{settings.kserve.model_namespace}"
    if settings.kserve.gateway != "none" and len(host) > 63:  # a DNS label
        yield path, f"its host {host!r} has {len(host)} characters: DNS takes 63, shorten the key"

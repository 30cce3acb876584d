"""What one key of the configuration says about another: pure rules, each giving key path and remedy."""

import re
from collections.abc import Collection, Iterator

from components import accelerators, disk, image_volume, pool_names, references, vllm
from components.schema import NAMESPACE, Delivery, Model, NodePool, Settings, Target, kubernetes_name

Problem = tuple[str, str]

CPU_PROFILE = "cpu"
"""KubeAI's profile of models without a node pool (chart 0.22.1, resourceProfiles)."""
_SERVER_ARGS = ("--model", "--served-model-name", "--host", "--port")
_KUBEAI_NAME = 40  # CRD models.kubeai.org, rule on metadata.name
_PREDICTOR_NAME = 63 - len("-predictor")  # the Service and Deployment that KServe derives (Kubernetes: 63 characters)
_STACK = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_HUB = re.compile(r"hf://[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+@[0-9a-f]{40}")


def problems(settings: Settings, *, unread: Collection[str] = ()) -> Iterator[Problem]:
    """Every contradiction of a stack's settings.

    Args:
        settings: what could be read.
        unread: key paths that were refused already; nothing is concluded from their absence.
    """
    yield from _target(settings, unread)
    for key, pool in settings.node_pools.items():
        for path, problem in _node_pool(settings, key, pool):
            yield f"nodePools.{key}{path}", problem
    for key, model in settings.models.items():
        below = f"models.{key}"
        own = {path[len(below) :] for path in unread if path.startswith(f"{below}.")}
        for path, problem in _model(settings, model, own, unread):
            yield f"{below}{path}", problem
    yield from _platforms(settings)
    yield from _names(settings)


def _target(settings: Settings, unread: Collection[str]) -> Iterator[Problem]:
    registry, cluster = settings.registry, settings.cluster
    if "target" in unread:
        return
    if settings.target is Target.LOCAL:
        if registry.create:
            yield "registry.create", "needs Google: on the local target write {url: host[:port]/path}, or nothing"
        if cluster.create or cluster.name:
            yield "cluster", "is Google's: on the local target write {kubeconfig: path}, or nothing"
        if settings.node_pools:
            yield "nodePools", "need Google: on the local target remove them, models run without nodePool"
    else:
        yield from _google(settings, unread)


def _google(settings: Settings, unread: Collection[str]) -> Iterator[Problem]:
    registry, cluster = settings.registry, settings.cluster
    if not settings.project:
        yield "gcp:project", "is missing: `pulumi config set gcp:project PROJECT`"
    if not settings.region:
        yield "gcp:region", "is missing: `pulumi config set gcp:region us-central1` (or another region)"
    if not (registry.create or registry.url or _touches("registry", unread)):
        yield "registry", "is missing: write {create: {repository: models}} or {url: host/path}"
    if cluster.kubeconfig:
        yield "cluster.kubeconfig", "is for the local target: write {create: …} or {name: …, location: …}"
    elif not (cluster.create or cluster.name or _touches("cluster", unread)):
        yield "cluster", "is missing: write {create: {name: …}} or {name: …, location: …}"
    if cluster.name and not cluster.location:
        yield "cluster.location", f"is missing: write the region or zone of cluster {cluster.name!r}"
    if cluster.create:
        yield from _cluster(settings)


def _cluster(settings: Settings) -> Iterator[Problem]:
    create = settings.cluster.create
    if create is None:
        return
    if settings.needs_image_volume:
        # A sandbox matters on the pools of such models only: `_scheduling` looks.
        problem = image_volume.problem(
            create.version, alpha=create.alpha, sandbox=False, subpath=settings.needs_subpath
        )
        if problem:
            yield "cluster.create.version", problem
    if not create.gateway_api and settings.models_of("kserve") and settings.kserve.gateway == "gke":
        yield "cluster.create.gatewayApi", "is false, but platforms.kserve.gateway is gke: write true"
    if create.private_endpoint and not (create.dns_endpoint or create.authorized_networks):
        yield (
            "cluster.create.dnsEndpoint",
            "is false with privateEndpoint: nobody could reach the API server; write true",
        )
    if create.subnetwork and not create.network:
        yield "cluster.create.network", f"is missing: name the network of subnetwork {create.subnetwork!r}"
    if create.network and not create.subnetwork:
        yield "cluster.create.subnetwork", f"is missing: name a subnetwork of network {create.network!r}"
    if create.system_pool.max_nodes < create.system_pool.min_nodes:
        yield "cluster.create.systemPool.maxNodes", f"is below minNodes ({create.system_pool.min_nodes}): raise it"


def _node_pool(settings: Settings, key: str, pool: NodePool) -> Iterator[Problem]:
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,29}[a-z0-9])?", key):
        yield (
            "",
            "is no name of a node pool: write at most 31 lower case letters, digits and '-', beginning with a "
            "letter (GKE allows 40, the rest tells replacements apart)",
        )
    cluster = settings.cluster.create.name if settings.cluster.create else settings.cluster.name or ""
    account = f"{cluster}-{key}"
    if not pool.service_account_id and len(account) > pool_names.ACCOUNT_ID:
        yield (
            ".serviceAccountId",
            f"the node service account would be {account!r}, which has {len(account)} characters: Google takes "
            f"{pool_names.ACCOUNT_ID}; write a shorter one here",
        )
    if key in {pool_names.SYSTEM, CPU_PROFILE}:
        yield "", f"{key!r} is taken, by the cluster's own pool or KubeAI's CPU profile: write another name"
    if key in {kubernetes_name(model) for model in settings.models_of("kubeai")}:
        yield (
            "",
            f"{key!r} is also the name of a KubeAI model, which may have a resource profile of that name: rename one",
        )
    place = (
        settings.cluster.location or (settings.cluster.create and settings.cluster.create.location) or settings.region
    )
    region = "-".join(str(place).split("-")[:2])
    for zone in pool.zones:
        if region and not zone.startswith(f"{region}-"):
            yield ".zones", f"has {zone}, but the cluster is in {region}: write zones of that region"
    if pool.max_nodes < pool.min_nodes:
        yield ".maxNodes", f"is {pool.max_nodes}, below minNodes ({pool.min_nodes}): raise it or lower minNodes"
    if pool.image_gc_low_threshold_percent >= pool.image_gc_high_threshold_percent:
        yield ".imageGcLowThresholdPercent", "is not below imageGcHighThresholdPercent: lower it"
    yield from _capacity(pool)
    try:
        machine = accelerators.machine_for(pool.accelerator, pool.count, pool.machine_type)
    except accelerators.AcceleratorError as error:
        yield "", str(error)
        return
    problem = accelerators.provisioning_problem(
        machine, spot=pool.spot, flex_start=pool.flex_start, reservation=bool(pool.reservation)
    )
    if problem:
        yield "", problem
    sizes = {key: settings.image_sizes_gb.get(key) for key in settings.models_on(key)}
    for problem in disk.problems(pool.boot_disk, machine, sizes, gc_high_percent=pool.image_gc_high_threshold_percent):
        yield ".bootDisk", problem


def _capacity(pool: NodePool) -> Iterator[Problem]:
    chosen = [
        name
        for name, value in (("spot", pool.spot), ("flexStart", pool.flex_start), ("reservation", pool.reservation))
        if value
    ]
    if len(chosen) > 1:
        yield "", f"has {' and '.join(chosen)}, which exclude each other: keep one"
    if pool.queued_provisioning and (pool.spot or pool.reservation):
        yield ".queuedProvisioning", "excludes spot and reservation: remove them"
    if pool.max_run_duration and not (pool.flex_start or pool.queued_provisioning):
        yield ".maxRunDuration", "is for flexStart or queuedProvisioning: remove it or choose one of them"
    if (pool.flex_start or pool.queued_provisioning) and pool.min_nodes:
        yield ".minNodes", f"is {pool.min_nodes}: such nodes start only on demand, write 0"


def _model(settings: Settings, model: Model, own: Collection[str], unread: Collection[str]) -> Iterator[Problem]:
    """Check one model; `own` are its key paths that were refused already, relative to it."""
    yield from _image(settings, model, own)
    if ".delivery" not in own:
        yield from _delivery(settings, model, unread)
    yield from _scheduling(settings, model, unread)
    if ".delivery" not in own:
        yield from _replicas(settings, model)
        yield from _scaling(settings, model)
    for argument in model.args:
        name = argument.partition("=")[0]
        if name in _SERVER_ARGS:
            yield ".args", f"has {name}, which the program sets itself: remove it"
    for name in vllm.OFFLINE_ENV:
        if name in model.env:
            yield ".env", f"has {name}, which is always 1: remove it, weights come from the image only"
    if "PYTHONPATH" in model.env and model.delivery is not Delivery.KUBEAI:
        yield ".env", "has PYTHONPATH, which KServe's webhook refuses: put what the server needs into its image"


def _image(settings: Settings, model: Model, own: Collection[str]) -> Iterator[Problem]:
    origins = {"source": model.source, "digest": model.digest, "fromStack": model.from_stack}
    given = [name for name, value in origins.items() if value or f".{name}" in own]
    if len(given) != 1:
        said = f"has {' and '.join(given)}" if given else "has no image"
        yield "", f"{said}: write exactly one of source, digest and fromStack"
    if model.model and not model.from_stack:
        yield ".model", "names a model of another stack: write fromStack as well, or remove it"
    if model.from_stack and not _STACK.fullmatch(model.from_stack):
        yield ".fromStack", f"is {model.from_stack!r}: write organization/project/stack"
    if model.from_stack and model.from_stack.split("/")[1:] == [NAMESPACE, settings.stack]:
        yield ".fromStack", "is this stack itself: name the stack to promote from"
    if model.copy_image and model.source:
        yield ".copy", "is for digest and fromStack: remove it, a source is built into this stack's registry"
    if model.copy_image and not (settings.registry.create or settings.registry.url):
        yield ".copy", "needs a registry to copy into: set oci-model-serving:registry"
    if model.source:
        yield from _source(settings, model, model.source)
        if not {".delivery", ".base"} & set(own):
            yield from _base(settings, model)
    for name in ("builder", "base"):
        if given != ["source"] and not model.source and name in model.model_fields_set:
            yield f".{name}", "is for source: remove it, this image exists already"


def _source(settings: Settings, model: Model, source: str) -> Iterator[Problem]:
    remote = source.startswith(("hf://", "gs://"))
    if source.startswith("hf://") and not _HUB.fullmatch(source):
        yield (
            ".source",
            f"is {source!r}: write hf://organization/name@<40 hexadecimal digits of a commit>: a branch or tag moves",
        )
    elif source.startswith("gs://") and not re.fullmatch(r"gs://[a-z0-9._-]{3,222}(/\S*)?", source):
        yield ".source", f"is {source!r}: write gs://bucket/prefix"
    elif "://" in source and not remote:
        yield ".source", f"is {source!r}: write a folder, hf://organization/name@<commit> or gs://bucket/prefix"
    if model.builder == "cloudbuild" and settings.target is Target.LOCAL:
        yield ".builder", "cloudbuild needs Google: write direct"
    elif model.builder == "cloudbuild" and not remote:
        yield ".builder", "cloudbuild cannot see a folder of this machine: write direct, or an hf:// or gs:// source"
    if model.builder == "docker" and settings.target is Target.LOCAL and not settings.registry.url:
        yield ".builder", "docker pushes to a registry: set oci-model-serving:registry {url: …}, or write direct"


def _base(settings: Settings, model: Model) -> Iterator[Problem]:
    if model.delivery is Delivery.MODELCAR and settings.base_of(model) == "scratch":
        yield (
            ".base",
            "is scratch, but modelcar runs sh, ln and sleep in the image: write a busybox image by digest "
            "(or oci:FOLDER, made by `python -m modelimage base`), or delivery: native",
        )
    if model.builder == "docker" and (model.base or "").startswith("oci:"):
        yield ".base", "is a layout folder, which Docker cannot build on: write an image by digest, or builder: direct"


def _delivery(settings: Settings, model: Model, unread: Collection[str]) -> Iterator[Problem]:
    kserve = settings.kserve
    if model.delivery is Delivery.KUBEAI:
        refused = "platforms" in unread or _touches("platforms.kubeai", unread)
        if settings.platforms.kubeai is None and not refused:
            yield (
                ".delivery",
                "is kubeai, but platforms.kubeai is not set: write platforms: {kubeai: {version: …}} with a chart "
                "whose CRD knows oci:// (later than 0.23.2), or another delivery",
            )
        if "shm" in model.resources.model_fields_set:
            yield ".resources.shm", "is for KServe: remove it, KubeAI leaves /dev/shm to the pod's memory"
    elif model.delivery is Delivery.NATIVE and _minor(kserve.version) < (0, 20):
        yield (
            ".delivery",
            f"is native, which KServe {kserve.version} does not know: set platforms.kserve.version to v0.20.0 or "
            "later, or write delivery: modelcar",
        )


def _scheduling(settings: Settings, model: Model, unread: Collection[str]) -> Iterator[Problem]:
    if model.node_pool is None:
        if model.gpus:
            yield ".gpus", f"is {model.gpus}, but there is no nodePool: name one, or remove gpus to run on CPU"
        if model.warm != "none":
            yield ".warm", "warms the nodes of a pool: name a nodePool, or write none"
        return
    if _touches(f"nodePools.{model.node_pool}", unread) or "nodePools" in unread:
        return
    pool = settings.node_pools.get(model.node_pool)
    if pool is None:
        names = ", ".join(settings.node_pools) or "none"
        yield ".nodePool", f"is {model.node_pool!r}, which does not exist: the stack's pools are {names}"
        return
    gpus = settings.gpus_of(model)
    if gpus > pool.count:
        yield ".gpus", f"is {gpus}, but a node of pool {model.node_pool!r} has {pool.count}: lower it, or another pool"
    if gpus == 0:
        yield ".gpus", "is 0 on a GPU pool, whose nodes would idle: write at least 1, or remove nodePool"
    if model.warm == "disk" and not pool.secondary_boot_disks:
        yield (
            ".warm",
            f"is disk, but nodePools.{model.node_pool}.secondaryBootDisks is empty: name the disk image there",
        )
    if model.delivery.needs_image_volume and pool.sandbox == "gvisor":
        yield ".nodePool", f"{model.node_pool!r} is sandboxed by gVisor, which has no image volumes: another pool"


def _replicas(settings: Settings, model: Model) -> Iterator[Problem]:
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


def _scaling(settings: Settings, model: Model) -> Iterator[Problem]:
    kserve, scaling, replicas = settings.kserve, model.scaling, model.replicas
    if model.delivery is Delivery.KUBEAI:
        for name in sorted(scaling.model_fields_set):
            yield f".scaling.{name}", "is for KServe: remove it, KubeAI scales on the requests that it sees"
        return
    if scaling.query and not kserve.keda:
        yield ".scaling.query", "is for KEDA: set platforms.kserve.keda to true (where KEDA is present), or remove it"
    elif scaling.query and not kserve.prometheus:
        yield ".scaling.query", "needs an address to query: set platforms.kserve.prometheus"
    by_cpu = not scaling.query and (replicas.max or replicas.min) > replicas.min
    if by_cpu and scaling.target > 100 and kserve.deployment_mode == "Standard":
        yield ".scaling.target", f"is {scaling.target}, but without a query it is CPU in percent: write 1 to 100"


def _platforms(settings: Settings) -> Iterator[Problem]:
    kserve = settings.kserve
    if settings.models_of("kserve"):
        if kserve.gateway == "gke" and settings.target is Target.LOCAL:
            yield "platforms.kserve.gateway", "is gke, which is Google's: write envoy or none"
        if kserve.deployment_mode == "Knative" and kserve.gateway != "none":
            yield (
                "platforms.kserve.gateway",
                f"is {kserve.gateway}, but Knative routes to its revisions by itself: write none",
            )
        if kserve.certificate and (kserve.gateway != "gke" or kserve.domain == "example.com"):
            yield "platforms.kserve.certificate", "needs gateway: gke and your own domain: set both, or remove it"
        if kserve.keda and kserve.deployment_mode == "Knative":
            yield "platforms.kserve.keda", "is for deploymentMode Standard: remove one of the two"
        if _minor(kserve.version) < (0, 19):
            yield "platforms.kserve.version", f"is {kserve.version}: write v0.19.0 or later, older charts differ"
        yield from _namespaces(settings)
    servers = {"kserve": kserve.server} if settings.models_of("kserve") else {}
    if settings.platforms.kubeai and settings.models_of("kubeai"):
        servers["kubeai"] = settings.platforms.kubeai.server
    for platform, server in servers.items():
        for name, image in (("image", server.image), ("cpuImage", server.cpu_image)):
            if not is_pinned(image):
                yield (
                    f"platforms.{platform}.server.{name}",
                    f"is {image!r}, which can change under you: write host/path@sha256:… (or at least a version's tag)",
                )


def _namespaces(settings: Settings) -> Iterator[Problem]:
    kserve, spaces = settings.kserve, [settings.kserve.namespace]
    if settings.platforms.kubeai and settings.models_of("kubeai"):
        spaces.append(settings.platforms.kubeai.namespace)
    if kserve.model_namespace in {*spaces, "default"} or kserve.model_namespace.startswith("kube-"):
        yield "platforms.kserve.modelNamespace", f"is {kserve.model_namespace!r}: write a namespace of its own"
    if len(set(spaces)) < len(spaces):
        yield "platforms.kubeai.namespace", "is KServe's own namespace: write another one"


def is_pinned(image: str) -> bool:
    """Whether an image has a digest or a tag other than `latest`."""
    repository, _, digest = image.partition("@")
    tag = repository.rpartition("/")[2].partition(":")[2]
    if digest:
        return not tag and references.is_by_digest(image)
    return tag not in {"", "latest"}


def _names(settings: Settings) -> Iterator[Problem]:
    names: dict[tuple[str, str], str] = {}
    for key, model in settings.models.items():
        name = kubernetes_name(key)
        path = f"models.{key}"
        if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
            yield path, f"its Kubernetes name would be {name!r}: write a key that begins with a letter"
        yield from _length(settings, path, name, model)
        other = names.setdefault((model.delivery.platform, name), key)
        if other != key:
            yield path, f"has the same Kubernetes name as models.{other} ({name}): rename one"


def _length(settings: Settings, path: str, name: str, model: Model) -> Iterator[Problem]:
    if model.delivery is Delivery.KUBEAI:
        if len(name) > _KUBEAI_NAME:
            yield path, f"its name {name!r} has {len(name)} characters: KubeAI takes {_KUBEAI_NAME}, shorten the key"
        if model.served_name not in {None, name}:
            yield f"{path}.servedName", f"is {model.served_name!r}: KubeAI serves it as {name!r}, remove servedName"
        return
    if len(name) > _PREDICTOR_NAME:
        yield path, f"its name {name!r} has {len(name)} characters: KServe takes {_PREDICTOR_NAME}, shorten the key"
    host = f"{name}-{settings.kserve.model_namespace}"
    if settings.kserve.gateway != "none" and len(host) > 63:  # a DNS label
        yield path, f"its host {host!r} has {len(host)} characters: DNS takes 63, shorten the key"


def _minor(version: str) -> tuple[int, int]:
    major, minor, *_ = version.lstrip("v").split(".")
    return int(major), int(minor)


def _touches(path: str, unread: Collection[str]) -> bool:
    """Whether something at or under a path was refused."""
    return any(one == path or one.startswith(f"{path}.") for one in unread)

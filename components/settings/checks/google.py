"""What the keys of registry, cluster and node pools say about each other and about the target."""

import re
from collections.abc import Collection, Iterator

from components.google import accelerators, disk, image_volume, pool_names
from components.settings.checks.unread import Problem, touches
from components.settings.google import ClusterCreate, NodePoolSettings
from components.settings.models import CPU_PROFILE
from components.settings.places import StackPool
from components.settings.stack import Settings
from components.settings.types import Target
from oci_model_serving.delivery import KUBEAI


def problems(settings: Settings, unread: Collection[str]) -> Iterator[Problem]:
    """What contradicts the target, or what the target needs and is missing."""
    registry, cluster = settings.registry.settings, settings.cluster.settings
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
    registry, cluster = settings.registry.settings, settings.cluster.settings
    if not settings.project:
        yield "gcp:project", "is missing: `pulumi config set gcp:project PROJECT`"
    if not settings.region:
        yield "gcp:region", "is missing: `pulumi config set gcp:region us-central1` (or another region)"
    if not (registry.create or registry.url or touches("registry", unread)):
        yield "registry", "is missing: write {create: {repository: models}} or {url: host/path}"
    if cluster.kubeconfig:
        yield "cluster.kubeconfig", "is for the local target: write {create: …} or {name: …, location: …}"
    elif not (cluster.create or cluster.name or touches("cluster", unread)):
        yield "cluster", "is missing: write {create: {name: …}} or {name: …, location: …}"
    if cluster.name and not cluster.location:
        yield "cluster.location", f"is missing: write the region or zone of cluster {cluster.name!r}"
    if cluster.create is not None:
        yield from _cluster(settings, cluster.create)


def _cluster(settings: Settings, create: ClusterCreate) -> Iterator[Problem]:
    if settings.cluster.needs_image_volume:
        # A sandbox matters on the pools of such models only: `_scheduling` looks.
        problem = image_volume.problem(
            create.version, alpha=create.alpha, sandbox=False, subpath=settings.cluster.needs_subpath
        )
        if problem:
            yield "cluster.create.version", problem
    if not create.gateway_api and settings.cluster.needs_gateway:
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


def pool_problems(settings: Settings, made: StackPool) -> Iterator[Problem]:
    """What contradicts itself in a node pool, by paths relative to it."""
    key, pool, cluster = made.key, made.settings, made.cluster
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,29}[a-z0-9])?", key):
        yield (
            "",
            "is no name of a node pool: write at most 31 lower case letters, digits and '-', beginning with a "
            "letter (GKE allows 40, the rest tells replacements apart)",
        )
    account = f"{cluster.name}-{key}"
    if not pool.service_account_id and len(account) > pool_names.ACCOUNT_ID:
        yield (
            ".serviceAccountId",
            f"the node service account would be {account!r}, which has {len(account)} characters: Google takes "
            f"{pool_names.ACCOUNT_ID}; write a shorter one here",
        )
    if key in {pool_names.SYSTEM, CPU_PROFILE}:
        yield "", f"{key!r} is taken, by the cluster's own pool or KubeAI's CPU profile: write another name"
    if key in {model.name for model in settings.models_of(KUBEAI)}:
        yield (
            "",
            f"{key!r} is also the name of a KubeAI model, which may have a resource profile of that name: rename one",
        )
    for zone in pool.zones:
        if cluster.region and not zone.startswith(f"{cluster.region}-"):
            yield ".zones", f"has {zone}, but the cluster is in {cluster.region}: write zones of that region"
    if pool.max_nodes < pool.min_nodes:
        yield ".maxNodes", f"is {pool.max_nodes}, below minNodes ({pool.min_nodes}): raise it or lower minNodes"
    if pool.image_gc_low_threshold_percent >= pool.image_gc_high_threshold_percent:
        yield ".imageGcLowThresholdPercent", "is not below imageGcHighThresholdPercent: lower it"
    yield from _capacity(pool)
    try:
        machine = made.machine
    except accelerators.AcceleratorError as error:
        yield "", str(error)
        return
    problem = accelerators.provisioning_problem(
        machine, spot=pool.spot, flex_start=pool.flex_start, reservation=bool(pool.reservation)
    )
    if problem:
        yield "", problem
    for problem in disk.problems(pool, machine, made.image_sizes_gb):
        yield ".bootDisk", problem


def _capacity(pool: NodePoolSettings) -> Iterator[Problem]:
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

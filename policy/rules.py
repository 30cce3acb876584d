"""The rules: pure functions of what a stack declares. Each message holds the remedy.

A value that only a real run knows (`known after …`) is no violation: the engine checks it when it is known.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.google import disk, image_disk
from components.serving.vllm import OFFLINE_ENV
from components.settings.types import GB
from oci_model_serving.delivery import Delivery
from policy import allowed, cloud, pods, programs
from policy.declared import Declared
from policy.images import (
    Props,
    containers,
    is_by_digest,
    is_model_by_digest,
    is_unknown,
    kind_of,
    latest_in_values,
    mapping,
    model_uris,
    named_images,
    repository_of,
    tag_of,
)

STACK_TYPE = "pulumi:pulumi:Stack"
_POD_SECURITY = "pod-security.kubernetes.io/enforce"
_NODE_POOL = "gcp:container/nodePool:NodePool"
_CLUSTER = "gcp:container/cluster:Cluster"
_REPOSITORY = "gcp:artifactregistry/repository:Repository"
_RELEASE = "kubernetes:helm.sh/v3:Release"


@dataclass(frozen=True)
class Violation:
    """A rule that a resource breaks."""

    rule: str
    mandatory: bool
    resource: str
    message: str

    def __str__(self) -> str:
        level = "mandatory" if self.mandatory else "advisory"
        return f"{level}: {self.rule}: {self.resource}: {self.message}"


ResourceCheck = Callable[[str, str, Props], Iterator[str]]
"""Type, name and inputs of one resource to the messages of what it breaks."""
StackCheck = Callable[[Sequence[Declared], str], Iterator[tuple[Declared, str]]]
"""All resources and the stack's name to the resources that break the rule, each with the message."""


@dataclass(frozen=True)
class Rule:
    """One rule, on single resources or on the stack as a whole."""

    name: str
    description: str
    resource_check: ResourceCheck | None = None
    stack_check: StackCheck | None = None
    mandatory: bool = True

    def violations(self, resources: Sequence[Declared], stack: str) -> Iterator[Violation]:
        """What breaks this rule among the resources."""
        if self.stack_check is not None:
            for resource, message in self.stack_check(resources, stack):
                yield Violation(self.name, self.mandatory, f"{resource.type} {resource.name}", message)
        if self.resource_check is not None:
            for resource in resources:
                for message in self.resource_check(resource.type, resource.name, resource.props):
                    yield Violation(self.name, self.mandatory, f"{resource.type} {resource.name}", message)


def check(plan: Mapping[str, Any], stack: str) -> list[Violation]:
    """The violations of a plan in the JSON form of `oms plan`, mandatory ones first."""
    resources = [Declared(item["type"], item["name"], item["inputs"]) for item in plan["resources"]]
    resources.append(Declared(STACK_TYPE, stack, plan["outputs"]))
    found = [violation for rule in RULES for violation in rule.violations(resources, stack)]
    return sorted(found, key=lambda violation: not violation.mandatory)


def serving_by_digest(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Models are served by digest only."""
    for path, uri, in_form in model_uris(type_, props):
        if in_form or is_unknown(uri):
            continue
        if kind_of(type_) == "Model":
            wanted = "oci://host/path:digest-sha256-<64 hex>, the digest spelled as a tag"
        elif path.endswith("reference"):
            wanted = "host/path@sha256:<64 hex>"
        else:
            wanted = "oci://host/path@sha256:<64 hex> (or oci+native://…)"
        yield f"{path} is {uri!r}: write {wanted}"


def models_by_digest(resources: Sequence[Declared], _stack: str) -> Iterator[tuple[Declared, str]]:
    """A container that runs a model's image, as prepulling does, names it by digest."""
    repositories = {
        repository_of(uri)
        for resource in resources
        for _path, uri, in_form in model_uris(resource.type, resource.props)
        if in_form
    }
    for resource in resources:
        for path, image in named_images(resource.type, resource.props):
            if repository_of(image) in repositories and path != "imageName" and not is_model_by_digest(image):
                yield resource, f"{path} is {image!r}, a model's image: name it by the digest that is served"


def server_images_by_digest(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Server images should be named by digest."""
    if kind_of(type_):
        for path, image in named_images(type_, props):
            if not is_by_digest(image) and not is_unknown(image):
                yield f"{path} is {image!r}, and a tag can move: name the image by digest in the stack's settings"


def no_latest(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Nothing runs or builds `:latest` or an image without tag."""
    for path, image in named_images(type_, props):
        if is_by_digest(image) or is_unknown(image):
            continue
        if tag_of(image) in {"", "latest"}:
            yield f"{path} is {image!r}, which means whatever was pushed last: name a digest, or at least a version"
    if type_ == _RELEASE:
        for path in latest_in_values(props):
            yield f"{path} is latest: name a version or a digest"


def gpu_boot_disk(type_: str, _name: str, props: Props) -> Iterator[str]:
    """GPU nodes have a boot disk of at least 200 GB."""
    if not _has_gpus(type_, props):
        return
    size = _boot_disk_gb(props)
    if is_unknown(size):
        return
    if size is None:
        yield f"no boot disk size is set, and GKE's default is 100 GB: set bootDisk.sizeGb to {disk.MINIMUM_GB} or more"
    elif not isinstance(size, int | float) or size < disk.MINIMUM_GB:
        yield f"the boot disk has {size!r} GB: set bootDisk.sizeGb to {disk.MINIMUM_GB} or more"


def disk_holds_images(resources: Sequence[Declared], _stack: str) -> Iterator[tuple[Declared, str]]:
    """A pool's disk, or its Local SSDs, are large enough for the images of all models that run on it."""
    nodes = {
        resource.name: mapping(resource.props.get("nodeConfig"))
        for resource in resources
        if resource.type == _NODE_POOL
    }
    for stack in resources:
        if stack.type != STACK_TYPE:
            continue
        models = [mapping(model) for model in mapping(stack.props.get("models")).values()]
        for pool, settings in mapping(stack.props.get("node_pools")).items():
            sizes = [size for model in models if model.get("node_pool") == pool for size in _image_sizes(model)]
            config = nodes.get(pool, {})
            local = _local_ssds(config)
            size = local.usable_gb if local else mapping(settings).get("disk_size_gb")
            threshold = mapping(config.get("kubeletConfig")).get("imageGcHighThresholdPercent")
            need = (disk.used_gb if local else disk.needed_gb)(
                [known / GB for known in sizes if isinstance(known, int | float)],
                gc_high_percent=threshold if isinstance(threshold, int) else disk.GC_HIGH_PERCENT,
            )
            if isinstance(size, int | float) and 0 < size < need:  # 0: GKE chooses it
                remedy = "take more Local SSDs" if local else f"set bootDisk.sizeGb to {need} or more"
                yield (
                    stack,
                    f"pool {pool!r} has {size:g} GB{' of Local SSDs' if local else ''}, and the images of its models, "
                    f"each on the disk twice, need {need}: {remedy}, or spread the models over pools",
                )


def _image_sizes(model: Props) -> list[Any]:
    """The sizes of a model's image and of its adapters', as the stack's outputs have them; not of one streamed past."""
    adapters = mapping(model.get("adapters")).values()
    own = () if model.get("delivery") == Delivery.STREAM.value else (model,)
    return [image.get("size_bytes") for image in (*own, *map(mapping, adapters))]


def no_authoritative_iam(type_: str, _name: str, _props: Props) -> Iterator[str]:
    """No resource replaces bindings that others made."""
    kind = type_.rsplit(":", 1)[-1].lower()
    if type_.startswith("gcp:") and kind.endswith(("iambinding", "iampolicy")):
        yield "it removes members that it does not know, Google's own agents too: use the …IAMMember resource"


def own_node_account(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Nodes run as a service account of their own."""
    has_default_pool = not props.get("removeDefaultNodePool") and not props.get("enableAutopilot")
    if type_ != _NODE_POOL and not (type_ == _CLUSTER and has_default_pool):
        return
    account = mapping(props.get("nodeConfig")).get("serviceAccount")
    if not account or account == "default" or str(account).endswith("-compute@developer.gserviceaccount.com"):
        yield (
            f"nodes run as {account or 'the default account'}, which many other things share: set "
            "nodeConfig.serviceAccount to an account of their own with roles/container.defaultNodeServiceAccount"
        )


def immutable_tags(type_: str, _name: str, props: Props) -> Iterator[str]:
    """A tag in a repository of images means one digest for ever."""
    if type_ != _REPOSITORY or str(props.get("format", "")).upper() != "DOCKER":
        return
    if str(props.get("mode")) in {"REMOTE_REPOSITORY", "VIRTUAL_REPOSITORY"}:
        return
    value = mapping(props.get("dockerConfig")).get("immutableTags")
    if value is not True and not is_unknown(value):
        yield "tags can move to another image: set dockerConfig.immutableTags to true"


def offline_env(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Model servers never ask a model hub."""
    kind = kind_of(type_)
    if kind in {"ServingRuntime", "ClusterServingRuntime"}:
        for path, container in containers(props):
            if container.get("name") == "kserve-container":
                yield from _missing_offline(_as_mapping(container.get("env")), f"{path}.env")
    elif kind == "Model" and type_.startswith("kubernetes:kubeai.org/"):
        yield from _missing_offline(mapping(mapping(props.get("spec")).get("env")), "spec.env")
    elif kind == "InferenceService":
        yield from _offline_in_service(mapping(mapping(props.get("spec")).get("predictor")))


def gpu_pools_scale_to_zero(resources: Sequence[Declared], stack: str) -> Iterator[tuple[Declared, str]]:
    """Outside production, GPU pools cost nothing while nobody asks."""
    if stack.startswith("prod"):
        return
    for resource in resources:
        autoscaling = mapping(resource.props.get("autoscaling"))
        if not _has_gpus(resource.type, resource.props):
            continue
        least = autoscaling.get("minNodeCount") or autoscaling.get("totalMinNodeCount") or 0
        if not autoscaling:
            yield resource, "it has a fixed number of GPU nodes: set minNodes 0 and maxNodes in its settings"
        elif isinstance(least, int | float) and least > 0:
            yield resource, f"it keeps {least:g} GPU nodes running: set minNodes to 0"


def namespaces_labelled(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Every namespace enforces a Pod Security level."""
    if type_ != "kubernetes:core/v1:Namespace":
        return
    level = mapping(mapping(props.get("metadata")).get("labels")).get(_POD_SECURITY)
    if str(level) not in {"baseline", "restricted"} and not is_unknown(level):
        yield f"label {_POD_SECURITY} is {level or 'not set'}: set it to baseline or restricted"


def _has_gpus(type_: str, props: Props) -> bool:
    return type_ == _NODE_POOL and bool(mapping(props.get("nodeConfig")).get("guestAccelerators"))


def _boot_disk_gb(props: Props) -> Any:
    config = mapping(props.get("nodeConfig"))
    size = mapping(config.get("bootDisk")).get("sizeGb")
    return config.get("diskSizeGb") if size is None else size


def _local_ssds(config: Props) -> image_disk.ImageDisk | None:
    """The Local SSDs that a pool's images are on, as its machine type brings them or its settings ask for."""
    machine, given = config.get("machineType"), config.get("ephemeralStorageLocalSsdConfig")
    asked = mapping(given).get("localSsdCount")
    if not isinstance(machine, str) or config.get("localNvmeSsdBlockConfig"):  # the latter's are for the pods' own use
        return None
    return image_disk.on_local_ssd(machine, int(asked) if isinstance(asked, int | float) and asked else None)


def _as_mapping(env: Any) -> dict[str, Any]:
    entries = env if isinstance(env, Sequence) and not isinstance(env, str) else []
    return {str(mapping(entry).get("name")): mapping(entry).get("value") for entry in entries}


def _missing_offline(env: Mapping[str, Any], path: str) -> Iterator[str]:
    missing = [f"{name}={value}" for name, value in OFFLINE_ENV.items() if str(env.get(name)) != value]
    if missing:
        yield f"{path} lacks {' and '.join(missing)}: without it the server asks the hub when a file is missing"


def _offline_in_service(predictor: Mapping[str, Any]) -> Iterator[str]:
    """A custom predictor brings its own environment; a model may only not undo what its runtime sets."""
    for path, container in containers({"containers": predictor.get("containers") or []}):
        yield from _missing_offline(_as_mapping(container.get("env")), f"spec.predictor.{path}.env")
    env = _as_mapping(mapping(predictor.get("model")).get("env"))
    for name, value in OFFLINE_ENV.items():
        if name in env and str(env[name]) != value:
            yield f"spec.predictor.model.env sets {name}={env[name]}: leave it out, the runtime sets {value}"


RULES: tuple[Rule, ...] = (
    Rule("serving-by-digest", "Models are served by digest only.", serving_by_digest),
    Rule("model-image-by-digest", "Containers name model images by digest.", stack_check=models_by_digest),
    Rule("no-latest", "No image is :latest or without tag.", no_latest),
    Rule("gpu-boot-disk", f"GPU nodes have a boot disk of at least {disk.MINIMUM_GB} GB.", gpu_boot_disk),
    Rule("disk-holds-images", "A pool's disk holds the images of its models.", stack_check=disk_holds_images),
    Rule("no-authoritative-iam", "No IAMBinding and no IAMPolicy.", no_authoritative_iam),
    Rule("no-public-members", "What is granted is granted to named accounts and groups.", cloud.only_named_members),
    Rule("own-node-account", "Nodes do not run as the default account.", own_node_account),
    Rule("no-broad-roles", "Roles are those that serving needs, where it needs them.", cloud.only_allowed_roles),
    Rule("immutable-tags", "Repositories of images have immutable tags.", immutable_tags),
    Rule("offline-env", "Model servers never ask a model hub.", offline_env),
    Rule("known-types", "A stack declares types that the policy knows.", allowed.only_allowed_types),
    Rule("own-patch", "Patches add to the list of accepted images only.", allowed.only_our_patch),
    Rule("listed-images", "The list of accepted images has whole images.", pods.listed_images),
    Rule("pods-without-rights", "No pod has rights on its node.", pods.pods_without_rights_on_nodes),
    Rule("no-remote-code", "Servers run no code of the weights and nothing downloaded.", pods.no_remote_code),
    Rule("weights-by-image", "Weights come from no hub and no bucket.", pods.no_weights_from_elsewhere),
    Rule("no-plain-secrets", "Secrets are in Secrets.", pods.no_plain_secrets),
    Rule("not-the-systems", "Nothing goes into the cluster's own namespaces.", pods.not_the_systems),
    Rule("narrow-access", "Roles, services, gateways and policies let in who is named.", pods.narrow_access),
    Rule("cis-cluster", "Clusters are as the CIS benchmark asks.", cloud.hardened_cluster),
    Rule("cis-nodes", "Nodes are as the CIS benchmark asks.", cloud.hardened_nodes),
    Rule("cis-upgrades", "Nodes are upgraded and repaired.", stack_check=cloud.upgraded_nodes),
    Rule("closed-network", "Networks let in nobody from the internet.", cloud.closed_network),
    Rule("kept-apart", "Accounts, APIs and keys are kept apart.", cloud.kept_apart),
    Rule("private-bucket", "Buckets are read by whom their roles name.", cloud.private_bucket),
    Rule("own-commands", "The machine that deploys runs the project's commands only.", programs.only_our_commands),
    Rule("plain-builds", "Builds take files of the project and no secrets.", programs.only_plain_builds),
    Rule("safe-providers", "Providers check whom they talk to.", programs.only_safe_providers),
    Rule("known-charts", "Charts come from who makes them, at a version.", programs.only_known_charts),
    Rule("narrow-values", "A chart's values give no rights and bring no objects.", programs.narrow_values),
    Rule("namespaces-labelled", "Namespaces enforce a Pod Security level.", namespaces_labelled),
    Rule(
        "server-image-by-digest",
        "Server images should be named by digest.",
        server_images_by_digest,
        mandatory=False,
    ),
    Rule(
        "gpu-pools-scale-to-zero",
        "Outside production, GPU pools scale to zero.",
        stack_check=gpu_pools_scale_to_zero,
        mandatory=False,
    ),
)

"""Before a GPU is paid for: whether the cluster and the registry would take the models.

Nothing is created: what the API server, its schemas and its webhooks would do is asked with dry runs.
"""

import re
import secrets
from collections.abc import Iterator
from functools import partial
from typing import Any

from components.google.image_volume import IMAGE_VOLUME_VERSION
from oci_model_serving.delivery import IMAGE_ROOT, KSERVE, STREAM_CONTAINER
from oci_model_serving.outputs import ModelOutput, StackOutputs
from smoke import manifests
from smoke.checks import Check, NotRunError, run
from smoke.iam import RegistryPolicies, pod_account
from smoke.stack import ServedModel
from watch.causes import NotHeldError, short
from watch.complaints import Case
from watch.containers import MODELCAR, STORAGE_INITIALIZER, image_volumes
from watch.diagnosis import IMAGE_VOLUME_CONTAINERD, containerd_version, diagnose
from watch.image import check_image
from watch.kube import JSON, ApiError, KubeApi, namespaced
from watch.pods import object_path

STEP = "preflight"
_SUBPATH_VERSION = (1, 33)
_MODELCAR_INIT = "modelcar-init"


def preflight(
    api: KubeApi, outputs: StackOutputs, models: list[ServedModel], policies: RegistryPolicies | None = None
) -> Iterator[Check]:
    """Run the checks that cost nothing, in the order in which their failures would show."""
    policies = policies or RegistryPolicies()
    yield run(STEP, "api-server", partial(_check_reachable, api))
    if any(_needs_image_volume(model.output) for model in models):
        yield run(STEP, "image-volume", partial(_check_image_volume, api))
    for model in models:
        one = partial(run, STEP, model=model.key)
        if _needs_image_volume(model.output):
            yield one("node-runtime", partial(_check_nodes, api, outputs, model.output))
        if model.output.serving.platform is KSERVE:
            yield one("inferenceservice-schema", partial(_check_inference_service, api, model.output))
            yield one("webhook", partial(_check_webhook, api, model.output))
        else:
            yield one("kubeai-schema", partial(_check_kubeai, api, model.output))
        yield one("image", partial(check_image, model.output.reference))
        for name, adapter in sorted(model.output.adapters.items()):
            yield one(f"image of adapter {name}", partial(check_image, adapter.reference))
        if model.output.compile_cache:
            yield one("image of compile cache", partial(check_image, model.output.compile_cache.reference))
        if model.output.serving.streamed:
            yield one("pod-account", partial(_check_pod_account, api, model.output, policies))
        else:
            yield one("node-account", partial(_check_account, model, policies))


def _needs_image_volume(model: ModelOutput) -> bool:
    return model.serving.needs_image_volume or bool(model.adapters or model.compile_cache)


def _check_reachable(api: KubeApi) -> str:
    return f"{api.server} is Kubernetes {api.get('/version')['gitVersion']}"


def _check_image_volume(api: KubeApi) -> str:
    version = api.get("/version")
    minor = (int(version["major"]), int(re.sub(r"\D.*", "", version["minor"])))
    enabled, how = _gate(api)
    wanted = ".".join(map(str, IMAGE_VOLUME_VERSION))
    if not enabled:
        raise NotHeldError(
            f"Kubernetes {version['gitVersion']} does not take image volumes ({how})",
            f"upgrade the cluster to {wanted} or newer (`cluster.create.version`), where the gate ImageVolume is "
            "on, or set `models.NAME.delivery: modelcar`",
        )
    if minor < _SUBPATH_VERSION:
        raise NotHeldError(
            f"Kubernetes {version['gitVersion']} has image volumes ({how}), but no subPath in them",
            f"upgrade the cluster to {wanted} or newer, or set `models.NAME.delivery: modelcar`",
        )
    return f"Kubernetes {version['gitVersion']} takes image volumes ({how})"


def _gate(api: KubeApi) -> tuple[bool, str]:
    try:
        metrics = api.text("/metrics")
    except ApiError:
        metrics = ""
    match = re.search(r'kubernetes_feature_enabled\{name="ImageVolume",stage="(\w*)"\} (\d)', metrics)
    if match:
        return match[2] == "1", f"gate ImageVolume {'on' if match[2] == '1' else 'off'}, {match[1] or 'stable'}"
    pod = manifests.image_volume_pod(_name(), "registry.invalid/x@sha256:" + "0" * 64)
    try:
        made = api.create(namespaced("v1", "default", "pods"), pod, dry_run=True)
    except ApiError as error:
        # A server without the gate drops the field, and then misses the volume's type.
        if error.status in {400, 422}:
            return False, f"a dry run was refused: {short(error.message)}"
        raise
    kept = bool(image_volumes(made))
    return kept, f"a dry run {'kept' if kept else 'dropped'} the volume"


def _check_nodes(api: KubeApi, outputs: StackOutputs, model: ModelOutput) -> str:
    pool = outputs.node_pools.get(model.node_pool or "")
    selector = ",".join(f"{key}={value}" for key, value in (pool.labels if pool else {}).items())
    nodes = api.items("/api/v1/nodes", labelSelector=selector)
    if not nodes:
        raise NotRunError(f"no node of pool {model.node_pool or '(none)'} is up: its runtime shows once one is")
    versions = [(node, containerd_version(node)) for node in nodes]
    old = [node for node, version in versions if version and version < IMAGE_VOLUME_CONTAINERD]
    if old:
        raise NotHeldError(
            "; ".join(f"{node['metadata']['name']} runs {_runtime(node)}" for node in old),
            "containerd mounts image volumes from 2.1 on: upgrade the node pool (GKE 1.34.4 and later), or set "
            "`models.NAME.delivery: modelcar`",
        )
    return f"{len(nodes)} nodes with {', '.join(sorted({_runtime(node) for node in nodes}))}"


def _runtime(node: JSON) -> str:
    return str(node["status"]["nodeInfo"]["containerRuntimeVersion"])


def _check_inference_service(api: KubeApi, model: ModelOutput) -> str:
    deployed = api.find(object_path(model))
    _dry_run(
        api,
        model,
        deployed or manifests.inference_service(_name(), model.storage_uri),
        install="install KServe: `pulumi up` does when a model is served by it and `platforms.kserve.install` is true",
        refused=("unknown field", "the CRD does not know a field that we use"),
        remedy="upgrade KServe's CRDs (`platforms.kserve.version`; they are a chart of their own)",
    )
    what = "the deployed object" if deployed else "an InferenceService with our fields"
    return f"{KSERVE.api_version} takes {what} (dry run)"


def _check_kubeai(api: KubeApi, model: ModelOutput) -> str:
    body = api.find(object_path(model)) or manifests.kubeai_model(_name(), model.storage_uri)
    _dry_run(
        api,
        model,
        {**body, "spec": {**body["spec"], "url": model.storage_uri}},
        install="install KubeAI: `pulumi up` does when a model is served by it",
        refused=("url", f"KubeAI's CRD refuses {model.storage_uri}"),
        remedy="set `platforms.kubeai.version` to a chart newer than 0.23.2 whose CRD lists oci://, and `pulumi up`",
    )
    group = model.serving.platform.api_version
    return f"{group} takes {model.storage_uri.split('://')[0]}:// with the digest's tag (dry run)"


def _dry_run(
    api: KubeApi, model: ModelOutput, body: JSON, *, install: str, refused: tuple[str, str], remedy: str
) -> None:
    """Have the server judge a copy of `body`; `refused` is a word of its refusal, and what that means."""
    platform = model.serving.platform
    path = namespaced(platform.api_version, _namespace(api, model), platform.plural)
    word, meaning = refused
    try:
        api.create(path, manifests.like_deployed(body, _name()), dry_run=True)
    except ApiError as error:
        if error.status == 404:
            raise NotHeldError(f"the cluster does not serve {platform.api_version}", install) from None
        if word in error.message:
            raise NotHeldError(f"{meaning}: {short(error.message)}", remedy) from None
        raise


def _check_webhook(api: KubeApi, model: ModelOutput) -> str:
    namespace = _namespace(api, model)
    pod = manifests.predictor_pod(model, _name())
    try:
        made = api.create(namespaced("v1", namespace, "pods"), pod, dry_run=True)
    except ApiError as error:
        causes = diagnose(Case({}, events=[{"type": "Warning", "reason": "Refused", "message": error.message}]))
        if not causes:
            raise
        raise NotHeldError(error.evidence, "", causes) from None
    wrong = _unwired(made, model)
    if wrong:
        raise NotHeldError(
            f"the dry-run pod came back without {', '.join(wrong)}",
            "compare KServe's version with `platforms.kserve.version`",
            diagnose(Case(made)),
        )
    how = "image volume" if image_volumes(made) else "modelcar sidecar, init container and mount"
    if model.serving.pulled_by_pod:
        how = "sidecar that streams" if model.serving.streamed else "init container that fetches"
    return f"a dry-run pod in {namespace} came back with the {how} of {model.digest[:19]}…"


def _unwired(pod: dict[str, Any], model: ModelOutput) -> list[str]:
    """Name what KServe's webhook should have added to a pod and has not."""
    spec = pod["spec"]
    containers = {container["name"]: container for container in spec["containers"]}
    mounts = {mount["mountPath"]: mount for mount in containers[KSERVE.container].get("volumeMounts") or ()}
    volumes = {volume["name"]: volume for volume in spec.get("volumes") or ()}
    if model.serving.streamed:
        made: JSON = next((one for one in spec.get("initContainers") or () if one["name"] == STREAM_CONTAINER), {})
        named = model.storage_uri in (made.get("args") or ())
        kept = made.get("restartPolicy") == "Always"
        return [
            *([] if named else [f"an init container {STREAM_CONTAINER} of {model.storage_uri}"]),
            *([] if kept else ["restartPolicy Always of that container, which Kubernetes has from 1.29 on"]),
        ]
    if model.serving.pulled_by_pod:
        init = {one["name"]: one.get("args") or () for one in spec.get("initContainers") or ()}
        fetches = model.storage_uri in init.get(STORAGE_INITIALIZER, ())
        return [] if fetches else [f"an init container {STORAGE_INITIALIZER} of {model.storage_uri}"]
    # KServe in `ociModelMode: native` mounts what the delivery `modelcar` names, too.
    if model.serving.needs_image_volume or image_volumes(pod):
        mount = mounts.get(KSERVE.mount, {})
        source = volumes.get(mount.get("name", ""), {}).get("image", {})
        found = {
            f"a mount at {KSERVE.mount}": bool(mount),
            f"subPath {IMAGE_ROOT}": mount.get("subPath") == IMAGE_ROOT,
            f"an image volume of {model.image}": source.get("reference") == model.image,
        }
    else:
        init = {container["name"]: container["image"] for container in spec.get("initContainers") or ()}
        found = {
            "shareProcessNamespace": spec.get("shareProcessNamespace") is True,
            f"an init container {_MODELCAR_INIT} of {model.image}": init.get(_MODELCAR_INIT) == model.image,
            f"a sidecar {MODELCAR} of {model.image}": containers.get(MODELCAR, {}).get("image") == model.image,
            "a shared mount at /mnt": "/mnt" in mounts,
        }
    return [what for what, there in found.items() if not there]


def _check_account(model: ServedModel, policies: RegistryPolicies) -> str:
    if not model.account:
        raise NotRunError(f"no service account of pool {model.output.node_pool or '(none)'} is in the stack's outputs")
    return policies.check_reader(model.output.reference, model.account)


def _check_pod_account(api: KubeApi, model: ModelOutput, policies: RegistryPolicies) -> str:
    """Whether the pods' own account reads the image, where their sidecar has no other login."""
    found = api.find(object_path(model))
    if found is None:
        raise NotRunError("how its sidecar reads the image shows once the model is deployed")
    init = found["spec"]["predictor"].get("initContainers") or ()
    env = {entry["name"] for one in init if one["name"] == STREAM_CONTAINER for entry in one.get("env") or ()}
    if "DOCKER_CONFIG" in env:
        raise NotRunError("its sidecar reads with a login of the stack's pullSecrets: IAM says nothing about it")
    return policies.check_reader(model.reference, pod_account(model.namespace, model.name))


def _namespace(api: KubeApi, model: ModelOutput) -> str:
    """Return the model's namespace, or `default` while that is not there: schemas and webhooks are the same."""
    return model.namespace if api.find(f"/api/v1/namespaces/{model.namespace}") else "default"


def _name() -> str:
    return f"smoke-{secrets.token_hex(4)}"

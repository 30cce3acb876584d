"""Before a GPU is paid for: whether the cluster and the registry would take the models.

Nothing is created: what the API server, its schemas and its webhooks would do is asked with dry runs.
"""

import re
import secrets
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

from components.outputs import ModelOutput, StackOutputs
from components.schema import IMAGE_VOLUME_VERSION
from smoke import manifests
from smoke.checks import Check, NotHeldError, NotRunError, run
from smoke.diagnosis import IMAGE_VOLUME_CONTAINERD, MODELCAR, Case, containerd_version, diagnose
from smoke.iam import RegistryPolicies
from smoke.image import check_image
from smoke.kube import ApiError, KubeApi, namespaced
from smoke.stack import Model

STEP = "preflight"
_SUBPATH_VERSION = (1, 33)
_MODELCAR_INIT = "modelcar-init"


def preflight(
    api: KubeApi, outputs: StackOutputs, models: list[Model], policies: RegistryPolicies | None = None
) -> Iterator[Check]:
    """Run the checks that cost nothing, in the order in which their failures would show."""
    cluster = _Cluster(api)
    policies = policies or RegistryPolicies()
    yield run(STEP, "api-server", cluster.check_reachable)
    if any(_mounts_volume(model.output) for model in models):
        yield run(STEP, "image-volume", cluster.check_image_volume)
    for model in models:
        one = partial(run, STEP, model=model.key)
        if _mounts_volume(model.output):
            yield one("node-runtime", partial(_check_nodes, api, outputs, model.output))
        if model.output.platform == "kserve":
            yield one("inferenceservice-schema", partial(_check_inference_service, api, model.output))
            yield one("webhook", partial(_check_webhook, api, model.output))
        else:
            yield one("kubeai-schema", partial(_check_kubeai, api, model.output))
        yield one("image", partial(check_image, model.output.reference))
        yield one("node-account", partial(_check_account, outputs, model.output, policies))


def _mounts_volume(model: ModelOutput) -> bool:
    return model.delivery != "modelcar"


class _Cluster:
    """What is asked of the cluster once, whatever the number of models."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    def check_reachable(self) -> str:
        version = self._api.get("/version")["gitVersion"]
        return f"{self._api.server} is Kubernetes {version}"

    def check_image_volume(self) -> str:
        version = self._api.get("/version")
        minor = (int(version["major"]), int(re.sub(r"\D.*", "", version["minor"])))
        enabled, how = self._gate()
        wanted = ".".join(map(str, IMAGE_VOLUME_VERSION))
        if not enabled:
            raise NotHeldError(
                f"Kubernetes {version['gitVersion']} does not take image volumes ({how})",
                f"upgrade the cluster to {wanted} or newer (`cluster.create.version`), where the gate ImageVolume is "
                "on, or set the models' `delivery: modelcar`",
            )
        if minor < _SUBPATH_VERSION:
            raise NotHeldError(
                f"Kubernetes {version['gitVersion']} has image volumes ({how}), but no subPath in them",
                f"upgrade the cluster to {wanted} or newer, or set the models' `delivery: modelcar`",
            )
        return f"Kubernetes {version['gitVersion']} takes image volumes ({how})"

    @lru_cache(maxsize=1)  # noqa: B019 - the object lives as long as one run
    def _gate(self) -> tuple[bool, str]:
        try:
            metrics = self._api.text("/metrics")
        except ApiError:
            return self._gate_by_dry_run()
        match = re.search(r'kubernetes_feature_enabled\{name="ImageVolume",stage="(\w*)"\} (\d)', metrics)
        if not match:
            return self._gate_by_dry_run()
        return match[2] == "1", f"gate ImageVolume {'on' if match[2] == '1' else 'off'}, {match[1] or 'stable'}"

    def _gate_by_dry_run(self) -> tuple[bool, str]:
        pod = manifests.image_volume_pod(_name(), "registry.invalid/x@sha256:" + "0" * 64)
        try:
            made = self._api.create(namespaced("v1", "default", "pods"), pod, dry_run=True)
        except ApiError as error:
            # A server without the gate drops the field, and then misses the volume's type.
            if error.status in {400, 422}:
                return False, f"a dry run was refused: {error.message[:200]}"
            raise
        kept = any("image" in volume for volume in made["spec"].get("volumes") or ())
        return kept, "a dry run kept the volume" if kept else "a dry run dropped the volume"


def _check_nodes(api: KubeApi, outputs: StackOutputs, model: ModelOutput) -> str:
    pool = outputs.node_pools.get(model.node_pool or "")
    selector = ",".join(f"{key}={value}" for key, value in (pool.labels if pool else {}).items())
    nodes = api.items("/api/v1/nodes", labelSelector=selector)
    if not nodes:
        raise NotRunError(f"no node of pool {model.node_pool or '(none)'} is up: its runtime shows once one is")
    old = []
    for node in nodes:
        version = containerd_version(node)
        if version and version < IMAGE_VOLUME_CONTAINERD:
            old.append(f"{node['metadata']['name']} runs {node['status']['nodeInfo']['containerRuntimeVersion']}")
    if old:
        raise NotHeldError(
            "; ".join(old),
            "containerd mounts image volumes from 2.1 on: upgrade the node pool (GKE 1.34.4 and later), or set "
            "`delivery: modelcar`",
        )
    seen = sorted({node["status"]["nodeInfo"]["containerRuntimeVersion"] for node in nodes})
    return f"{len(nodes)} nodes with {', '.join(seen)}"


def _check_inference_service(api: KubeApi, model: ModelOutput) -> str:
    group, plural = manifests.resource(model)
    deployed = api.find(namespaced(group, model.namespace, plural, model.name))
    body = (
        manifests.like_deployed(deployed, _name())
        if deployed
        else manifests.inference_service(_name(), model.storage_uri)
    )
    try:
        api.create(namespaced(group, _namespace(api, model), plural), body, dry_run=True)
    except ApiError as error:
        if error.status == 404:
            raise NotHeldError(
                f"the cluster does not serve {group}",
                "install KServe: `pulumi up` does when a model is served by it and `platforms.kserve.install` is true",
            ) from None
        if "unknown field" in error.message:
            raise NotHeldError(
                f"the CRD does not know a field that we use: {error.message[:300]}",
                "upgrade KServe's CRDs (`platforms.kserve.version`; they are a chart of their own)",
            ) from None
        raise
    return f"{group} takes {'the deployed object' if deployed else 'an InferenceService with our fields'} (dry run)"


def _check_webhook(api: KubeApi, model: ModelOutput) -> str:
    namespace = _namespace(api, model)
    pod = manifests.predictor_pod(model, _name())
    try:
        made = api.create(namespaced("v1", namespace, "pods"), pod, dry_run=True)
    except ApiError as error:
        causes = diagnose(Case({}, events=[{"type": "Warning", "reason": "Refused", "message": error.message}]))
        if not causes:
            raise
        raise NotHeldError(error.evidence, causes[0].remedy, tuple(causes)) from None
    wrong = _unwired(made, model)
    if wrong:
        causes = diagnose(Case(made))
        remedy = causes[0].remedy if causes else "compare KServe's version with `platforms.kserve.version`"
        raise NotHeldError(f"the dry-run pod came back without {', '.join(wrong)}", remedy, tuple(causes))
    how = "modelcar sidecar, init container and mount" if model.delivery == "modelcar" else "image volume"
    return f"a dry-run pod in {namespace} came back with the {how} of {model.digest[:19]}…"


def _unwired(pod: dict[str, Any], model: ModelOutput) -> list[str]:
    """Name what KServe's webhook should have added to a pod and has not."""
    spec = pod["spec"]
    containers = {container["name"]: container for container in spec["containers"]}
    mounts = {mount["mountPath"]: mount for mount in containers["kserve-container"].get("volumeMounts") or ()}
    volumes = {volume["name"]: volume for volume in spec.get("volumes") or ()}
    if model.delivery == "native":
        mount = mounts.get(manifests.KSERVE_MOUNT, {})
        source = volumes.get(mount.get("name", ""), {}).get("image", {})
        found = {
            f"a mount at {manifests.KSERVE_MOUNT}": bool(mount),
            "subPath models": mount.get("subPath") == "models",
            f"an image volume of {model.image}": source.get("reference") == model.image,
        }
    else:
        init = {container["name"]: container for container in spec.get("initContainers") or ()}
        found = {
            "shareProcessNamespace": spec.get("shareProcessNamespace") is True,
            f"an init container {_MODELCAR_INIT} of {model.image}": init.get(_MODELCAR_INIT, {}).get("image")
            == model.image,
            f"a sidecar {MODELCAR} of {model.image}": containers.get(MODELCAR, {}).get("image") == model.image,
            "a shared mount at /mnt": "/mnt" in mounts,
        }
    return [what for what, there in found.items() if not there]


def _check_kubeai(api: KubeApi, model: ModelOutput) -> str:
    group, plural = manifests.resource(model)
    deployed = api.find(namespaced(group, model.namespace, plural, model.name))
    body = (
        manifests.like_deployed(deployed, _name()) if deployed else manifests.kubeai_model(_name(), model.storage_uri)
    )
    body["spec"] = {**body["spec"], "url": model.storage_uri}
    try:
        api.create(namespaced(group, _namespace(api, model), plural), body, dry_run=True)
    except ApiError as error:
        if error.status == 404:
            raise NotHeldError(
                f"the cluster does not serve {group}", "install KubeAI: `pulumi up` does when a model is served by it"
            ) from None
        if "url" in error.message:
            raise NotHeldError(
                f"KubeAI's CRD refuses {model.storage_uri}: {error.message[:300]}",
                "set `platforms.kubeai.version` to a chart newer than 0.23.2 whose CRD lists oci://, and `pulumi up`",
            ) from None
        raise
    return f"{group} takes {model.storage_uri.split('://')[0]}:// with the digest's tag (dry run)"


def _check_account(outputs: StackOutputs, model: ModelOutput, policies: RegistryPolicies) -> str:
    account = outputs.node_service_accounts.get(model.node_pool or "")
    if not account:
        raise NotRunError(f"no service account of pool {model.node_pool or '(none)'} is in the stack's outputs")
    return policies.check_reader(model.reference, account)


def _namespace(api: KubeApi, model: ModelOutput) -> str:
    """Return the model's namespace, or `default` while that is not there: schemas and webhooks are the same."""
    return model.namespace if api.find(f"/api/v1/namespaces/{model.namespace}") else "default"


def _name() -> str:
    return f"smoke-{secrets.token_hex(4)}"

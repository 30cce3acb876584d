"""Whether what runs is what the stack says: the digest, unrestarted, with the image's files under the mount."""

from collections.abc import Iterator
from functools import partial

import modelimage
from components.outputs import ModelOutput, StackOutputs
from smoke import manifests
from smoke.checks import Check, NotHeldError, NotRunError, run
from smoke.diagnosis import container_statuses, empty_mount
from smoke.image import files_of
from smoke.kube import JSON, KubeApi, namespaced
from smoke.pods import find_cause, list_files, pods_of, running_digests
from smoke.scaling import is_paused
from smoke.stack import Model

STEP = "deployed"


def deployed(api: KubeApi, outputs: StackOutputs, models: list[Model]) -> Iterator[Check]:
    """Check each model's object, pods, digests, restarts and mounted files."""
    for model in models:
        one = partial(run, STEP, model=model.key)
        yield one("ready", partial(_check_ready, api, outputs, model.output))
        yield one("digest", partial(_check_digest, api, model.output))
        yield one("restarts", partial(_check_restarts, api, outputs, model.output))
        yield one("files", partial(_check_files, api, model.output))


def _check_ready(api: KubeApi, outputs: StackOutputs, model: ModelOutput) -> str:
    group, plural = manifests.resource(model)
    found = api.find(namespaced(group, model.namespace, plural, model.name))
    if found is None:
        raise NotHeldError(f"there is no {plural}/{model.name} in {model.namespace}", "deploy it with `pulumi up`")
    _skip_if_paused(model, found)
    said = _unready(found, model)
    if said:
        causes = find_cause(api, outputs, model)
        remedy = causes[0].remedy if causes else "wait for the server to load; `kubectl describe` shows more"
        raise NotHeldError(said, remedy, causes)
    if model.platform == "kubeai":
        return f"Model {model.name}: {found['status']['replicas']['ready']} replicas ready"
    conditions = [condition["type"] for condition in found["status"]["conditions"] if condition["status"] == "True"]
    return f"InferenceService {model.name}: {', '.join(conditions)}"


def _unready(found: JSON, model: ModelOutput) -> str:
    status = found.get("status") or {}
    if model.platform == "kubeai":
        replicas = status.get("replicas") or {}
        ready, wanted = replicas.get("ready", 0), max(1, found["spec"].get("minReplicas", 0))
        return "" if ready >= wanted else f"Model {model.name}: {ready} of {wanted} replicas ready"
    conditions = status.get("conditions") or []
    if any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions):
        return ""
    bad = [
        f"{condition['type']}={condition['status']} ({condition.get('reason', '')}: {condition.get('message', '')})"
        for condition in conditions
        if condition["status"] != "True" and condition["type"] != "Stopped"
    ]
    return f"InferenceService {model.name}: {'; '.join(bad) or 'its controller has said nothing yet'}"


def _skip_if_paused(model: ModelOutput, found: JSON) -> None:
    if model.paused or is_paused(found, model):
        raise NotRunError("the model is paused: `python -m smoke resume` or `paused: false` in the settings")


def _running(api: KubeApi, model: ModelOutput) -> list[JSON]:
    pods = pods_of(api, model)
    if not pods:
        if model.paused:
            raise NotRunError("the model is paused: it has no pod")
        raise NotHeldError(
            f"no pod in {model.namespace} has {manifests.pod_selector(model)}",
            "see the check `ready`; a paused or scaled-down model has none: `python -m smoke resume`",
        )
    return pods


def _check_digest(api: KubeApi, model: ModelOutput) -> str:
    pods = _running(api, model)
    for pod in pods:
        found = running_digests(pod, model)
        if found != {model.digest}:
            raise NotHeldError(
                f"pod {pod['metadata']['name']} runs {', '.join(sorted(found)) or 'no image of the model'}, "
                f"the stack says {model.digest}",
                "a rollout is under way, or the pod was changed by hand: `pulumi up --refresh`, and delete the pod",
            )
    return f"{len(pods)} pods run {model.digest}"


def _check_restarts(api: KubeApi, outputs: StackOutputs, model: ModelOutput) -> str:
    pods = _running(api, model)
    restarted = [
        f"{pod['metadata']['name']}/{status['name']} {status['restartCount']} times"
        for pod in pods
        for status in container_statuses(pod)
        if status.get("restartCount")
    ]
    if restarted:
        causes = find_cause(api, outputs, model)
        remedy = causes[0].remedy if causes else "`kubectl logs --previous` shows why"
        raise NotHeldError(f"restarted: {', '.join(restarted)}", remedy, causes)
    return f"no restarts in {len(pods)} pods"


def _check_files(api: KubeApi, model: ModelOutput) -> str:
    path = manifests.mount_path(model)
    pods = _running(api, model)
    try:
        expected = files_of(model.reference)
    except modelimage.ImageError as error:
        raise NotHeldError(f"the image cannot be read: {error}", "see the check preflight/image") from None
    for pod in pods:
        listed = list_files(api, pod, model)
        if not listed:
            node = api.find(f"/api/v1/nodes/{pod['spec'].get('nodeName')}")
            cause = empty_mount(path, node)
            raise NotHeldError(f"{pod['metadata']['name']}: {cause.evidence}", cause.remedy, (cause,))
        mounted = _as_served(listed, model)
        wrong = [
            f"{name} has {mounted[name]} bytes, not {size}" if name in mounted else f"{name} is missing"
            for name, size in sorted(expected.sizes.items())
            if mounted.get(name) != size
        ]
        if expected.complete:
            wrong += [f"{name} is not in the image" for name in sorted(set(mounted) - set(expected.sizes))]
        if wrong:
            raise NotHeldError(
                f"{pod['metadata']['name']}:{path}: {'; '.join(wrong[:5])}{' and more' if len(wrong) > 5 else ''}",
                f"another image is mounted, or a damaged one: see `python -m modelimage inspect {model.image}`",
            )
    return f"{len(expected.sizes)} files, {sum(expected.sizes.values())} bytes under {path} in {len(pods)} pods"


def _as_served(listed: dict[str, int], model: ModelOutput) -> dict[str, int]:
    """Return the files as the server is pointed at them.

    KubeAI mounts the image's root, where each entry of /models has a link beside the base's own files.
    """
    if model.delivery != "kubeai":
        return listed
    inside = {name.removeprefix("models/") for name in listed if name.startswith("models/")}
    return {name: size for name, size in listed.items() if name in inside}

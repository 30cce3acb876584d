"""Whether what runs is what the stack says: the digest, unrestarted, with the image's files under the mount."""

from collections.abc import Iterator
from functools import partial

from oci_model_serving.delivery import IMAGE_ROOT, KUBEAI
from oci_model_serving.outputs import ModelOutput
from smoke.checks import Check, NotRunError, run
from smoke.scaling import is_paused
from smoke.stack import ServedModel
from watch.causes import NotHeldError
from watch.diagnosis import container_statuses, empty_mount
from watch.image import files_of
from watch.kube import JSON, KubeApi
from watch.pods import find_causes, is_ready, list_files, nodes_of, object_path, pods_of, running_digests

STEP = "deployed"


def deployed(api: KubeApi, models: list[ServedModel]) -> Iterator[Check]:
    """Check each model's object, pods, digests, restarts and mounted files."""
    for model in models:
        one = partial(run, STEP, model=model.key)
        yield one("ready", partial(_check_ready, api, model))
        yield one("digest", partial(_check_digest, api, model.output))
        yield one("restarts", partial(_check_restarts, api, model))
        yield one("files", partial(_check_files, api, model.output))


def _check_ready(api: KubeApi, served: ServedModel) -> str:
    model, platform = served.output, served.output.serving.platform
    found = api.find(object_path(model))
    if found is None:
        raise NotHeldError(
            f"there is no {platform.plural}/{model.name} in {model.namespace}", "deploy it with `pulumi up`"
        )
    if model.paused or is_paused(found, model):
        raise NotRunError("the model is paused: `oms resume`, or `models.NAME.paused: false` in the settings")
    said = _unready(found, model)
    if said:
        causes = find_causes(api, model, pods_of(api, model), account=served.account)
        raise NotHeldError(said, "wait for the server to load; `kubectl describe` shows more", causes)
    if platform is KUBEAI:
        return f"Model {model.name}: {found['status']['replicas']['ready']} replicas ready"
    conditions = [condition["type"] for condition in found["status"]["conditions"] if condition["status"] == "True"]
    return f"InferenceService {model.name}: {', '.join(conditions)}"


def _unready(found: JSON, model: ModelOutput) -> str:
    status = found.get("status") or {}
    if model.serving.platform is KUBEAI:
        replicas = status.get("replicas") or {}
        ready, wanted = replicas.get("ready", 0), max(1, found["spec"].get("minReplicas", 0))
        return "" if ready >= wanted else f"Model {model.name}: {ready} of {wanted} replicas ready"
    if is_ready(found):
        return ""
    bad = [
        f"{condition['type']}={condition['status']} ({condition.get('reason', '')}: {condition.get('message', '')})"
        for condition in status.get("conditions") or []
        if condition["status"] != "True" and condition["type"] != "Stopped"
    ]
    return f"InferenceService {model.name}: {'; '.join(bad) or 'its controller has said nothing yet'}"


def _running(api: KubeApi, model: ModelOutput) -> list[JSON]:
    pods = pods_of(api, model)
    if not pods:
        if model.paused:
            raise NotRunError("the model is paused: it has no pod")
        raise NotHeldError(
            f"no pod in {model.namespace} has {model.serving.platform.pod_selector(model.name)}",
            "see the check `ready`; a paused or scaled-down model has none: `oms resume`",
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


def _check_restarts(api: KubeApi, model: ServedModel) -> str:
    pods = _running(api, model.output)
    restarted = [
        f"{pod['metadata']['name']}/{status['name']} {status['restartCount']} times"
        for pod in pods
        for status in container_statuses(pod)
        if status.get("restartCount")
    ]
    if restarted:
        causes = find_causes(api, model.output, pods, account=model.account)
        raise NotHeldError(f"restarted: {', '.join(restarted)}", "`kubectl logs --previous` shows why", causes)
    return f"no restarts in {len(pods)} pods"


def _check_files(api: KubeApi, model: ModelOutput) -> str:
    path = model.serving.platform.mount
    pods = _running(api, model)
    expected = files_of(model.reference)
    for pod in pods:
        listed = list_files(api, pod, model)
        if not listed:
            cause = empty_mount(path, next(iter(nodes_of(api, [pod])), None))
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
                f"another image is mounted, or a damaged one: see `oms image inspect {model.image}`",
            )
    return f"{len(expected.sizes)} files, {sum(expected.sizes.values())} bytes under {path} in {len(pods)} pods"


def _as_served(listed: dict[str, int], model: ModelOutput) -> dict[str, int]:
    """Return the files as the server is pointed at them.

    Where the image's root is mounted, each entry of its folder of models has a link beside the base's own files.
    """
    if model.serving.needs_subpath or not model.serving.needs_image_volume:
        return listed
    inside = {name.removeprefix(f"{IMAGE_ROOT}/") for name in listed if name.startswith(f"{IMAGE_ROOT}/")}
    return {name: size for name, size in listed.items() if name in inside}

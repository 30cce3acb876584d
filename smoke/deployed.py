"""Whether what runs is what the stack says: the controller, the objects, the digest, restarts, and the mounted files.

Read are the objects of the table in `smoke.objects`, the platform's controller, the pods with their events and nodes,
and the image's files in the registry. A model that is paused, or scaled to zero, has no pods to look at: its checks of
them are skipped, and say why.
"""

from collections.abc import Callable, Iterator
from functools import partial

from oci_model_serving.delivery import IMAGE_ROOT, KUBEAI
from oci_model_serving.outputs import ModelOutput, StackOutputs
from smoke.checks import Check, run
from smoke.features import check_features
from smoke.objects import check_controller, check_objects
from smoke.presence import check_not_paused, pods_to_check
from smoke.stack import ServedModel
from watch.causes import NotHeldError, short
from watch.containers import container_statuses
from watch.controllers import complaint_of
from watch.diagnosis import empty_mount
from watch.image import ImageFiles, files_of
from watch.kube import JSON, KubeApi
from watch.pods import events_of, find_causes, is_ready, list_files, nodes_of, object_path
from watch.running import Running, reads_root, running_adapter, running_digest, streamed_image

STEP = "deployed"


def deployed(api: KubeApi, outputs: StackOutputs, models: list[ServedModel]) -> Iterator[Check]:
    """Check each model's controller, objects, pods, digests, restarts and mounted files."""
    for model in models:
        one = partial(run, STEP, model=model.key)
        yield one("controller", partial(_unless_paused, check_controller, api, outputs, model.output))
        yield one("objects", partial(_unless_paused, check_objects, api, outputs, model.output))
        yield one("ready", partial(_check_ready, api, model))
        yield one("digest", partial(_check_digest, api, model.output))
        for name in sorted(model.output.adapters):
            yield one(f"digest of adapter {name}", partial(_check_adapter, api, model.output, name))
        yield one("restarts", partial(_check_restarts, api, model))
        yield one("files", partial(_check_files, api, model.output))
        yield one("features", partial(_check_features, api, model.output))


def _unless_paused(
    check: Callable[[KubeApi, StackOutputs, ModelOutput], str], api: KubeApi, outputs: StackOutputs, model: ModelOutput
) -> str:
    check_not_paused(api, model)  # one that is has neither Service nor route
    return check(api, outputs, model)


def _check_ready(api: KubeApi, served: ServedModel) -> str:
    model, platform = served.output, served.output.serving.platform
    found = api.find(object_path(model))
    if found is None:
        raise NotHeldError(
            f"there is no {platform.plural}/{model.name} in {model.namespace}", "deploy it with `pulumi up`"
        )
    pods = pods_to_check(api, model)
    ready, wanted = sum(map(is_ready, pods)), max(1, model.replicas)
    said = _unready(found, model)
    if ready < wanted:
        # What the status says may be of before: its controller may be down.
        said = f"{said or f'{platform.kind} {model.name} says that it is ready'}; {ready} of {wanted} pods are"
    if said:
        complaint = "" if pods else complaint_of(api, model, events_of(api, model, pods))
        causes = find_causes(api, model, pods, account=served.account, complaint=complaint)
        raise NotHeldError(said, "wait for the server to load; `kubectl describe` shows more", causes)
    if platform is KUBEAI:
        return f"Model {model.name}: {ready} pods ready"
    conditions = [condition["type"] for condition in found["status"]["conditions"] if condition["status"] == "True"]
    return f"InferenceService {model.name}: {', '.join(conditions)}; {ready} pods ready"


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
    pods = pods_to_check(api, model)
    if not pods:
        raise NotHeldError(
            f"no pod in {model.namespace} has {model.serving.platform.pod_selector(model.name)}",
            "see the check `ready`",
        )
    return pods


def _check_digest(api: KubeApi, model: ModelOutput) -> str:
    return _check_running(api, model, "the model", model.digest, running_digest)


def _check_adapter(api: KubeApi, model: ModelOutput, name: str) -> str:
    digest = model.adapters[name].digest
    return _check_running(api, model, f"adapter {name}", digest, partial(running_adapter, name=name))


def _check_running(
    api: KubeApi, model: ModelOutput, what: str, digest: str, running: Callable[[KubeApi, JSON, ModelOutput], Running]
) -> str:
    pods = _running(api, model)
    shown = set()
    for pod in pods:
        found = running(api, pod, model)
        if found.digests != {digest}:
            raise NotHeldError(
                f"pod {pod['metadata']['name']} runs {', '.join(sorted(found.digests)) or f'no image of {what}'} "
                f"(by {found.evidence}), the stack says {digest}",
                "a rollout is under way, or the pod was changed by hand: `pulumi up --refresh`, and delete the pod",
            )
        shown.add(found.evidence)
    return f"{len(pods)} pods run {digest}, by {', '.join(sorted(shown))}"


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
    if model.serving.streamed:
        return _check_streamed(api, pods, expected)
    for pod in pods:
        listed = list_files(api, pod, model)
        if not listed:
            cause = empty_mount(path, next(iter(nodes_of(api, [pod])), None))
            raise NotHeldError(f"{pod['metadata']['name']}: {cause.evidence}", cause.remedy, (cause,))
        mounted = _as_served(listed, pod, model)
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


def _check_streamed(api: KubeApi, pods: list[JSON], expected: ImageFiles) -> str:
    size = sum(expected.sizes.values())
    for pod in pods:
        said, name = streamed_image(api, pod), pod["metadata"]["name"]
        if expected.complete and (said.get("files"), said.get("size_bytes")) != (len(expected.sizes), size):
            raise NotHeldError(
                f"the sidecar of {name} serves {short(str(said.get('files')))} files of "
                f"{short(str(said.get('size_bytes')))} bytes, and the image has {len(expected.sizes)} of {size}",
                "another image is streamed: `pulumi up --refresh`, and delete the pod",
            )
    return f"{len(expected.sizes)} files, {size} bytes streamed in {len(pods)} pods, none of them on a disk"


def _check_features(api: KubeApi, model: ModelOutput) -> str:
    return check_features(api, model, _running(api, model)[0])


def _as_served(listed: dict[str, int], pod: JSON, model: ModelOutput) -> dict[str, int]:
    """Return the files as the server is pointed at them.

    Where the image's root is mounted, each entry of its folder of models has a link beside the base's own files.
    """
    if not reads_root(pod, model):
        return listed
    inside = {name.removeprefix(f"{IMAGE_ROOT}/") for name in listed if name.startswith(f"{IMAGE_ROOT}/")}
    return {name: size for name, size in listed.items() if name in inside}

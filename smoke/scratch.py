"""The runbook's smoke test: a small image, deployed for real in a namespace of its own, that is deleted again.

It costs no GPU. What runs in the container only waits for the files, so that what is seen is the delivery alone:
controller, webhook, kubelet and container runtime.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import httpx

import modelimage
from components import references
from components.outputs import ModelOutput
from components.references import ImageReference
from smoke import manifests
from smoke.checks import Cause, Check, NotHeldError, SmokeError, run
from smoke.image import files_of
from smoke.kube import JSON, KubeApi, namespaced
from smoke.pods import find_in, list_files, running_digests
from smoke.scaling import Tell, is_ready, wait
from smoke.stack import Model

STEP = "scratch"
_WAIT = 'until [ -n "$(ls -A "$0"/ 2>/dev/null)" ]; do sleep 1; done; exec sleep 3600'


def parse_images(image: str, server: str | None) -> tuple[ImageReference, str]:
    """Check the two images of the step: the one to deliver, and the one whose shell waits for it.

    Raises:
        SmokeError: the image is not given by digest.
    """
    try:
        reference = ImageReference.parse(image)
    except references.ReferenceError as error:
        raise SmokeError(f"--scratch-image: {error}") from None
    return reference, server or str(reference)


def scratch(
    api: KubeApi, models: list[Model], image: ImageReference, server: str, *, timeout: float, tell: Tell
) -> Iterator[Check]:
    """Deliver `image` as each delivery of the models would, with `server` (an image with sh and find) waiting for it.

    For KServe it is an InferenceService with a runtime of its own. KubeAI serves Models in its own namespace only and
    brings its own server, so there a plain pod mounts the image as KubeAI's would.
    """
    deliveries = {model.output.delivery: model for model in models}
    for delivery, model in deliveries.items():
        output = model.output.model_copy(
            update={
                "image": str(image),
                "digest": image.digest,
                "storage_uri": image.uri(delivery),
                "name": f"smoke-{secrets.token_hex(4)}",
                "namespace": f"modelcar-smoke-{secrets.token_hex(4)}",
            }
        )
        yield run(STEP, delivery, partial(_deliver, api, output, server, timeout=timeout, tell=tell), model=model.key)


def _deliver(api: KubeApi, model: ModelOutput, server: str, *, timeout: float, tell: Tell) -> str:
    with _namespace(api, model.namespace):
        if model.platform == "kserve":
            runtime = manifests.scratch_runtime(server)
            service = manifests.inference_service(
                model.name, model.storage_uri, runtime=runtime["metadata"]["name"], resources=manifests.SMALL_RESOURCES
            )
            api.create(namespaced(manifests.RUNTIME_API, model.namespace, "servingruntimes"), runtime)
            api.create(namespaced(manifests.KSERVE_API, model.namespace, "inferenceservices"), service)
        else:
            pod = manifests.image_volume_pod(
                model.name,
                f"{model.reference.repository}:{model.reference.digest_tag}",
                image=server,
                command=["sh", "-c", _WAIT, manifests.KUBEAI_MOUNT],
            )
            pod["metadata"]["labels"] = {**manifests.LABELS, "model": model.name}
            api.create(namespaced("v1", model.namespace, "pods"), pod)
        pods = _wait_until_ready(api, model, timeout=timeout, tell=tell)
        return _check(api, pods[0], model)


def _wait_until_ready(api: KubeApi, model: ModelOutput, *, timeout: float, tell: Tell) -> list[JSON]:
    pods: list[JSON] = []

    def look() -> bool:
        path = namespaced("v1", model.namespace, "pods")
        pods[:] = api.items(path, labelSelector=manifests.pod_selector(model))
        return any(is_ready(pod) for pod in pods)

    try:
        wait(
            look,
            timeout=timeout,
            tell=tell,
            what=f"{model.namespace}: waiting for a ready pod",
            remedy="see that KServe's controller runs (`kubectl -n kserve get pods`), or give a larger --timeout",
        )
    except NotHeldError as late:
        causes: tuple[Cause, ...] = find_in(api, model, pods)
        evidence = late.evidence if pods else f"{late.evidence}; no controller made a pod"
        raise NotHeldError(evidence, causes[0].remedy if causes else late.remedy, causes) from None
    return [pod for pod in pods if is_ready(pod)]


def _check(api: KubeApi, pod: JSON, model: ModelOutput) -> str:
    found = running_digests(pod, model)
    if found != {model.digest}:
        raise NotHeldError(
            f"the pod runs {', '.join(sorted(found)) or 'no image of the model'}, not {model.digest}",
            "see the check preflight/webhook",
        )
    listed = list_files(api, pod, model)
    try:
        expected = files_of(model.reference).sizes
    except modelimage.ImageError as error:
        raise NotHeldError(f"the image cannot be read: {error}", "see that you may read the registry") from None
    path = manifests.mount_path(model)
    wrong = sorted(name for name, size in expected.items() if listed.get(name) != size)
    if wrong:
        raise NotHeldError(
            f"not under {path} as in the image: {', '.join(wrong[:5])}",
            "the image's links or its /models folder are not those of `python -m modelimage pack`",
        )
    return f"{len(expected)} files of {model.digest[:19]}… under {path}, as {model.delivery}"


@contextmanager
def _namespace(api: KubeApi, name: str) -> Iterator[None]:
    """Make a namespace, and delete it whatever happens (Ctrl-C raises, and so ends here too)."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": manifests.LABELS}}
    try:
        api.create("/api/v1/namespaces", body)
        # Pods are refused until the namespace has its default ServiceAccount.
        wait(
            lambda: api.find(namespaced("v1", name, "serviceaccounts", "default")) is not None,
            timeout=30,
            tell=lambda _: None,
            what=f"{name}: waiting for its ServiceAccount",
            remedy="kube-controller-manager makes it: see that the control plane is healthy",
        )
        yield
    finally:
        try:
            api.delete(f"/api/v1/namespaces/{name}")
        except (NotHeldError, httpx.HTTPError) as error:
            raise NotHeldError(
                f"the namespace {name} could not be deleted: {error}", f"`kubectl delete namespace {name}`"
            ) from error

"""The runbook's smoke test: a small image, deployed for real in a namespace of its own, that is deleted again.

It costs no GPU. What runs in the container only waits for the files, so that what is seen is the delivery alone:
controller, webhook, kubelet and container runtime.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import httpx

from oci_model_serving.delivery import KSERVE, KUBEAI, Delivery
from oci_model_serving.errors import InputError
from oci_model_serving.outputs import ModelOutput
from oci_model_serving.reference import ImageReference
from smoke import manifests
from smoke.checks import Check, NotRunError, run
from smoke.stack import ServedModel
from watch.causes import NotHeldError, said
from watch.image import files_of
from watch.kube import JSON, KubeApi, namespaced
from watch.pods import list_files, object_path
from watch.rollout import wait_for_ready_pod
from watch.running import running_digest
from watch.waiting import Tell, wait_for

STEP = "scratch"
_WAIT = 'until [ -n "$(ls -A "$0"/ 2>/dev/null)" ]; do sleep 1; done; exec sleep 3600'


def parse_images(image: str, server: str | None) -> tuple[ImageReference, str]:
    """Check the two images of the step: the one to deliver, and the one whose shell waits for it.

    Raises:
        InputError: the image is not given by digest.
    """
    try:
        reference = ImageReference.parse(image)
    except InputError as error:
        raise InputError(f"--scratch-image: {error}") from None
    return reference, server or str(reference)


def scratch(
    api: KubeApi, models: list[ServedModel], image: ImageReference, server: str, *, timeout: float, tell: Tell
) -> Iterator[Check]:
    """Deliver `image` as each delivery of the models would, with `server` (an image with sh and find) waiting for it.

    For KServe it is an InferenceService with a runtime of its own. KubeAI serves Models in its own namespace only and
    brings its own server, so there a plain pod mounts the image as KubeAI's would.
    """
    for delivery, model in {model.output.delivery: model for model in models}.items():
        update = {
            "image": str(image),
            "digest": image.digest,
            "storage_uri": Delivery(delivery).uri(image),
            "name": f"smoke-{secrets.token_hex(4)}",
            "namespace": f"modelcar-smoke-{secrets.token_hex(4)}",
            "revision": "",  # these pods are made here, of the image alone
            "replicas": 1,
        }
        output = model.output.model_copy(update=update)
        yield run(STEP, delivery, partial(_deliver, api, output, server, timeout=timeout, tell=tell), model=model.key)


def _deliver(api: KubeApi, model: ModelOutput, server: str, *, timeout: float, tell: Tell) -> str:
    if model.serving.streamed:
        raise NotRunError("its sidecar has its code and its login from the stack alone: see preflight and deployed")
    with _namespace(api, model.namespace):
        if model.serving.platform is KSERVE:
            runtime = manifests.scratch_runtime(server)
            name = runtime["metadata"]["name"]
            service = manifests.inference_service(model.name, model.storage_uri, runtime=name)
            api.create(namespaced(manifests.RUNTIME_API, model.namespace, "servingruntimes"), runtime)
            api.create(object_path(model).rpartition("/")[0], service)
        else:
            by_tag = f"{model.reference.repository}:{model.reference.digest_tag}"
            wait = ["sh", "-c", _WAIT, KUBEAI.mount]
            pod = manifests.image_volume_pod(model.name, by_tag, image=server, command=wait)
            pod["metadata"]["labels"] = {**manifests.LABELS, KUBEAI.pod_label: model.name}
            api.create(namespaced("v1", model.namespace, "pods"), pod)
        return _check(api, wait_for_ready_pod(api, model, timeout=timeout, tell=tell), model)


def _check(api: KubeApi, pod: JSON, model: ModelOutput) -> str:
    found = running_digest(api, pod, model).digests
    if found != {model.digest}:
        raise NotHeldError(
            f"the pod runs {', '.join(sorted(found)) or 'no image of the model'}, not {model.digest}",
            "see the check preflight/webhook",
        )
    listed = list_files(api, pod, model)
    expected = files_of(model.reference).sizes
    path = model.serving.platform.mount
    wrong = sorted(name for name, size in expected.items() if listed.get(name) != size)
    if wrong:
        raise NotHeldError(
            f"not under {path} as in the image: {', '.join(wrong[:5])}",
            "the image's links or its /models folder are not those of `oms image pack`",
        )
    return f"{len(expected)} files of {model.digest[:19]}… under {path}, as {model.delivery}"


@contextmanager
def _namespace(api: KubeApi, name: str) -> Iterator[None]:
    """Make a namespace, and delete it whatever happens (Ctrl-C raises, and so ends here too)."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": manifests.LABELS}}
    try:
        api.create("/api/v1/namespaces", body)
        # Pods are refused until the namespace has its default ServiceAccount.
        account = partial(api.find, namespaced("v1", name, "serviceaccounts", "default"))
        what = f"{name}: waiting for its ServiceAccount"
        remedy = "kube-controller-manager makes it: see that the control plane is healthy"
        wait_for(account, timeout=30, what=what, remedy=remedy)
        yield
    finally:
        try:
            api.delete(f"/api/v1/namespaces/{name}")
        except (NotHeldError, httpx.HTTPError) as error:
            raise NotHeldError(
                f"the namespace {name} could not be deleted: {said(error)}", f"`kubectl delete namespace {name}`"
            ) from error

"""Whether the cluster itself refuses what the stack has not verified, in the models' namespaces: asked by dry runs.

A pod with the model's image is taken; the same pod with a tag, with another digest or with the same digest of another
registry is refused, each by the stack's own policy. Nothing is created.
"""

import secrets
from collections.abc import Iterator
from functools import partial

from components.serving.admission_rules import LISTED, policy_name
from oci_model_serving.delivery import STREAM_SCHEME
from oci_model_serving.outputs import ModelOutput
from smoke import manifests
from smoke.checks import Check, NotRunError, run
from smoke.stack import ServedModel
from watch.causes import NotHeldError, short
from watch.kube import ApiError, KubeApi, api_root, namespaced

STEP = "allowed"
_POLICY_API = "/apis/admissionregistration.k8s.io/v1"
_AGAIN = "`pulumi up --refresh` makes it again; see who may change it: `kubectl auth can-i --list`"
_POD = "Pod"
_KINDS = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")


def allowed(api: KubeApi, models: list[ServedModel]) -> Iterator[Check]:
    """Check the policies of each model's namespace, what they take and what they refuse."""
    for model in models:
        one = partial(run, STEP, model=model.key)
        yield one("policies", partial(_check_objects, api, model.output))
        yield one("own image", partial(_check_taken, api, model.output))
        for name, image in _others(model.output).items():
            yield one(name, partial(_check_refused, api, model.output, image))


def _others(model: ModelOutput) -> dict[str, str]:
    reference = model.reference
    zero, path = f"sha256:{'0' * 64}", reference.repository.partition("/")[2]
    return {
        "a tag": f"{reference.repository}:latest",
        "another digest": f"{reference.repository}@{zero}",
        "another registry": f"registry.invalid/{path}@{reference.digest}",
    }


def _check_objects(api: KubeApi, model: ModelOutput) -> str:
    _check_enforced(api, model)
    names = [policy_name(model.namespace, kind) for kind in (_POD, model.serving.platform.kind)]
    paths = [f"{_POLICY_API}/{kind}/{name}" for name in names for kind in _KINDS]
    missing = [path.rpartition("/v1/")[2] for path in paths if api.find(path) is None]
    if missing:
        raise NotHeldError(f"there is no {', '.join(missing)}: other images may run in {model.namespace}", _AGAIN)
    return f"{', '.join(names)} with their bindings"


def _check_enforced(api: KubeApi, model: ModelOutput) -> None:
    namespace = api.find(f"{api_root('v1')}/namespaces/{model.namespace}") or {"metadata": {}}
    if any(key.startswith(LISTED) for key in namespace["metadata"].get("annotations") or {}):
        return
    if any(api.find(f"{_POLICY_API}/{kind}/{policy_name(model.namespace, _POD)}") for kind in _KINDS):
        raise NotHeldError(
            f"namespace {model.namespace} has no annotation {LISTED}…: no pod of the model can be made", _AGAIN
        )
    raise NotRunError(
        f"nothing is enforced in {model.namespace}: cluster.allowList.enforce is false, or `pulumi up` has not run "
        "since there is one (`--on-demand drift` tells which)"
    )


def _check_taken(api: KubeApi, model: ModelOutput) -> str:
    _check_enforced(api, model)
    refusal = _tried(api, model, model.image)
    if refusal:
        raise NotHeldError(f"a pod with the model's own image is refused: {short(refusal)}", _AGAIN)
    return f"a pod with {model.image} is taken (dry run)"


def _check_refused(api: KubeApi, model: ModelOutput, image: str) -> str:
    _check_enforced(api, model)
    refusal, policy = _tried(api, model, image), policy_name(model.namespace, _POD)
    if not refusal:
        raise NotHeldError(f"a pod with {image} is taken: {policy} does not hold", _AGAIN)
    if policy not in refusal:
        raise NotRunError(f"a pod with {image} is refused, but by something else: {short(refusal)}")
    return f"a pod with {image} is refused by {policy}"


def _tried(api: KubeApi, model: ModelOutput, image: str) -> str:
    """What the API server says against a pod with this image; "" where it takes it."""
    name = f"smoke-{secrets.token_hex(4)}"
    if model.serving.streamed:
        pod = manifests.sidecar_pod(name, model.image, f"{STREAM_SCHEME}{image}")
    elif model.serving.needs_image_volume:
        pod = manifests.image_volume_pod(name, image, image=image)
    else:
        pod = manifests.image_pod(name, image)
    try:
        api.create(namespaced("v1", model.namespace, "pods"), pod, dry_run=True)
    except ApiError as error:
        if error.status == 403 and "cannot create" in error.message:
            raise NotRunError(f"a dry run needs the right to create pods: {short(error.message)}") from None
        if error.status not in {403, 422}:
            raise
        return error.message
    return ""

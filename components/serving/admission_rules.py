"""What the cluster's own policies ask of pods and of the objects that serve models, in CEL. Pure.

Kubernetes 1.30 and later (ValidatingAdmissionPolicy v1; optional fields are in CEL since 1.29). The policies see pods
as the webhooks have left them, KServe's sidecars among them. What a pod is asked is asked of each pod in the namespace,
whoever makes it; status and other subresources are not looked at, nor a change that leaves the spec as it is: a pod of
before must be able to end.
"""

from components.serving.cel import (
    JSON,
    MOUNTED,
    SETTINGS,
    by_digest,
    no_remote_code,
    source,
    validation,
    variable,
    verified,
    words,
)
from components.serving.serving_rules import of_inference_services, of_models
from components.settings.stack import Settings
from oci_model_serving.delivery import KSERVE, KUBEAI, Delivery, Platform

LISTED = "allowed.oci-model-serving/"
"""What the keys of the namespace's annotations begin with whose values are the images that it may run."""

# Not a parameter of the policy: the API server stops to read a kind of parameters for good once nothing is bound to it
# (kubernetes #130887, #133827; seen on 1.35.4), so that a list that goes and comes again would be the old one for ever.
# Namespaces are read by the API server for itself.
_IMAGES = {
    "name": "images",
    "expression": "has(namespaceObject.metadata.annotations) ? namespaceObject.metadata.annotations"
    f".map(key, key.startsWith('{LISTED}'), namespaceObject.metadata.annotations[key]) : []",
}
_CHANGED = {
    "name": "made-or-changed",
    "expression": "request.operation == 'CREATE' || object.spec != oldObject.spec",
}


def policy_name(namespace: str, kind: str) -> str:
    """The policy, and its binding, of one kind of objects in a namespace: they belong to the whole cluster."""
    return f"oci-model-serving-{namespace}-{kind.lower()}"


def rules(platform: Platform, settings: Settings, *, remote_code: bool) -> dict[str, JSON]:
    """The spec of each policy of a platform's namespace, by the kind that it is about."""
    own = of_inference_services if platform is KSERVE else of_models
    return {
        "Pod": _policy(
            "", ["v1"], ["pods", "pods/ephemeralcontainers"], _of_pods(platform, settings), remote_code=remote_code
        ),
        platform.kind: _policy(
            platform.api_version.partition("/")[0], ["*"], [platform.plural], own(), remote_code=remote_code
        ),
    }


def other_images(platform: Platform, settings: Settings) -> list[str]:
    """Images that pods of the namespace have beside those of its models: the settings' own, and our builds'."""
    images = list(settings.cluster.settings.allow_list.images)
    build = settings.sections.cluster_build
    if settings.registry.shared and build.namespace == settings.namespace_of(platform):
        from modelimage import bundle  # noqa: PLC0415 - the packer is loaded by builds alone

        images.append(build.image or bundle.DEFAULT_STEP_IMAGE)
    if platform is KSERVE and any(model.delivery is Delivery.FETCH for model in settings.models_of(KSERVE)):
        # The chart's own name (kserve-resources, kserve.storage.image and tag); its arguments say what it pulls.
        images.append(f"kserve/storage-initializer:{settings.kserve.version}")
    return images


def _policy(group: str, versions: list[str], resources: list[str], asked: JSON, *, remote_code: bool) -> JSON:
    validations = [*asked["validations"], *([] if remote_code else [no_remote_code()])]
    return {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [group],
                    "apiVersions": versions,
                    "operations": ["CREATE", "UPDATE"],
                    "resources": resources,
                    "scope": "Namespaced",
                }
            ]
        },
        "matchConditions": [_CHANGED],
        "variables": [_IMAGES, *asked["variables"]],
        "validations": validations,
    }


def _of_pods(platform: Platform, settings: Settings) -> JSON:
    free = _free(platform, settings)
    return {
        "variables": [
            variable(
                "containers",
                "dyn(object.spec.containers) + dyn(object.spec.?initContainers.orValue([])) "
                "+ dyn(object.spec.?ephemeralContainers.orValue([]))",
            ),
            variable("volumes", "object.spec.?volumes.orValue([])"),
            variable(
                "foreign",
                f"variables.containers.filter(one, !({free}) && !(one.?image.orValue('') in variables.images))"
                ".map(one, one.?image.orValue(''))",
            ),
            variable("mounts", f"variables.volumes.filter(one, has(one.image)).map(one, {MOUNTED})"),
            variable("unknown", f"variables.mounts.filter(one, !({verified(by_digest('one'))}))"),
            variable("words", words("variables.containers")),
            # A pod that pulls by itself is told what in its arguments (KServe's storage initializer).
            variable(
                "pulls",
                "dyn(object.spec.?initContainers.orValue([])).map(one, one.?args.orValue([])"
                r".filter(word, word.matches('^[a-z0-9+]+://')))",
            ),
        ],
        "validations": [
            validation(
                "variables.foreign.size() == 0",
                "a container's image is not one of the stack's",
                f"'image ' + variables.foreign[0] + ' is not one of the stack: a model is changed by its source or "
                f"digest, a server by its image, and a sidecar is named in cluster.allowList.images, {SETTINGS}'",
            ),
            validation(
                "variables.unknown.size() == 0",
                "a volume's image is not one that the stack has verified",
                f"'image volume ' + variables.unknown[0] + ' is not an image that the stack has verified: change "
                f"models.NAME.source or digest {SETTINGS}'",
            ),
            validation(
                f"variables.pulls.all(words, words.all(word, {verified(source('word'))}))",
                "an init container pulls what the stack has not verified: change models.NAME.source or digest "
                f"{SETTINGS}",
            ),
            validation(
                "variables.containers.all(one, !one.?securityContext.?privileged.orValue(false))",
                "privileged containers have the whole node: models need none, so remove securityContext.privileged",
            ),
            validation(
                "variables.volumes.all(one, !has(one.hostPath))",
                "hostPath volumes reach into the node: models take their files from images, so remove the volume",
            ),
            validation(
                "!object.spec.?hostNetwork.orValue(false) && !object.spec.?hostPID.orValue(false) "
                "&& !object.spec.?hostIPC.orValue(false)",
                "hostNetwork, hostPID and hostIPC leave the pod: remove them",
            ),
        ],
    }


def _free(platform: Platform, settings: Settings) -> str:
    """Which containers may have any image: those that a controller puts there whose chart or release names them."""
    if platform is KUBEAI:
        # The manager and what else its chart runs live beside the models; a model's pod has the platform's label.
        return (
            "object.spec.?serviceAccountName.orValue('') == 'kubeai' "
            f"&& !('{KUBEAI.pod_label}' in object.metadata.?labels.orValue({{}}))"
        )
    # Knative's own sidecar, whose name it keeps for itself (Knative Serving, "queue-proxy").
    return "one.name == 'queue-proxy'" if settings.kserve.deployment_mode == "Knative" else "false"

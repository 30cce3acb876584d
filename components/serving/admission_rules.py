"""What the cluster's own policies ask of pods and of the objects that serve models, in CEL. Pure.

Kubernetes 1.30 and later (ValidatingAdmissionPolicy v1; optional fields are in CEL since 1.29). The policies see pods
as the webhooks have left them, KServe's sidecars among them. What a pod is asked is asked of each pod in the namespace,
whoever makes it; status and other subresources are not looked at, nor a change that leaves the spec as it is: a pod of
before must be able to end.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from components.settings.stack import Settings
from modelimage import bundle
from oci_model_serving.delivery import KSERVE, KUBEAI, Platform

NAME = "allowed-images"
"""The ConfigMap with the images that a namespace may run."""
_JSON = dict[str, Any]
_SETTINGS = "in the settings of the stack, then run pulumi up"

# The spellings that argparse takes: `_` for `-` (vLLM's parser), any prefix that is no other option's, `=true`, and all
# of it inside of a shell's text; Python's own keyword, and its form in JSON and YAML.
_REMOTE_CODE = (
    r"""(^|[^-A-Za-z0-9_])--trust([-_](r(e(m[-_a-zA-Z]*)?)?)?)?($|[^-_a-zA-Z])"""
    r"""|(?i:trust[-_]remote[-_]code[\\"']*\s*[:=]\s*[\\"']*(true|1|yes|on)\b)"""
)
# What a server or its libraries read from the environment (text-generation-inference: TRUST_REMOTE_CODE).
_REMOTE_CODE_VARIABLE = r"(?i)(^|_)TRUST_REMOTE_CODE$"
_OFF = r"(?i)^(|0|false|no|off)$"

_MOUNTED = "one.image.?reference.orValue('')"
_IMAGES = {"name": "images", "expression": "has(params.data) ? params.data.map(key, params.data[key]) : []"}
_CHANGED = {
    "name": "made-or-changed",
    "expression": "request.operation == 'CREATE' || object.spec != oldObject.spec",
}


def policy_name(namespace: str, kind: str) -> str:
    """The policy, and its binding, of one kind of objects in a namespace: they belong to the whole cluster."""
    return f"oci-model-serving-{namespace}-{kind.lower()}"


def rules(platform: Platform, settings: Settings, *, remote_code: bool) -> dict[str, _JSON]:
    """The spec of each policy of a platform's namespace, by the kind that it is about."""
    own = _of_inference_services if platform is KSERVE else _of_models
    return {
        "Pod": _policy(
            "", ["v1"], ["pods", "pods/ephemeralcontainers"], _of_pods(platform, settings), remote_code=remote_code
        ),
        platform.kind: _policy(
            platform.api_version.partition("/")[0], ["*"], [platform.plural], own(), remote_code=remote_code
        ),
    }


def asks_for_remote_code(words: Iterable[str], variables: Mapping[str, str]) -> bool:
    """Whether what a server is told would be refused, by the expression that the cluster is given."""
    return any(re.search(_REMOTE_CODE, word) for word in (*words, *variables.values())) or any(
        re.search(_REMOTE_CODE_VARIABLE, name) and not re.search(_OFF, value) for name, value in variables.items()
    )


def other_images(platform: Platform, settings: Settings) -> list[str]:
    """Images that pods of the namespace have beside those of its models: the settings' own, and our builds'."""
    images = list(settings.cluster.settings.allow_list.images)
    build = settings.sections.cluster_build
    if settings.registry.shared and build.namespace == settings.namespace_of(platform):
        images.append(build.image or bundle.DEFAULT_STEP_IMAGE)
    if platform is KSERVE and any(model.delivery.pulled_by_pod for model in settings.models_of(KSERVE)):
        # The chart's own name (kserve-resources, kserve.storage.image and tag); its arguments say what it pulls.
        images.append(f"kserve/storage-initializer:{settings.kserve.version}")
    return images


def _policy(group: str, versions: list[str], resources: list[str], asked: _JSON, *, remote_code: bool) -> _JSON:
    validations = [*asked["validations"], *([] if remote_code else [_no_remote_code()])]
    return {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
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


def _of_pods(platform: Platform, settings: Settings) -> _JSON:
    free = _free(platform, settings)
    return {
        "variables": [
            _variable(
                "containers",
                "dyn(object.spec.containers) + dyn(object.spec.?initContainers.orValue([])) "
                "+ dyn(object.spec.?ephemeralContainers.orValue([]))",
            ),
            _variable("volumes", "object.spec.?volumes.orValue([])"),
            _variable(
                "foreign",
                f"variables.containers.filter(one, !({free}) && !(one.?image.orValue('') in variables.images))"
                ".map(one, one.?image.orValue(''))",
            ),
            _variable("mounts", f"variables.volumes.filter(one, has(one.image)).map(one, {_MOUNTED})"),
            _variable("unknown", f"variables.mounts.filter(one, !({_verified(_by_digest('one'))}))"),
            _variable("words", _words("variables.containers")),
            # A pod that pulls by itself is told what in its arguments (KServe's storage initializer).
            _variable(
                "pulls",
                "dyn(object.spec.?initContainers.orValue([])).map(one, one.?args.orValue([])"
                r".filter(word, word.matches('^[a-z0-9+]+://')))",
            ),
        ],
        "validations": [
            _validation(
                "variables.foreign.size() == 0",
                "a container's image is not one of the stack's",
                f"'image ' + variables.foreign[0] + ' is not one of the stack: a model is changed by its source or "
                f"digest, a server by its image, and a sidecar is named in cluster.allowList.images, {_SETTINGS}'",
            ),
            _validation(
                "variables.unknown.size() == 0",
                "a volume's image is not one that the stack has verified",
                f"'image volume ' + variables.unknown[0] + ' is not an image that the stack has verified: change "
                f"models.NAME.source or digest {_SETTINGS}'",
            ),
            _validation(
                f"variables.pulls.all(words, words.all(word, {_verified(_source('word'))}))",
                "an init container pulls what the stack has not verified: change models.NAME.source or digest "
                f"{_SETTINGS}",
            ),
            _validation(
                "variables.containers.all(one, !one.?securityContext.?privileged.orValue(false))",
                "privileged containers have the whole node: models need none, so remove securityContext.privileged",
            ),
            _validation(
                "variables.volumes.all(one, !has(one.hostPath))",
                "hostPath volumes reach into the node: models take their files from images, so remove the volume",
            ),
            _validation(
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


def _of_inference_services() -> _JSON:
    return {
        "variables": [
            _variable("predictor", "object.spec.predictor"),
            _variable(
                "containers",
                "dyn(variables.predictor.?containers.orValue([])) "
                "+ dyn(variables.predictor.?initContainers.orValue([])) "
                "+ (has(variables.predictor.model) ? dyn([variables.predictor.model]) : dyn([]))",
            ),
            _variable(
                "sources",
                "(has(variables.predictor.model) && has(variables.predictor.model.storageUri) "
                "? [variables.predictor.model.storageUri] : []) "
                "+ variables.predictor.?storageUris.orValue([]).map(one, one.?uri.orValue('')) "
                "+ (has(variables.predictor.model) && has(variables.predictor.model.storage) ? ['storage'] : [])",
            ),
            _variable("unknown", f"variables.sources.filter(one, !({_verified(_source('one'))}))"),
            _variable(
                "foreign",
                "(variables.containers.filter(one, has(one.image)).map(one, one.image) "
                f"+ variables.predictor.?volumes.orValue([]).filter(one, has(one.image)).map(one, {_MOUNTED}))"
                ".filter(one, !(one in variables.images))",
            ),
            _variable("words", _words("variables.containers")),
        ],
        "validations": [_of_source("storageUri"), _own()],
    }


def _of_models() -> _JSON:
    named = (
        f"has(object.spec.env) && object.spec.env.exists(name, name.matches({_raw(_REMOTE_CODE_VARIABLE)}) "
        f"&& !object.spec.env[name].matches({_raw(_OFF)}))"
    )
    return {
        "variables": [
            _variable(
                "sources", "[object.spec.url] + object.spec.?adapters.orValue([]).map(one, one.?url.orValue(''))"
            ),
            _variable("unknown", f"variables.sources.filter(one, !({_verified(_source('one'))}))"),
            _variable(
                "foreign",
                "has(object.spec.image) && object.spec.image != '' && !(object.spec.image in variables.images) "
                "? [object.spec.image] : []",
            ),
            _variable(
                "words",
                "[dyn(object.spec.?args.orValue([])) "
                "+ dyn(has(object.spec.env) ? object.spec.env.map(name, object.spec.env[name]) : []) "
                f"+ dyn({named} ? ['--trust-remote-code'] : [])]",
            ),
        ],
        "validations": [_of_source("url"), _own()],
    }


def _of_source(field: str) -> _JSON:
    return _validation(
        "variables.unknown.size() == 0",
        f"{field} does not name an image that the stack has verified, by its digest",
        f"'{field} ' + variables.unknown[0] + ' does not name an image that the stack has verified, by its digest: "
        f"change models.NAME.source or digest {_SETTINGS}'",
    )


def _own() -> _JSON:
    return _validation(
        "variables.foreign.size() == 0",
        "an image is not one of the stack's",
        f"'image ' + variables.foreign[0] + ' is not one of the stack: change the image of the server {_SETTINGS}'",
    )


def _no_remote_code() -> _JSON:
    return _validation(
        f"!variables.words.exists(words, words.exists(word, word.matches({_raw(_REMOTE_CODE)})))",
        "--trust-remote-code runs code from the files of a model: take a model that the server knows, or write "
        f"cluster.allowList.remoteCode: true {_SETTINGS}",
    )


def _words(containers: str) -> str:
    """All that tells a server something: its command, arguments and environment; a list each container."""
    variable = (
        f"one.?env.orValue([]).exists(entry, entry.name.matches({_raw(_REMOTE_CODE_VARIABLE)}) "
        f"&& !entry.?value.orValue('').matches({_raw(_OFF)})) ? ['--trust-remote-code'] : []"
    )
    return (
        f"{containers}.map(one, one.?command.orValue([]) + one.?args.orValue([]) "
        f"+ one.?env.orValue([]).map(entry, entry.?value.orValue('')) + ({variable}))"
    )


def _verified(text: str) -> str:
    """Whether an image is one of the list, by its digest: a tag is there for a server alone."""
    return f"{text} in variables.images && {text}.contains('@sha256:')"


def _source(text: str) -> str:
    """The image that a URI of ours names, by its digest; anything else as it is."""
    return _by_digest(text + r".replace('oci+native://', '').replace('oci+fetch://', '').replace('oci://', '')")


def _by_digest(text: str) -> str:
    """The tag that spells the digest out is the digest: KubeAI's URL can hold no `@`."""
    return f"{text}.replace(':digest-sha256-', '@sha256:')"


def _raw(text: str) -> str:
    """A CEL literal as it is."""
    return f"r'''{text}'''"


def _variable(name: str, expression: str) -> _JSON:
    return {"name": name, "expression": expression}


def _validation(expression: str, message: str, told: str = "") -> _JSON:
    made: _JSON = {"expression": expression, "message": message, "reason": "Forbidden"}
    return {**made, "messageExpression": told} if told else made

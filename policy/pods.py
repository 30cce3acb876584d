"""Rules on pods, wherever a resource holds one, and on what lets others in: roles, services, gateways, admission."""

import hashlib
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.serving.cel import REMOTE_CODE
from components.settings.plain_secrets import looks_secret
from oci_model_serving.delivery import STREAM_KEY
from policy.allowed import LISTED
from policy.images import Props, is_on, is_unknown, kind_of, mapping, streams, walk

_VOLUMES = frozenset({
    "name", "configMap", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
    "secret",
})  # fmt: skip
"""Kubernetes, Pod Security Standards, "Restricted" (volume types), and image volumes; no drivers, as of buckets."""
_HOST = ("hostNetwork", "hostPID", "hostIPC")
_UNCONFINED = "Unconfined"
_CRITICAL = ("system-node-critical", "system-cluster-critical")
_SYSTEM = re.compile(r"kube-.*|gke-.*|gmp-.*|config-management-.*|istio-system")
_CONTROLLERS = frozenset({"inferenceservice-config", "kubeai-config", "kubeai", "coredns", "aws-auth"})
_SECRET_VALUE = re.compile(
    r"(?:hf_|sk-|ghp_|gho_|github_pat_|glpat-|AKIA|ya29\.|xox[bp]-)\S{8,}|(?s:.*-----BEGIN [A-Z ]*PRIVATE KEY-----.*)"
)
_CLASSES = frozenset({"gke-l7-rilb", "gke-l7-regional-external-managed", "envoy"})
_INTERNAL = ("networking.gke.io/load-balancer-type", "cloud.google.com/load-balancer-type")
_READING = frozenset({"get", "list", "watch"})
_READABLE_SECRETS = frozenset({"*", "secrets", "serviceaccounts/token"})
_WIDEST = 8
_DNS = 53
_MODEL_FLAGS = frozenset({"--model", "--model-path", "--model-id", "--model_id", "--hf-repo", "-hf", "-m"})
_MODEL_NAMES = frozenset({"MODEL_ID", "HF_MODEL_ID", "HF_MODEL", "MODEL_REPO"})
_REPOSITORY = re.compile(r"(?!\.)[\w.-]+/[\w.-]+|https?://\S+")
_IN_SCRIPT = re.compile(
    r"(?:\bserve\s+|--(?:model|hf-repo)(?:[-_](?:id|path))?[=\s]\s*)[\"']?((?![./])[\w.-]+/[\w.-]+|https?://\S+)"
)
_ENDPOINTS = ("AWS_ENDPOINT_URL", "RUNAI_STREAMER_S3_ENDPOINT")
_LOOPBACK = re.compile(r"http://(?:127\.0\.0\.1|localhost)(?::\d+)?/?")
_OFFLINE = frozenset({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"})
_SERVE = 3
"""`vllm serve MODEL` and `python3 -m … serve MODEL`: the word is among the first."""
_WORKLOADS = frozenset({
    "CronJob", "DaemonSet", "Deployment", "InferenceService", "Job", "Model", "Pod", "ServingRuntime", "StatefulSet",
})  # fmt: skip


def pods_without_rights_on_nodes(type_: str, _name: str, props: Props) -> Iterator[str]:
    """No pod reaches its node or its neighbours: at least Kubernetes' baseline, without added capabilities."""
    kind = kind_of(type_)
    if kind not in _WORKLOADS:
        return
    for path, key, value in walk(props, ""):
        if key in _HOST and is_on(value):
            yield f"{path} is true, which is the node's own: leave it out"
        elif key == "volumes" and isinstance(value, Sequence) and not isinstance(value, str):
            yield from _volumes(path, value)
        elif key == "securityContext":
            yield from _security(path, mapping(value))
        elif key == "tolerations" and any(_takes_all(one) for one in items(value)):
            yield f"{path} take every node, whatever keeps pods off it: name the key of a taint"
        elif key == "hostPort" and value:
            yield f"{path} is {value}, a port of the node: leave it out, and write a Service"
        elif key == "nodeName" and isinstance(value, str):
            yield f"{path} is {value!r}, past the scheduler: use a nodeSelector"
        elif key == "priorityClassName" and value in _CRITICAL:
            yield f"{path} is {value}, which evicts the cluster's own pods: leave it out"
        elif key == "serviceAccountToken" and not mapping(value).get("audience") and not is_unknown(value):
            yield f"{path} is a token for the API server: name its audience, or leave it out"
        elif "apparmor.security.beta.kubernetes.io/" in key and value == "unconfined":
            yield f"{path} is unconfined: leave it out"


def _takes_all(toleration: Props) -> bool:
    return toleration.get("operator") == "Exists" and not toleration.get("key")


def _volumes(path: str, volumes: Sequence[Any]) -> Iterator[str]:
    for index, volume in enumerate(volumes):
        for source in sorted(set(mapping(volume)) - _VOLUMES):
            yield f"{path}[{index}] is a {source}, outside of the pod's own: use an image, emptyDir or a claim"


def _security(path: str, said: Props) -> Iterator[str]:
    for key in ("privileged", "allowPrivilegeEscalation"):
        if is_on(said.get(key)):
            yield f"{path}.{key} is true: leave it out"
    added = mapping(said.get("capabilities")).get("add")
    if added and not is_unknown(added):
        yield f"{path}.capabilities.add is {added}: leave it out, servers need no capability"
    if said.get("runAsUser") == 0 or said.get("runAsGroup") == 0:
        yield f"{path} runs as root: set runAsUser to another one, as 1010"
    if said.get("runAsNonRoot") is False:
        yield f"{path}.runAsNonRoot is false: leave it out"
    if said.get("procMount", "Default") != "Default":
        yield f"{path}.procMount is {said.get('procMount')}: leave it out"
    for profile in ("seccompProfile", "appArmorProfile"):
        if mapping(said.get(profile)).get("type") == _UNCONFINED:
            yield f"{path}.{profile} is {_UNCONFINED}: write RuntimeDefault"
    if said.get("sysctls"):
        yield f"{path}.sysctls are the node's: leave it out"
    if mapping(said.get("windowsOptions")).get("hostProcess") is True:
        yield f"{path}.windowsOptions.hostProcess is true: leave it out"


def no_remote_code(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Servers run no code that comes with weights, and nothing that they download."""
    if kind_of(type_) not in _WORKLOADS:
        return
    for path, text in _words(props):
        if re.search(REMOTE_CODE, text) or re.search(r"trustRemoteCode", text, re.IGNORECASE):
            yield f"{path} has --trust-remote-code, which runs code from the model's files: leave it out"
        if re.search(r"\b(?:curl|wget)\b[^\n]*https?://(?!localhost|127\.)", text):
            yield f"{path} downloads what it runs with: put it into the image, and leave it out"
    for path, name, value in _variables(props):
        if "TRUST_REMOTE_CODE" in name.upper() and str(value).lower() not in {"", "0", "false"}:
            yield f"{path} sets {name}, which runs code from the model's files: leave it out"


def no_weights_from_elsewhere(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Servers take weights from the image that they mount, from no hub and no bucket."""
    if kind_of(type_) not in _WORKLOADS:
        return
    found = [*_models(props)]
    predictor = mapping(mapping(props.get("spec")).get("predictor"))
    model, streamed = mapping(predictor.get("model")), any(True for _ in streams(predictor))
    # A bucket on the pod's own loopback is the sidecar's door.
    door = streamed and all(_LOOPBACK.fullmatch(_text_of(model, name)) for name in _ENDPOINTS)
    elsewhere = r"(?:^|[\s=])(?:hf|gs)://" if door else r"(?:^|[\s=])(?:hf|s3|gs)://"
    found += [(path, text) for path, text in _words(props) if re.search(elsewhere, text)]
    for path, name, value in _variables(props):
        if name in _OFFLINE and not is_unknown(value) and str(value) != "1":
            yield f"{path} sets {name}={value}, and the server may ask a hub: write 1"
        if name in _MODEL_NAMES and _REPOSITORY.fullmatch(str(value)):
            found.append((path, str(value)))
    for path, where in found:
        yield f"{path} is {where!r}, which a server downloads: name the weights by an image and its digest"
    mounted = any(one.get("image") for one in items(predictor.get("volumes")))
    if model.get("storage"):
        yield "spec.predictor.model.storage names weights without a digest: write storageUri oci://…@sha256:…"
    elif model and not (model.get("storageUri") or predictor.get("storageUris") or mounted or streamed):
        yield "spec.predictor.model has no weights, and its server may take some from a hub: write storageUri"


def _text_of(container: Props, name: str) -> str:
    """What a variable of a container is set to in plain; the last one counts."""
    found = [one.get("value") for one in items(container.get("env")) if one.get("name") == name]
    return str(found[-1]) if found else ""


def _models(props: Props) -> Iterator[tuple[str, str]]:
    """Path and text of what an argument names as a model and is no path in the pod."""
    for path, key, value in walk(props.get("spec"), "spec"):
        words = texts(value) if key in {"args", "command"} else []
        for index, word in enumerate(words):
            flag, equals, given = word.partition("=")
            where = given if equals else (*words, "")[index + 1]
            named = flag in _MODEL_FLAGS or (word == "serve" and index < _SERVE)
            if named and _REPOSITORY.fullmatch(where):
                yield f"{path}[{index}]", where
            for found in _IN_SCRIPT.finditer(word if " " in word else ""):
                yield f"{path}[{index}]", found[1]


def _words(props: Props) -> Iterator[tuple[str, str]]:
    for path, key, value in walk(props.get("spec"), "spec"):
        if key in {"args", "command"} and isinstance(value, Sequence) and not isinstance(value, str):
            for index, word in enumerate(value):
                if isinstance(word, str):
                    yield f"{path}[{index}]", word


def _variables(props: Props) -> Iterator[tuple[str, str, Any]]:
    """Path, name and plain value of each variable of each container; KubeAI's are a mapping."""
    for path, key, value in walk(props, ""):
        if key != "env":
            continue
        if isinstance(value, Mapping):
            yield from ((f"{path}.{name}", str(name), one) for name, one in value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            for index, one in enumerate(value):
                entry = mapping(one)
                yield f"{path}[{index}]", str(entry.get("name")), entry.get("value")


def no_plain_secrets(type_: str, _name: str, props: Props) -> Iterator[str]:
    """A secret is in a Secret, never in a pod's environment, its arguments or a ConfigMap."""
    kind = kind_of(type_)
    if not kind or kind == "Secret":
        return
    found = [*_variables(props)]
    if kind == "ConfigMap":
        found += [(f"data.{name}", str(name), value) for name, value in mapping(props.get("data")).items()]
    for path, name, value in found:
        if not isinstance(value, str) or not value or is_unknown(value) or value == STREAM_KEY:
            continue
        if is_secret(name, value):
            yield f"{path} holds {name} in plain: use a Secret and valueFrom.secretKeyRef (secretEnv in the settings)"
    for path, word in _words(props):
        flag, _, value = word.partition("=")
        if value and is_secret(flag.lstrip("-"), value):
            yield f"{path} holds {flag} in plain: use a Secret and an environment variable"


def is_secret(name: str, value: str) -> bool:
    """Whether a value is a secret, by its name or by what issuers make secrets look like."""
    return bool(_SECRET_VALUE.match(value)) or looks_secret(name.replace("-", "_"), value)


def not_the_systems(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Nothing goes into the cluster's own namespaces, nor in place of a controller's configuration."""
    kind = kind_of(type_)
    if not kind:
        return
    metadata = mapping(props.get("metadata"))
    for path, namespace in (("metadata.namespace", metadata.get("namespace")), ("namespace", props.get("namespace"))):
        if isinstance(namespace, str) and _SYSTEM.fullmatch(namespace):
            yield f"{path} is {namespace}, the cluster's own: name a namespace of the stack"
    if kind == "Namespace" and (_SYSTEM.fullmatch(str(metadata.get("name"))) or metadata.get("name") == "default"):
        yield f"namespace {metadata.get('name')} is the cluster's own: name another one"
    if kind == "ConfigMap" and str(metadata.get("name")) in _CONTROLLERS:
        yield f"{metadata.get('name')} is a controller's configuration: set it by the chart's values"
    if kind == "Secret" and props.get("type") == "kubernetes.io/service-account-token":
        yield "a token of a service account that never ends: use a projected token"
    if kind == "PersistentVolumeClaim" and mapping(props.get("spec")).get("volumeName"):
        yield "spec.volumeName takes a volume that others made: leave it out"


def listed_images(type_: str, _name: str, props: Props) -> Iterator[str]:
    """What the cluster is told to accept is whole images, each under the key that is its own."""
    if type_.removesuffix("Patch") != "kubernetes:core/v1:Namespace":
        return
    for key, image in mapping(mapping(props.get("metadata")).get("annotations")).items():
        if not str(key).startswith(LISTED) or not isinstance(image, str) or is_unknown(image):
            continue
        own = hashlib.sha256(image.encode()).hexdigest()[:16]
        if not re.fullmatch(r"(?:[\w.-]+(?::[0-9]+)?/)?[\w./-]+(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?", image):
            yield f"metadata.annotations.{key} is {image!r}, more than one image: name one, by digest"
        elif not str(key).endswith(f".{own}"):
            yield f"metadata.annotations.{key} is not the key of {image}: write …{own}"


def narrow_access(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Roles read what they name, services and gateways are inside, and policies on traffic and admission hold."""
    kind, spec = kind_of(type_), mapping(props.get("spec"))
    if kind == "Role":
        yield from _role(props)
    elif kind == "RoleBinding":
        yield from _binding(props)
    elif kind == "Service":
        yield from _service(props, spec)
    elif kind == "Gateway":
        yield from _gateway(spec)
    elif kind == "NetworkPolicy":
        yield from _traffic(spec)
    elif kind == "ValidatingAdmissionPolicy" and spec.get("failurePolicy", "Fail") != "Fail":
        yield "spec.failurePolicy lets everything in when it fails: write Fail"
    elif kind == "ValidatingAdmissionPolicy":
        if any(str(one.get("expression")).strip() == "true" for one in items(spec.get("validations"))):
            yield "spec.validations has one that is always true: write what it asks for"
    elif kind == "ValidatingAdmissionPolicyBinding":
        actions = spec.get("validationActions")
        if not isinstance(actions, Sequence) or "Deny" not in actions:
            yield "spec.validationActions refuses nothing: write [Deny]"
        if mapping(spec.get("paramRef")).get("parameterNotFoundAction") == "Allow":
            yield "spec.paramRef.parameterNotFoundAction lets everything in without its list: write Deny"


def _role(props: Props) -> Iterator[str]:
    for rule in items(props.get("rules")):
        verbs, resources = set(texts(rule.get("verbs"))), set(texts(rule.get("resources")))
        if verbs - _READING:
            yield f"rules have {', '.join(sorted(verbs - _READING))}: name get, list and watch only"
        if resources & _READABLE_SECRETS or "*" in texts(rule.get("apiGroups")):
            yield "rules read secrets, or everything: name the resources that are needed"
        if any(resource.partition("/")[2] in {"exec", "attach", "portforward", "proxy"} for resource in resources):
            yield "rules open a shell or a port of pods: leave it out"


def _binding(props: Props) -> Iterator[str]:
    role = mapping(props.get("roleRef"))
    if role and role.get("kind") != "Role" and role.get("name") != "view":
        yield f"roleRef is {role.get('kind')} {role.get('name')}: use a Role of the namespace"
    for subject in items(props.get("subjects")):
        if str(subject.get("name")).startswith("system:") or str(subject.get("name")) in {"*", "default"}:
            yield f"subjects has {subject.get('name')}, which is many: name a service account of the stack"


def _service(props: Props, spec: Props) -> Iterator[str]:
    annotations = mapping(mapping(props.get("metadata")).get("annotations"))
    internal = any(annotations.get(name) == "Internal" for name in _INTERNAL)
    if spec.get("type") == "NodePort" or (spec.get("type") == "LoadBalancer" and not internal):
        yield (
            f"spec.type is {spec.get('type')}, open to what reaches the nodes: use a Gateway, or set annotation "
            f"{_INTERNAL[0]} to Internal"
        )
    if spec.get("type") == "ExternalName":
        yield "spec.type is ExternalName, which leads a name of the cluster elsewhere: leave it out"
    if spec.get("externalIPs"):
        yield "spec.externalIPs take traffic of others (CVE-2020-8554): leave it out"


def _gateway(spec: Props) -> Iterator[str]:
    name = spec.get("gatewayClassName")
    if str(name) not in _CLASSES and not is_unknown(name):
        yield f"spec.gatewayClassName is {name}: name one of {', '.join(sorted(_CLASSES))}"
    for listener in items(spec.get("listeners")):
        if mapping(mapping(listener.get("allowedRoutes")).get("namespaces")).get("from") == "All":
            yield "spec.listeners take routes of all namespaces: set allowedRoutes.namespaces.from to Selector"


def _traffic(spec: Props) -> Iterator[str]:
    for direction, peers in (("egress", "to"), ("ingress", "from")):
        rules = spec.get(direction)
        for index, rule in enumerate(rules if isinstance(rules, Sequence) and not isinstance(rules, str) else []):
            if is_unknown(rule):
                continue
            said = mapping(rule)
            if not said.get(peers) and not (direction == "egress" and _few_ports(spec, said)):
                yield f"spec.{direction}[{index}] is open to everybody: name the pods in {peers}"
            for peer in items(said.get(peers)):
                cidr = mapping(peer.get("ipBlock")).get("cidr")
                if isinstance(cidr, str) and is_wide(cidr):
                    yield f"spec.{direction}[{index}] is open to {cidr}: name the networks that need it"
                if peer.get("namespaceSelector") == {} and not peer.get("podSelector"):
                    yield f"spec.{direction}[{index}] is open to all namespaces: name them by a label"


def _few_ports(spec: Props, rule: Props) -> bool:
    """Whether it lets named pods out to a few ports only: of names, or of the registry that they fetch weights from."""
    ports = items(rule.get("ports"))
    numbers = [port.get("port") for port in ports if isinstance(port.get("port"), int) and not port.get("endPort")]
    dns = bool(numbers) and all(number == _DNS for number in numbers)
    return len(numbers) == len(ports) and (dns or (len(numbers) == 1 and bool(spec.get("podSelector"))))


def is_wide(cidr: str) -> bool:
    """Whether a range is a share of the internet instead of somebody's network."""
    try:
        found = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return False
    return found.prefixlen < _WIDEST


def items(value: Any) -> list[Props]:
    """The mappings of a list; none where it is another thing."""
    return [mapping(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else []


def texts(value: Any) -> list[str]:
    """The entries of a list as texts; none where it is another thing."""
    return [str(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else []

"""The objects of a build in a cluster: an Indexed Job whose pods pack a share each, and what they need. Pure.

Kubernetes does the distribution. Fields and their meaning: Kubernetes 1.35, batch/v1 JobSpec ("Indexed Job", "Backoff
limit per index", "Pod failure policy").
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from components.nodes import toleration
from modelimage import bundle
from modelimage.variables import HUB_TOKEN
from oci_model_serving.reference import RegistryReference

JSON = dict[str, Any]

CONTAINER = "pack"
LABEL = "oci-model-serving/builds"
"""A label of the objects of builds; its value is the build's name."""
_TRIES = 3  # of a share, by its index; what a disruption ends is not counted
_NEVER = 2  # the exit code of input that can never work (`OmsError.exit_code`)
_KEPT_SECONDS = 3600  # of a Job that has ended and that nobody deletes
_USER = 65532  # no one: the usual number of the user `nonroot`
_CODE, _LOGINS = "/oms/code", "/oms/logins"
_ARCHIVE = "modelimage.zip"
_OUTPUT = "/dev/termination-log"


@dataclass(frozen=True)
class Words:
    """What a person is told of a Job by whoever waits for it.

    Attributes:
        begun: what it does.
        unit: what its pods bring about.
        left: what becomes of it when it is interrupted.
        late: what to do where its time was too short.
        again: what to do where it failed.
        remedies: patterns of what keeps its pods from running, with what to do; the first that fits counts.
    """

    begun: str
    unit: str
    left: str
    late: str
    again: str
    remedies: Sequence[tuple[str, str]]


_REMEDIES = (
    (
        r"pull|InvalidImageName",
        "check the step's image (`clusterBuild.image`, --step-image), and that the cluster's nodes may pull it",
    ),
    (
        r"CreateContainer|secret",
        "make the Secrets that `clusterBuild.hubTokenSecret` and `clusterBuild.registrySecret` name in the build's "
        "namespace: the first has the key HF_TOKEN, the second is of the type kubernetes.io/dockerconfigjson",
    ),
    (r"serviceaccount", "make the account that `clusterBuild.serviceAccount` names in the build's namespace"),
    (r"quota|usage per", "lower `clusterBuild.cpu`, `clusterBuild.memory` or `clusterBuild.pods`, or raise the quota"),
    (
        r"no node|has no node",
        "lower `clusterBuild.cpu` and `clusterBuild.memory`, or check `clusterBuild.nodeSelector` and "
        "`clusterBuild.tolerations`",
    ),
)


@dataclass(frozen=True)
class PodPlace:
    """Where and how the pods of a build run.

    Attributes:
        namespace: of all objects; it is there already.
        pods: how many run at once.
        shares: in how many shares the image is packed; None: as many as there are pods.
        image: has Python >= 3.10, and pip or all that the packer needs.
        service_account: whom the pods act as; on GKE with Workload Identity, at the registry and the bucket too.
        hub_token_secret: name of a Secret whose key HF_TOKEN holds a token of the hub.
        registry_secret: name of a Secret of the type kubernetes.io/dockerconfigjson.
        node_selector: labels of the nodes.
        tolerations: taints that the pods tolerate, `KEY[=VALUE][:EFFECT]`.
        cpu: what each pod requests.
        memory: what each pod gets.
        timeout_seconds: how long all of it may take.
        env: further variables of the pods, none of them secret.
    """

    namespace: str = "default"
    pods: int = 4
    shares: int | None = None
    image: str = bundle.DEFAULT_STEP_IMAGE
    service_account: str | None = None
    hub_token_secret: str | None = None
    registry_secret: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[str] = ()
    cpu: str = "1"
    memory: str = "2Gi"
    timeout_seconds: int = 21_600
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def completions(self) -> int:
        """The number of shares."""
        return self.shares or self.pods


@dataclass(frozen=True)
class PackJob:
    """A build: what is packed, how, and where. `arguments` are those of `pack`; `secrets` are variables of the pods."""

    destination: RegistryReference
    arguments: Mapping[str, Any]
    place: PodPlace
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Of all its objects: the same for the same build by the same code, so that it is found again."""
        made_of = json.dumps(self._made_of, sort_keys=True, default=str)
        digest = hashlib.sha256(made_of.encode() + bundle.archive()).hexdigest()[:10]
        last = re.sub(r"[^a-z0-9]+", "-", self.destination.repository.rpartition("/")[2]).strip("-")
        return f"{self._kind}-{last[:40].rstrip('-')}-{digest}"

    @property
    def _kind(self) -> str:
        return "pack"

    @property
    def _made_of(self) -> list[Any]:
        # Not of the secrets: a name is no place for what hangs on them.
        return [self.arguments, asdict(self.place), bundle.requirements()]

    @property
    def containers(self) -> tuple[str, ...]:
        """The containers that a pod runs, one after the other; the last tells the result."""
        return (CONTAINER,)

    @property
    def words(self) -> Words:
        """What a person is told of it."""
        return Words(
            begun=f"{self.place.completions} shares, at most {self.place.pods} pods at once",
            unit="shares packed",
            left="shares that were done are kept in the registry: run the same command again to go on",
            late="give more time (`clusterBuild.timeout`, --timeout) or more pods; what is packed is kept",
            again="do what the message says, then run the same again: shares that are packed are not packed again",
            remedies=_REMEDIES,
        )

    @property
    def job(self) -> JSON:
        """The Job, suspended: what its pods need is made after it, so that it goes with it."""
        place = self.place
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": self._metadata,
            "spec": {
                "suspend": True,
                "completionMode": "Indexed",
                "completions": place.completions,
                "parallelism": min(place.pods, place.completions),
                "backoffLimitPerIndex": _TRIES - 1,
                # A share that fails for good ends the others: what they have packed is there when they run again.
                "maxFailedIndexes": 0,
                "podFailurePolicy": {
                    "rules": [
                        {
                            "action": "FailJob",
                            "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [_NEVER]},
                        },
                        # A spot node that goes, a drain, a preemption: no failure of the share.
                        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                    ]
                },
                "activeDeadlineSeconds": place.timeout_seconds,
                "ttlSecondsAfterFinished": _KEPT_SECONDS,
                "template": {"metadata": {"labels": self._labels}, "spec": self._pod},
            },
        }

    @property
    def _metadata(self) -> JSON:
        return {"name": self.name, "namespace": self.place.namespace, "labels": self._labels}

    @property
    def _labels(self) -> dict[str, str]:
        return {"app.kubernetes.io/managed-by": "oci-model-serving", LABEL: self.name}

    def needs(self, job: JSON) -> list[JSON]:
        """What the pods of the `job` need, which goes with it: the packer's code, and the secrets if there are any."""
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": self.name, "uid": job["metadata"]["uid"]}
        # The Job is there until they are gone, so that whoever sees no Job sees nothing of the build.
        metadata = {**self._metadata, "ownerReferences": [{**owner, "blockOwnerDeletion": True}]}
        code = {_ARCHIVE: base64.b64encode(bundle.archive()).decode()}
        made = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": code}]
        if self.secrets:
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"}
            made.append({**secret, "stringData": dict(self.secrets)})
        return made

    @property
    def _pod(self) -> JSON:
        place = self.place
        spec: JSON = {
            "restartPolicy": "Never",
            # Credentials of Google come from the node's metadata server, not from a mounted token.
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # Whatever stands in an upload when a pod has to go is lost anyway.
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            # One machine's line is the bottleneck: as many machines as there are.
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {LABEL: self.name}},
                }
            ],
            "containers": [self._container],
            "volumes": [
                {"name": "code", "configMap": {"name": self.name}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}},
                *([{"name": "logins", "secret": self._logins}] if place.registry_secret else []),
            ],
        }
        if place.service_account:
            spec["serviceAccountName"] = place.service_account
        if place.node_selector:
            spec["nodeSelector"] = dict(place.node_selector)
        if place.tolerations:
            spec["tolerations"] = [toleration(text) for text in place.tolerations]
        return spec

    @property
    def _logins(self) -> JSON:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        return {"secretName": self.place.registry_secret, "items": items, "defaultMode": 0o440}

    @property
    def _container(self) -> JSON:
        place = self.place
        job = {**self.arguments, "shares": place.completions, "output": _OUTPUT}
        mounts = [{"name": "code", "mountPath": _CODE, "readOnly": True}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
        if place.registry_secret:
            mounts.append({"name": "logins", "mountPath": _LOGINS, "readOnly": True})
        return {
            "name": CONTAINER,
            "image": place.image,
            "command": ["python", "-m", bundle.STEP],
            "args": [_literal(word) for word in (json.dumps(job), *bundle.requirements())],
            "env": self._env,
            "volumeMounts": mounts,
            # Limits of CPU would only slow it down where a node has some left.
            "resources": {"requests": {"cpu": place.cpu, "memory": place.memory}, "limits": {"memory": place.memory}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
            "terminationMessagePath": _OUTPUT,
            # What a pod that failed has said last is told without asking for its log.
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }

    @property
    def _env(self) -> list[JSON]:
        place = self.place
        plain = {
            "HOME": "/tmp",  # noqa: S108 - the only place that can be written to
            "PYTHONPATH": f"{_CODE}/{_ARCHIVE}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore::FutureWarning",
            **({"DOCKER_CONFIG": _LOGINS} if place.registry_secret else {}),
            **place.env,
        }
        named = dict.fromkeys(self.secrets, self.name)
        if place.hub_token_secret:
            named[HUB_TOKEN] = place.hub_token_secret
        return [
            *({"name": name, "value": value} for name, value in plain.items()),
            *({"name": key, "valueFrom": {"secretKeyRef": {"name": of, "key": key}}} for key, of in named.items()),
        ]


def _literal(word: str) -> str:
    """An argument as it is: Kubernetes replaces $(NAME) in arguments, and $$ is a dollar sign."""
    return word.replace("$", "$$")

"""What each way to bring an image's weights to the server means: one row a delivery, one a platform.

Sources: KServe v0.19.0 and v0.20.0 (pkg/webhook/admission/pod, pkg/constants, pkg/utils) and KubeAI 0.23.2 with the
CRD of commit 0d7de291, as docs/serving.md has them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from oci_model_serving.reference import ImageReference

IMAGE_ROOT = "models"
"""Folder of the image that holds the weights; at the image's root each of its entries has a link of the same name."""
ADAPTERS_MOUNT = "/adapters"
"""Where a server finds its LoRA adapters, a folder each; not below /mnt, where KServe's modelcar has its own volume."""
ADAPTER_VOLUME = "adapter-"
"""What the names of the pods' volumes of adapters begin with; the adapter's name follows."""
SHELL_BASE = "docker.io/library/busybox@sha256:9db7b59979c38555a39def84a31fb98b5296952f9e3afd4f6f11f05b07adfab0"
"""busybox 1.37.0, the base of images that modelcar can run (it needs `sh`, `ln` and `sleep`).

The digest is that of the list of its platforms: machines of x86-64 and of arm64 have pulled by it (public reports), so
that it is the base of images for both."""
STREAM_CONTAINER = "stream"
"""The sidecar of delivery `stream`, which hands ranges of the image's layers to the server."""
STREAM_ANNOTATION = "oci-model-serving/stream"
"""What such a sidecar serves, on the InferenceService and, copied by KServe, on its pods."""
STREAM_SCHEME = "oci+stream://"
STREAM_KEY = "loopback"
"""The key that the server's clients of S3 want, and the door asks nobody for: no secret."""
STREAM_DOOR_PORT, STREAM_HEALTH_PORT = 9700, 9701
"""Where it serves: the files, on the pod's loopback alone; how it is, on the pod's address."""
KSERVE_STOP = "serving.kserve.io/stop"
"""KServe deletes the predictor's Deployment, Service and autoscaler while this annotation is `"true"`."""
REVISION_LABEL = "oci-model-serving/revision"
"""Label of KServe's pods: what they are made of."""
REVISION_ENV = "OCI_MODEL_SERVING_REVISION"
"""The same as a variable of the server in KubeAI's pods, which take no labels."""


@dataclass(frozen=True)
class Platform:
    """What serves a model, and how its objects and pods are recognised.

    Attributes:
        name: as in the settings, `kserve` or `kubeai`.
        api_version: group and version of the object that serves a model.
        kind: of that object.
        plural: of that kind, as in the API's paths.
        pod_label: label of a model's pods; its value is the object's name.
        pod_prefix: what the names of a model's pods begin with, `{name}` standing for the object's name.
        container: name of the server's container in those pods.
        mount: where that container finds the weights.
        stopped: the fields that keep a model without pods, as a merge patch of its object.
        counts_going: whether its controller takes a pod that still drains for one that serves.
        running: the fields that say the contrary, which the program writes too: what it does not say it cannot undo.
    """

    name: str
    api_version: str
    kind: str
    plural: str
    pod_label: str
    pod_prefix: str
    container: str
    mount: str
    stopped: Mapping[str, Any]
    running: Mapping[str, Any]
    counts_going: bool = False

    def pod_selector(self, name: str) -> str:
        """The label selector of the pods of the object `name`."""
        return f"{self.pod_label}={name}"


KSERVE = Platform(
    name="kserve",
    api_version="serving.kserve.io/v1beta1",
    kind="InferenceService",
    plural="inferenceservices",
    pod_label="serving.kserve.io/inferenceservice",
    pod_prefix="{name}-predictor",
    container="kserve-container",
    mount="/mnt/models",
    stopped={"metadata": {"annotations": {KSERVE_STOP: "true"}}},
    running={"metadata": {"annotations": {KSERVE_STOP: "false"}}},
)
KUBEAI = Platform(
    name="kubeai",
    api_version="kubeai.org/v1",
    kind="Model",
    plural="models",
    pod_label="model",
    pod_prefix="model-{name}-",
    container="server",
    mount="/model",
    # KubeAI has no stop switch: no replicas, and nobody who would bring them back. While its autoscaling is disabled it
    # neither applies the bounds nor scales for a request (internal/modelcontroller, internal/modelclient/scale.go).
    stopped={"spec": {"replicas": 0, "autoscalingDisabled": True}},
    # Without replicas: its manager sets them to the bounds, and owns them.
    running={"spec": {"autoscalingDisabled": False}},
    # internal/modelcontroller/pod_plan.go: a second change meanwhile takes the only pod that really serves.
    counts_going=True,
)


@dataclass(frozen=True)
class _Row:
    platform: Platform
    uri: Callable[[ImageReference], str]
    needs_image_volume: bool
    needs_subpath: bool
    needs_shell: bool
    pulled_by_pod: bool = False
    streamed: bool = False


_ROWS = {
    "modelcar": _Row(
        KSERVE, lambda image: f"oci://{image}", needs_image_volume=False, needs_subpath=False, needs_shell=True
    ),
    # KServe v0.20 and later.
    "native": _Row(
        KSERVE, lambda image: f"oci+native://{image}", needs_image_volume=True, needs_subpath=True, needs_shell=False
    ),
    # After v0.20 (KServe #5739): the storage initializer pulls into a volume of the pod, with the pod's credentials.
    "fetch": _Row(
        KSERVE,
        lambda image: f"oci+fetch://{image}",
        needs_image_volume=False,
        needs_subpath=False,
        needs_shell=False,
        pulled_by_pod=True,
    ),
    # No field of KServe's names it: a sidecar of the pod hands ranges of the layers to the server's streaming loader.
    "stream": _Row(
        KSERVE,
        lambda image: f"{STREAM_SCHEME}{image}",
        needs_image_volume=False,
        needs_subpath=False,
        needs_shell=False,
        pulled_by_pod=True,
        streamed=True,
    ),
    # Its URL cannot hold `@`: the digest's own tag stands in, in a repository whose tags never move.
    "kubeai": _Row(
        KUBEAI,
        lambda image: f"oci://{image.repository}:{image.digest_tag}",
        needs_image_volume=True,
        needs_subpath=False,
        needs_shell=False,
    ),
}


class Delivery(str, Enum):
    """How the weights of an image reach the server's container."""

    MODELCAR = "modelcar"
    NATIVE = "native"
    FETCH = "fetch"
    STREAM = "stream"
    KUBEAI = "kubeai"

    @property
    def platform(self) -> Platform:
        """What serves it."""
        return _ROWS[self.value].platform

    def uri(self, image: ImageReference) -> str:
        """The image as the serving resource names it."""
        return _ROWS[self.value].uri(image)

    @property
    def needs_image_volume(self) -> bool:
        """Whether pods mount the image as a volume."""
        return _ROWS[self.value].needs_image_volume

    @property
    def needs_subpath(self) -> bool:
        """Whether that volume is mounted by subPath (the folder `models`)."""
        return _ROWS[self.value].needs_subpath

    @property
    def needs_shell(self) -> bool:
        """Whether the image itself runs, with `sh`, `ln` and `sleep`."""
        return _ROWS[self.value].needs_shell

    @property
    def pulled_by_pod(self) -> bool:
        """Whether the pod itself pulls the image, with its own credentials and over its own network, not the node."""
        return _ROWS[self.value].pulled_by_pod

    @property
    def streamed(self) -> bool:
        """Whether a sidecar of the pod hands the weights to the server: no disk of the node ever has them."""
        return _ROWS[self.value].streamed

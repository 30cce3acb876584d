"""What goes wrong on a node ends in its cause within a minute: pods as the platforms make them, and failing."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from oci_model_serving.delivery import Delivery
from oci_model_serving.outputs import ModelOutput
from oci_model_serving.reference import ImageReference
from smoke import manifests
from smoke.times import parse_time
from tests.e2e.conftest import SECONDS, Node
from tests.e2e.stack import Stack, modelimage
from tests.integration import controllers, webhook
from tests.integration.cluster import namespace
from tests.registry import RegistryServer
from watch.causes import NotHeldError
from watch.kube import namespaced
from watch.pods import events_of, object_path, pods_of
from watch.rollout import wait_for_pods, wait_for_ready_pod
from watch.running import running_digest

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster")]

USER = ("reader", "e2e-password")
NOWHERE = "sha256:" + "0" * 64
_GPU = "nvidia.com/gpu"
SECONDS_TO_TELL = 60
CASES = {
    ("absent", "modelcar"): "digest-not-found",
    ("absent", "native"): "digest-not-found",
    ("private", "modelcar"): "pull-unauthorized",
    ("private", "native"): "pull-unauthorized",
    ("shell-less", "modelcar"): "no-shell",
    ("without-models", "modelcar"): "no-models-folder",
    ("without-models", "native"): "no-models-folder",
    ("small-disk", "native"): "ephemeral-limit",
    ("absent-server", "native"): "server-image-not-found",
    ("unknown-argument", "modelcar"): "unknown-flag",
    ("long-context", "native"): "kv-cache-too-small",
    ("little-memory", "native"): "out-of-memory",
    ("absent-secret", "native"): "secret-missing",
    ("slow-start", "native"): "startup-probe",
    ("no-quota", "modelcar"): "resource-quota",
}
"""What is wrong with the image or the pod, its delivery, and the cause that is named first."""
TOO_LONG = (
    "ValueError: To serve at least one request with the models's max seq len (262144), (24.00 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (13.52 GiB). Based on the available memory, the estimated "
    "maximum model length is 147632. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when "
    "initializing the engine."
)
"""As vLLM v0.23.0 says it (vllm/v1/core/kv_cache_utils.py)."""


@dataclass(frozen=True)
class Ward:
    """A namespace in which our serving objects are deployed with what is to go wrong.

    They are those of the deployed modelcar stack, with another image and other names: `serve` says which.
    """

    node: Node
    of: Stack
    name: str

    def serve(self, name: str, delivery: str, image: str, change: Callable[[Any], None] | None = None) -> ModelOutput:
        """Deploy the stack's InferenceService anew, as `name` with another delivery and image."""
        model = self.of.outputs.models["tiny"]
        reference = ImageReference.parse(image)
        original = self.node.api.get(object_path(model))
        body = manifests.like_deployed(original, name)
        predictor = body["spec"]["predictor"]
        predictor["serviceAccountName"] = "default"
        predictor["model"]["storageUri"] = Delivery(delivery).uri(reference)
        if change:
            change(body)
        platform = model.serving.platform
        self.node.api.create(namespaced(platform.api_version, self.name, platform.plural), body)
        changed = {"name": name, "namespace": self.name, "delivery": delivery, "image": image}
        uri = Delivery(delivery).uri(reference)
        return model.model_copy(update={**changed, "digest": reference.digest, "storage_uri": uri})


@dataclass(frozen=True)
class Told:
    """How the wait for a model that cannot start has ended: the causes, and seconds from the first sign to them."""

    causes: list[str]
    seconds: float
    text: str


def wait_in_vain(node: Node, seconds: int, model: ModelOutput) -> Told:
    """Wait for a model that may take so long until it fails."""
    try:
        wait_for_pods(node.api, model, timeout=seconds + SECONDS_TO_TELL)
    except NotHeldError as error:
        ended, told = datetime.now(timezone.utc), error
    else:
        return Told([], 0.0, f"{model.name} is ready")
    signs = [_first(event) for event in events_of(node.api, model, pods_of(node.api, model)) if _is_sign(event)]
    first = min(signs, default=ended)
    return Told([cause.code for cause in told.causes], (ended - first).total_seconds(), str(told))


def _is_sign(event: Any) -> bool:
    others = event["involvedObject"].get("kind") in {"Node", "HorizontalPodAutoscaler"}
    return event["type"] == "Warning" and not others and event["reason"] not in {"FailedScheduling", "Unhealthy"}


def _first(event: Any) -> datetime:
    found = parse_time(event.get("firstTimestamp") or event.get("eventTime") or event["lastTimestamp"])
    assert found
    return found


def _arguments(*more: str) -> Callable[[Any], None]:
    def change(body: Any) -> None:
        _server(body)["args"] += more

    return change


def _small_disk(body: Any) -> None:
    _arguments("--cache-mib=8", "--start-seconds=600")(body)  # the kubelet looks every ten seconds
    _server(body)["resources"]["limits"]["ephemeral-storage"] = "1Mi"


def _no_secret(body: Any) -> None:
    source = {"secretKeyRef": {"name": "absent", "key": "TOKEN"}}
    _server(body)["env"] = [*_server(body).get("env", ()), {"name": "TOKEN", "valueFrom": source}]


def _slow_start(body: Any) -> None:
    _arguments("--start-seconds=600")(body)
    _server(body)["startupProbe"].update(periodSeconds=1, failureThreshold=3)


def _gpu(body: Any) -> None:
    resources = _server(body)["resources"]
    for amounts in (resources["requests"], resources["limits"]):
        amounts[_GPU] = "1"


def _no_server(body: Any) -> None:
    image, _, _ = _server(body)["image"].partition("@")
    _server(body)["image"] = f"{image}@{NOWHERE}"


def _server(body: Any) -> Any:
    return body["spec"]["predictor"]["model"]


_CHANGES = {
    "small-disk": _small_disk,
    "absent-server": _no_server,
    "unknown-argument": _arguments("--no-such-argument"),
    "long-context": _arguments(f"--fail={TOO_LONG}"),
    "little-memory": _arguments("--memory-mib=512"),
    "absent-secret": _no_secret,
    "slow-start": _slow_start,
    "no-quota": _gpu,
}


@pytest.fixture(scope="module")
def ward(node: Node, modelcar: Stack) -> Iterator[Ward]:
    model = modelcar.outputs.models["tiny"]
    runtimes = namespaced(manifests.RUNTIME_API, model.namespace, "servingruntimes")
    runtime = manifests.like_deployed(node.api.get(f"{runtimes}/{manifests.RUNTIME_NAME}"), manifests.RUNTIME_NAME)
    with (
        namespace(node.admin, node.token, {"pod-security.kubernetes.io/enforce": "baseline"}) as name,
        webhook.pod_webhook(node.admin, name),
    ):
        node.api.create(namespaced(manifests.RUNTIME_API, name, "servingruntimes"), runtime)
        with controllers.playing(node.admin, kserve=name):
            yield Ward(node, modelcar, name)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory, weights: Path, base: str) -> Iterator[str]:
    """The model in a registry that asks for a password."""
    if not shutil.which("htpasswd"):
        pytest.skip("htpasswd is not installed (Debian: apache2-utils)")
    with RegistryServer(tmp_path_factory.mktemp("private"), htpasswd=USER) as registry:
        repository = f"{registry.host}/private/model"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MODELIMAGE_USERNAME", USER[0])
            patch.setenv("MODELIMAGE_PASSWORD", USER[1])
            packed = modelimage("copy", _layout(weights, base, tmp_path_factory), repository)
        yield str(packed["reference"])


@pytest.fixture(scope="module")
def broken(ward: Ward, node: Node, base: str, weights: Path, private: str) -> dict[str, Told]:
    """How one model for each thing that goes wrong ends, all at the same time."""
    quota = {"metadata": {"name": "gpus"}, "spec": {"hard": {f"requests.{_GPU}": "0"}}}
    node.api.create(namespaced("v1", ward.name, "resourcequotas"), quota)
    good = ImageReference.parse(ward.of.outputs.models["tiny"].image)
    scratch = modelimage("pack", str(weights), f"{node.registry}/scratch")["reference"]
    images = {
        "absent": str(ImageReference(good.repository, NOWHERE)),
        "private": private,
        "shell-less": str(scratch),
        "without-models": base,
    }

    models = {}
    for name, delivery in CASES:
        one = f"{name}-{delivery}"
        models[one] = ward.serve(one, delivery, images.get(name, str(good)), _CHANGES.get(name))
    # All at once: each is watched from its first moment.
    with ThreadPoolExecutor(len(models)) as watching:
        return dict(zip(models, watching.map(partial(wait_in_vain, node, SECONDS), models.values()), strict=True))


@pytest.mark.parametrize(("name", "delivery"), CASES)
def test_a_failing_pod_ends_in_its_cause_within_a_minute_of_the_first_sign(
    broken: dict[str, Told], name: str, delivery: str
) -> None:
    told = broken[f"{name}-{delivery}"]

    print(f"{name}-{delivery}: {told.seconds:.1f} s from the first sign to the cause")  # pytest -rP shows it
    assert told.causes[:1] == [CASES[name, delivery]], told.text
    assert told.seconds <= SECONDS_TO_TELL, f"{told.seconds:.1f} s, and {told.text}"


@pytest.mark.parametrize("delivery", ["modelcar", "native"])
def test_a_private_image_is_served_with_the_pull_secret_of_the_account(
    ward: Ward, node: Node, private: str, delivery: str
) -> None:
    account = f"reader-{delivery}"
    server = private.partition("/")[0]
    auth = {"username": USER[0], "password": USER[1], "auth": base64.b64encode(":".join(USER).encode()).decode()}
    secret = {
        "metadata": {"name": account},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps({"auths": {server: auth}})},
    }
    node.api.create(namespaced("v1", ward.name, "secrets"), secret)
    reader = {"metadata": {"name": account}, "imagePullSecrets": [{"name": account}]}
    node.api.create(namespaced("v1", ward.name, "serviceaccounts"), reader)

    model = ward.serve(
        f"readable-{delivery}",
        delivery,
        private,
        lambda body: body["spec"]["predictor"].update(serviceAccountName=account),
    )

    wait_for_ready_pod(node.api, model, timeout=SECONDS)


def test_an_image_whose_twin_the_node_has_is_known_by_its_own_digest(
    ward: Ward, node: Node, base: str, weights: Path, tmp_path: Path
) -> None:
    # The same layers and settings under another manifest: the base's name is another.
    copied = modelimage("copy", base, f"oci:{tmp_path}/base")["reference"]
    twin = str(modelimage("pack", str(weights), f"{node.registry}/twin", "--base", copied)["reference"])
    original = ward.of.outputs.models["tiny"]

    model = ward.serve("twin", "modelcar", twin)
    pod = wait_for_ready_pod(node.api, model, timeout=SECONDS)

    assert model.digest != original.digest
    shown = {status["imageID"] for status in pod["status"]["containerStatuses"] if status["name"] == "modelcar"}
    assert shown
    assert twin not in shown
    assert running_digest(node.api, pod, model).digests == {model.digest}


def _layout(weights: Path, base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model in a layout folder, by digest."""
    folder = tmp_path_factory.mktemp("layout") / "image"
    return str(modelimage("pack", str(weights), f"oci:{folder}", "--base", base)["reference"])

"""What goes wrong on a node ends in the cause that `smoke` promises: pods as the platforms make them, and failing."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oci_model_serving.delivery import Delivery
from oci_model_serving.outputs import ModelOutput
from oci_model_serving.reference import ImageReference
from smoke import manifests
from smoke.deployed import deployed
from smoke.stack import ServedModel
from tests.e2e.conftest import SECONDS, Node
from tests.e2e.stack import Stack, modelimage
from tests.integration import controllers, webhook
from tests.integration.cluster import namespace, wait_for
from tests.registry import RegistryServer
from tests.smoke import stacks
from watch.kube import namespaced
from watch.pods import object_path
from watch.rollout import wait_for_ready_pod
from watch.running import running_digest

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster")]

USER = ("reader", "e2e-password")
NOWHERE = "sha256:" + "0" * 64
CASES = {
    ("absent", "modelcar"): "digest-not-found",
    ("absent", "native"): "digest-not-found",
    ("private", "modelcar"): "pull-unauthorized",
    ("private", "native"): "pull-unauthorized",
    ("shell-less", "modelcar"): "no-shell",
    ("without-models", "modelcar"): "no-models-folder",
    ("without-models", "native"): "no-models-folder",
    ("small-disk", "native"): "ephemeral-limit",
}
"""What is wrong with the image or the pod, its delivery, and the cause that smoke names first."""


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

    def causes(self, model: ModelOutput) -> list[str]:
        """The causes that the step `deployed` finds by now."""
        checks = deployed(self.node.api, stacks.outputs(), [ServedModel(model.name, model)])
        return [cause.code for check in checks if check.name == "ready" for cause in check.causes]


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
def broken(ward: Ward, node: Node, base: str, weights: Path, private: str) -> dict[str, ModelOutput]:
    """One model for each thing that goes wrong, all at the same time."""
    good = ImageReference.parse(ward.of.outputs.models["tiny"].image)
    scratch = modelimage("pack", str(weights), f"{node.registry}/scratch")["reference"]
    images = {
        "absent": str(ImageReference(good.repository, NOWHERE)),
        "private": private,
        "shell-less": str(scratch),
        "without-models": base,
        "small-disk": str(good),
    }

    def small_disk(body: Any) -> None:
        model = body["spec"]["predictor"]["model"]
        model["args"] = [*model["args"], "--cache-mib=8"]
        model["resources"]["limits"]["ephemeral-storage"] = "1Mi"

    return {
        f"{name}-{delivery}": ward.serve(
            f"{name}-{delivery}", delivery, images[name], small_disk if name == "small-disk" else None
        )
        for name, delivery in CASES
    }


@pytest.mark.parametrize(("name", "delivery"), CASES)
def test_a_failing_pod_ends_in_its_cause(ward: Ward, broken: dict[str, ModelOutput], name: str, delivery: str) -> None:
    model = broken[f"{name}-{delivery}"]

    wait_for(lambda: ward.causes(model)[:1] == [CASES[name, delivery]], SECONDS)


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

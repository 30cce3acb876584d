"""An image of more layers than Docker reads: what the packer may make of very large models, nodes must mount."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelimage import layers, pack
from tests.e2e.conftest import SECONDS, Node
from tests.e2e.mounted import digests_of, mounted
from tests.integration import webhook
from tests.integration.cluster import namespace, wait_for
from tests.weights import safetensors_bytes
from watch.kube import namespaced
from watch.pods import is_ready

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster")]

LAYERS = 200
VOLUME, MODELCAR = "volume", "modelcar"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many small shards as make 200 layers with the base and the small files."""
    folder = tmp_path_factory.mktemp("many") / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    generator = random.Random(1)  # noqa: S311 - test data
    for number in range(LAYERS - 2):
        (folder / f"model-{number:05d}.safetensors").write_bytes(safetensors_bytes(generator.randbytes(1000)))
    return folder


@pytest.fixture(scope="module")
def image(node: Node, base: str, model: Path) -> str:
    """Their image, a layer each; the packer would put such small ones together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "LAYER_COUNT_LIMIT", LAYERS)
        packed = pack(str(model), f"{node.registry}/many", base=base)
    assert len(packed.layers) == LAYERS + 1  # with that of the chunk lists
    return packed.reference


def pod_of(name: str, server: str, image: str) -> dict[str, Any]:
    """A pod that looks at the image: both mounts of volumes, or as KServe's webhook makes a modelcar of it."""
    container: dict[str, Any] = {"name": "kserve-container", "image": server, "command": ["sleep", "infinity"]}
    spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 0}
    metadata: dict[str, Any] = {"name": name}
    if name == VOLUME:
        spec["volumes"] = [{"name": "image", "image": {"reference": image, "pullPolicy": "IfNotPresent"}}]
        container["volumeMounts"] = [
            {"name": "image", "mountPath": "/model", "readOnly": True},
            {"name": "image", "mountPath": "/mnt/models", "subPath": "models", "readOnly": True},
        ]
    else:
        metadata["labels"] = {webhook.LABEL: name}
        metadata["annotations"] = {webhook.ANNOTATION: f"oci://{image}"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def running(node: Node, server: str, image: str) -> Iterator[str]:
    """The namespace in which both pods run."""
    with namespace(node.admin, node.token) as name, webhook.pod_webhook(node.admin, name):
        pods = namespaced("v1", name, "pods")
        for kind in (VOLUME, MODELCAR):
            node.api.create(pods, pod_of(kind, server, image))
        wait_for(lambda: [is_ready(pod) for pod in node.api.items(pods)] == [True, True], 2 * SECONDS)
        yield name


@pytest.mark.parametrize(("pod", "path"), [(VOLUME, "/model"), (VOLUME, "/mnt/models"), (MODELCAR, "/mnt/models")])
def test_an_image_of_two_hundred_layers_shows_every_file(
    node: Node, running: str, model: Path, pod: str, path: str
) -> None:
    found: dict[str, str] = {}

    def all_there() -> bool:
        nonlocal found
        # A modelcar makes its link after the server has started.
        done = node.api.execute(running, pod, "kserve-container", ["ls", f"{path}/config.json"])
        if done.code == 0:
            found = mounted(node.api, running, pod, "kserve-container", path)
        return done.code == 0

    wait_for(all_there, SECONDS)
    assert found == digests_of(model)

"""What each builder pushes is what a node mounts: the digest comes from the tool's own output."""

import secrets
from pathlib import Path

import pytest

from oci_model_serving.reference import ImageReference
from smoke import manifests
from tests.e2e import dockerd
from tests.e2e.conftest import SECONDS, Node
from tests.e2e.mounted import digests_of, mounted
from tests.e2e.stack import modelimage
from tests.integration.cluster import namespace, wait_for
from watch.kube import namespaced
from watch.pods import is_ready

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster")]

WAIT = ["sh", "-c", "sleep 3600 & trap 'kill $!' TERM; wait"]


@pytest.fixture(params=["direct", "docker"])
def pushed(request: pytest.FixtureRequest, node: Node, base: str, weights: Path, tmp_path: Path) -> ImageReference:
    repository = f"{node.registry}/built-{secrets.token_hex(3)}"
    if request.param == "direct":
        return ImageReference.parse(modelimage("pack", str(weights), repository, "--base", base)["reference"])
    context = tmp_path / "context"
    modelimage("context", str(weights), str(context), "--base", base)
    with dockerd.daemon(tmp_path) as environment:
        digest = dockerd.push(context, f"{repository}:built", environment)
    return ImageReference.parse(modelimage("tag", f"{repository}@{digest}")["reference"])


def test_a_node_mounts_what_was_pushed_by_the_digests_tag(
    node: Node, pushed: ImageReference, server: str, weights: Path
) -> None:
    by_tag = f"{pushed.repository}:{pushed.digest_tag}"
    body = manifests.image_volume_pod("mounts", by_tag, image=server, command=WAIT)
    with namespace(node.admin, node.token, {"pod-security.kubernetes.io/enforce": "restricted"}) as name:
        node.api.create(namespaced("v1", name, "pods"), body)
        wait_for(lambda: is_ready(node.api.get(namespaced("v1", name, "pods", "mounts"))), SECONDS)

        found = mounted(node.api, name, "mounts", "server", "/model")
        written = node.api.execute(name, "mounts", "server", ["touch", "/model/more"])

    assert found == digests_of(weights)
    assert "Read-only file system" in written.stderr

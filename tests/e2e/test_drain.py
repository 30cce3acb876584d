"""A pod that is deleted before its server can take a signal goes as soon as it can, not when its grace is over."""

import time

import pytest

from components.serving import vllm
from tests.e2e.conftest import SECONDS, Node
from tests.integration.cluster import namespace, wait_for
from watch.kube import namespaced

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster")]

DEAF_SECONDS = 15
PATIENCE = 120
# As vLLM: no handler while it imports, and the first process of its container.
SERVER = f"""\
import signal, sys, time
time.sleep({DEAF_SECONDS})
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
time.sleep(3600)
"""


def test_a_pod_deleted_while_its_server_imports_goes_once_the_server_hears(node: Node, server: str) -> None:
    container = {
        "name": "server",
        "image": server,
        "command": ["/bin/sh", "-c", 'exec python3 -c "$0"', SERVER],
        "lifecycle": vllm.drain(PATIENCE),
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": vllm.grace(PATIENCE)}
    with namespace(node.admin, node.token) as name:
        pods = namespaced("v1", name, "pods")
        node.api.create(pods, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "starting"}, "spec": spec})
        wait_for(lambda: [pod["status"]["phase"] for pod in node.api.items(pods)] == ["Running"], SECONDS)

        began = time.monotonic()
        node.api.delete(f"{pods}/starting")
        wait_for(lambda: not node.api.items(pods), vllm.grace(PATIENCE) + SECONDS)

        assert time.monotonic() - began < PATIENCE / 2
